"""Potentials of matgl, M3GNet and TensorNet: weights from a folder, or fetched from the hub by name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from pesatlas.atoms.elements import atomic_number
from pesatlas.campaign.layout import file_name
from pesatlas.config.section import HomePath, Runtime, Section
from pesatlas.errors import UserError
from pesatlas.potentials.hub import fetch_weights
from pesatlas.potentials.identity import Identity, TrainedOn, versions
from pesatlas.potentials.weights import MODEL_FILES, directory_sha256, load_matgl, missing_files

if TYPE_CHECKING:
    from pesatlas.potentials.potential import Potential


class Options(Section):
    """A potential of matgl."""

    kind: Literal["matgl"] = "matgl"
    path: HomePath | None = Field(
        None, description=f"folder of weights ({', '.join(MODEL_FILES)}); or give a name"
    )
    name: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*$",
        description="name on the hub, e.g. M3GNet-PES-MatPES-PBE-2025.2, or owner/name: fetched once into "
        "`cache`",
    )
    cache: HomePath = Runtime(
        Path("resources/potentials"), description="cache folder of weights that are given by name"
    )
    older_convention: bool = Field(
        default=False,
        description="the weights were trained with matgl before 2.2, which summed messages on the "
        "destination of an edge",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="checksum of the weights, as `sha256sum model.json model.pt state.pt | sha256sum` "
        "prints it in "
        "their folder; "
        "with older_convention it must be given",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.name is None):
            raise ValueError("give either `path`, a folder of weights, or `name`, a name on the hub")
        if self.older_convention and self.sha256 is None:
            raise ValueError(
                "older_convention applies to specific weights: give their sha256 too (`sha256sum model.json "
                "model.pt state.pt | sha256sum` in their folder)"
            )
        return self

    def folder(self) -> Path:
        """Return the folder of the weights, which may not be fetched yet."""
        return self.path if self.path is not None else self.cache / f"{self.name}".replace("/", "--")


def check(options: Options) -> None:
    """Check weights given by path; those given by name are fetched by a rule.

    Raises
    ------
    UserError
        If files are missing.
    """
    missing = missing_files(options.folder())
    if options.path is not None and missing:
        raise UserError(
            f"path = '{options.path}': no {', no '.join(missing)} there. Give a folder in which matgl saved "
            "a model."
        )


def fetch(options: Options) -> None:
    """Fetch weights that are given by name.

    Raises
    ------
    UserError
        If they are absent and cannot be fetched, or have changed since.
    """
    if options.name is not None:
        fetch_weights(options.name, options.folder())


def elements(options: Options) -> frozenset[int]:
    """Atomic numbers that the potential knows, read from its description."""
    folder = _present(options)
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    symbols = description.get("kwargs", {}).get("model", {}).get("init_args", {}).get("element_types")
    if not isinstance(symbols, list | tuple):
        raise UserError(f"{folder}: model.json names no elements; it is not a potential that matgl saved.")
    return frozenset(atomic_number(symbol) for symbol in symbols)


def identify(options: Options) -> Identity:
    """Return what the potential is.

    Raises
    ------
    UserError
        If the weights are missing.
    """
    folder = _present(options)
    name = options.name or folder.resolve().name
    return Identity(f"matgl/{name}", directory_sha256(folder), versions("matgl", "torch"))


def trained_on(options: Options) -> TrainedOn | None:
    """Return what it was trained on.

    By the card of a campaign's own potential, else by the name of published weights.
    """
    folder = _present(options)
    card = folder / file_name("potential_card")
    if card.is_file():
        try:
            known = json.loads(card.read_text(encoding="utf-8"))
            prints = tuple(known.get("level_fingerprints", ()))
            return TrainedOn(str(known["level"]), corrected=False, own=True, fingerprints=prints)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{card} names no level ({error}): it is not the card of a trained potential. Train it "
                "again, or remove the file."
            ) from None
    name = (options.name or folder.resolve().name).lower()
    if "matpes-r2scan" in name:
        return TrainedOn("r2SCAN of MatPES", corrected=False)
    if "matpes-pbe" in name:
        return TrainedOn("PBE of MatPES", corrected=False)
    if "-mp-" in name:
        return TrainedOn("PBE(+U) of the Materials Project", corrected=True)
    return None


def load(options: Options, device: str) -> "Potential":
    """Load the potential onto ``device`` (cpu, cuda, ...); the gate is for the caller.

    Raises
    ------
    UserError
        If the weights are missing, changed, or of a kind that is not covered.
    """
    import torch  # noqa: PLC0415 - heavy

    from pesatlas.potentials.matgl_models import MatglPotential  # noqa: PLC0415 - heavy

    folder = _present(options)
    model = load_matgl(folder, older_convention=options.older_convention, sha256=options.sha256)
    identity = identify(options)
    return MatglPotential(model, identity.name, identity.weights_hash, torch.device(device))


def _present(options: Options) -> Path:
    folder = options.folder()
    if options.name is not None and missing_files(folder):
        raise UserError(
            f"{folder}: the weights of '{options.name}' have not been fetched. Run the rule fetch_potential, "
            f"or put {', '.join(MODEL_FILES)} there by hand."
        )
    return folder
