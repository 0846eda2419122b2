"""Options of what runs in another environment: its python, what to load there, and what is known of it."""

import difflib
import os
import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from pesatlas.atoms.elements import atomic_number
from pesatlas.config.section import Runtime, Section, digest
from pesatlas.errors import UserError

_NAME = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
LOADER = rf"^{_NAME}:{_NAME}$"
WEIGHTS, DEVICE = "{weights}", "{device}"
_PLACEHOLDER = re.compile(r"\{\w+\}")


class WorkerOptions(Section):
    """Options of a worker."""

    python: Path = Runtime(
        ...,
        description="python of the environment that has the potential's package, e.g. /envs/mace/bin/python",
    )
    loader: str = Field(
        pattern=LOADER,
        max_length=200,
        description="module:callable there, which returns a calculator of ASE or a model of torch-sim, e.g. "
        "mace.calculators:mace_mp",
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description=f"keyword arguments of the loader; in texts, {WEIGHTS} becomes the first of `weights`, "
        f"and {DEVICE} the device",
    )
    elements: tuple[str, ...] | None = Field(
        None, min_length=1, description="symbols that it knows; null: as the calculator says, where it does"
    )
    weights: tuple[Path, ...] = Field(
        (),
        description="files of weights, whose checksum goes into every row; none: that of the installed "
        "package, weights in it included",
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.+-]*$",
        description="name in every row, after `external/`; null: the loader's package",
    )
    licence: str | None = Runtime(
        None, description="licence of the weights, for the card; null: as the package states its own"
    )
    timeout_s: float = Runtime(
        600.0, gt=0, description="time (s) after which loading, or a batch, counts as hung"
    )

    def __hash__(self) -> int:
        """Hash of all options: potentials are kept by them, and arguments cannot be hashed."""
        return hash(digest(self.model_dump(mode="json")))

    @field_validator("weights", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("elements")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for symbol in value or ():
            atomic_number(symbol)
        return value

    @field_validator("arguments")
    @classmethod
    def _placeholders_exist(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        known = [DEVICE, WEIGHTS]
        for unknown in sorted(set(_PLACEHOLDER.findall(str(value))) - set(known)):
            near = difflib.get_close_matches(unknown, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{unknown} stands for nothing; there are {' and '.join(known)}{hint}")
        return value

    @model_validator(mode="after")
    def _weights_are_named(self) -> Self:
        if not self.weights and WEIGHTS in str(self.arguments):
            raise ValueError(f"the arguments name {WEIGHTS}, but there are no `weights`")
        return self

    @property
    def label(self) -> str:
        """Name in every row, and in messages."""
        return f"external/{self.name or self.loader.partition(':')[0].partition('.')[0]}"

    @property
    def call(self) -> str:
        """The call of the loader, for people."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.loader}({given})"

    @property
    def stated_elements(self) -> frozenset[int] | None:
        """Atomic numbers that the configuration names, if it does."""
        return frozenset(map(atomic_number, self.elements)) if self.elements else None

    def arguments_on(self, device: str) -> dict[str, JsonValue]:
        """Return the arguments with their places filled in."""
        found = _filled(self.arguments, {DEVICE: device, WEIGHTS: str(self.first_weights)})
        assert isinstance(found, dict)
        return found

    @property
    def first_weights(self) -> Path | None:
        """The first file of weights, absolute."""
        return self.weights[0].expanduser().absolute() if self.weights else None


def check_worker(options: WorkerOptions) -> None:
    """See that the files are there; nothing is run.

    Raises
    ------
    UserError
        If the python cannot be run, or weights are missing.
    """
    python = options.python.expanduser()
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise UserError(
            f"python = '{options.python}': no program there. Make an environment for the package of "
            f"{options.loader} (docs/potentials.md has recipes) and give its bin/python."
        )
    missing = [f"{path}" for path in options.weights if not path.expanduser().is_file()]
    if missing:
        raise UserError(
            f"weights: there is no {', no '.join(missing)}. Put the files there, or correct the paths."
        )


def _filled(value: JsonValue, places: dict[str, str]) -> JsonValue:
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace(name, text)
        return os.path.expanduser(value) if value.startswith("~/") else value  # noqa: PTH111 - no path, a text
    if isinstance(value, list):
        return [_filled(each, places) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, places) for key, each in value.items()}
    return value
