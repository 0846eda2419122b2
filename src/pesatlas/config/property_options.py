"""Options common to benchmark properties: their structures, and how these are relaxed."""

from typing import Any

from pydantic import Field

from pesatlas.config.section import Section

_CHOICE = frozenset({"file", "structures", "max_atoms"})


class FromFile(Section):
    """Structures of a file in matcalc's formats, in an order that is the same everywhere."""

    file: str | None = Field(
        None, description="file in the folder of data; null: the usual names for this property"
    )
    structures: int | None = Field(
        None,
        ge=1,
        description="number of structures at most, chosen at random by a hash of their ids; null: all",
    )
    max_atoms: int | None = Field(None, ge=1, description="largest number of atoms in a cell; null: no limit")

    def settings(self) -> dict[str, Any]:
        """Return what decides the result of a structure: all but which structures there are."""
        return {key: value for key, value in self.identity().items() if key not in _CHOICE}


class Relaxed(FromFile):
    """Structures of a file that are relaxed first."""

    fmax_eV_per_A: float = Field(0.05, gt=0, description="force tolerance of relaxations (eV/Å)")
    max_steps: int = Field(500, ge=1, description="step limit of relaxations")


class Displaced(Relaxed):
    """Structures of a file that are displaced, and then relaxed."""

    perturb_A: float = Field(
        0.1, ge=0, le=0.5, description="initial displacement of every atom (Å), in a random direction"
    )


class FromFrames(Section):
    """Frames of the test split of a campaign's dataset."""

    frames: int | None = Field(
        None, ge=1, description="number of frames at most, chosen at random; null: all"
    )

    def settings(self) -> dict[str, Any]:
        """Return what decides the result of a frame: nothing."""
        return {}
