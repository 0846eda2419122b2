"""Section ``label``: which reference levels, calculated by what."""

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
    structures_per_job: int = Field(50, ge=1, description="snapshots in one job")
    attempts: int = Field(2, ge=1, le=10, description="attempts at a label that crashed or ran out of time")
    timeout_min: float = Runtime(240.0, gt=0, description="longest time for one calculation (minutes)")

    @field_validator("levels")
    @classmethod
    def _once_each(cls, levels: list[str]) -> list[str]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is listed twice; list each once")
        return levels
