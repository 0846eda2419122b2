"""Section ``label``: which reference levels, calculated by what."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pesatlas import registry
from pesatlas.config.section import Runtime, Section

Backend = registry.options_of("pesatlas.label.backends")


class Label(Section):
    """Single-point calculations of the selection at every reference level."""

    backend: Backend = Field({"kind": "gpaw"}, description="code that calculates labels")  # type: ignore[valid-type]
    levels: list[Literal["pbe", "r2scan"]] = Field(
        ["pbe", "r2scan"], min_length=1, description="reference levels; each gives a dataset of its own"
    )
    structures_per_job: int = Field(
        400,
        ge=1,
        description="snapshots in one job: 400 keep 500,000 labels at 1,250 jobs; small campaigns want fewer, so that there are as many jobs as nodes",
    )
    attempts: int = Field(2, ge=1, le=10, description="attempts at a label that crashed or ran out of time")
    parallel: int = Runtime(1, ge=1, le=1000, description="calculations side by side in one job")
    cores: int = Runtime(1, ge=1, le=100_000, description="cores of each calculation")
    scratch: Path | None = Runtime(
        None,
        description="folder on the node's own disk where calculations run; null: that of the job ($TMPDIR, or /tmp)",
    )
    keep_outputs: bool = Runtime(
        default=True, description="archive inputs and outputs of every calculation in the store"
    )
    timeout_min: float = Runtime(240.0, gt=0, description="longest time for one calculation (minutes)")

    @field_validator("levels")
    @classmethod
    def _once_each(cls, levels: list[str]) -> list[str]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is listed twice; list each once")
        return levels
