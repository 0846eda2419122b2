"""Section ``label``: reference levels, and the code that calculates them."""

from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from pesatlas.config import plugins
from pesatlas.config.section import HomePath, Runtime, Section

_BACKENDS = "pesatlas.label.backends"

if TYPE_CHECKING:
    # the union is built at run time from the modules that are there
    Backend = Any
else:
    Backend = plugins.options_of(_BACKENDS)

LevelName = Literal["pbe", "r2scan", "mlip"]
LEVELS: tuple[str, ...] = get_args(LevelName)
"""Names of reference levels."""
MLIP = "mlip"
"""The level, and the backend, of labels by a machine-learning potential: no DFT, and never called so."""


class Label(Section):
    """Single-point calculations of the selection at every reference level."""

    backend: Backend = Field({"kind": "gpaw"}, description="code that calculates labels")
    levels: list[LevelName] = Field(
        ["pbe", "r2scan"],
        min_length=1,
        description="reference levels, one dataset each: pbe and r2scan by DFT, or mlip alone by the "
        "backend mlip",
    )
    charges: list[Literal["bader"]] = Field(
        [],
        max_length=1,
        description="atomic charges beside the labels: bader, with the backends vasp and gpaw; they change "
        "no label and no level",
    )
    structures_per_job: int = Field(
        400,
        ge=1,
        description="snapshots per job: 400 give 1,250 jobs for 500,000 labels; use fewer in small "
        "campaigns, to have as many jobs as nodes",
    )
    attempts: int = Field(
        2, ge=1, le=10, description="attempts at a label whose calculation crashed or ran out of time"
    )
    parallel: int = Runtime(1, ge=1, le=1000, description="parallel calculations in one job")
    cores: int = Runtime(1, ge=1, le=100_000, description="cores of each calculation")
    scratch: HomePath | None = Runtime(
        None,
        description="scratch folder on the node's own disk for calculations; null: that of the job "
        "($TMPDIR, or /tmp)",
    )
    keep_outputs: bool = Runtime(
        default=True, description="archive inputs and outputs of every calculation in the store"
    )
    timeout_min: float = Runtime(240.0, gt=0, description="time limit of one calculation (minutes)")

    @field_validator("levels")
    @classmethod
    def _once_each(cls, levels: list[str]) -> list[str]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is listed twice; list each once")
        return levels

    def identity(self) -> dict[str, Any]:
        """Return what decides results; without ``charges`` if there are none, as if never added."""
        return {name: value for name, value in super().identity().items() if name != "charges" or value}

    @model_validator(mode="after")
    def _charges_of_a_density(self) -> Self:
        for kind in self.charges:
            if kind not in getattr(plugins.find(_BACKENDS, self.backend.kind), "CHARGES", ()):
                raise ValueError(
                    f"charges: the backend {self.backend.kind} has no all-electron density to calculate "
                    f"{kind} charges from; use the backend vasp or gpaw, or leave out charges"
                )
        return self

    @model_validator(mode="after")
    def _a_potential_is_not_called_dft(self) -> Self:
        if self.backend.kind == MLIP and self.levels != [MLIP]:
            raise ValueError(
                "levels: labels by the backend mlip come from a potential, not DFT, so their level is "
                f"mlip, not {self._named}; write levels: [mlip]"
            )
        if self.backend.kind != MLIP and MLIP in self.levels:
            raise ValueError(
                f"levels: mlip is the level of labels by a potential, and the backend {self.backend.kind} "
                "calculates DFT; write levels: [pbe, r2scan], or use the backend mlip with levels: [mlip]"
            )
        return self

    @property
    def device(self) -> str:
        """Return the device of labels: cpu, unless the backend has its own."""
        return str(getattr(self.backend, "device", "cpu"))

    @property
    def _named(self) -> str:
        return " and ".join(self.levels)
