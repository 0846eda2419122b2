"""Crystals under finite strain: the stresses that determine elastic constants, and larger ones.

The cell is h (1 + e) with a symmetric strain e, and is held there; atoms move along. ``volume`` is a change
of all lengths, ``xx`` ... of one, ``yz`` ... a shear, whose magnitude is the tensor's component (half the
engineering strain).
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas.config.section import Section
from pesatlas.structures.crystal import STATIC, Cell, Condition, Crystal
from pesatlas.structures.domains.bulk import Supercell, Temperatures, enlarged

Mode = Literal["volume", "xx", "yy", "zz", "yz", "xz", "xy"]


class Options(Section):
    """Options of the domain ``strained``."""

    kind: Literal["strained"] = Field("strained", description="crystals held under finite strains")
    supercell: Supercell | None = Field(None, description="as in bulk; null: unit cells")
    modes: list[Mode] = Field(
        ["volume", "xx", "yy", "zz", "yz", "xz", "xy"], min_length=1, description="kinds of strain"
    )
    magnitudes: list[float] = Field(
        [-0.06, -0.03, 0.03, 0.06],
        min_length=1,
        description="magnitudes of each kind of strain, dimensionless",
    )
    temperatures_K: Temperatures = Field(
        [], description="temperatures of dynamics in the strained cell (K); none: static cells only"
    )

    @field_validator("magnitudes")
    @classmethod
    def _are_strains(cls, values: list[float]) -> list[float]:
        if any(not 0 < abs(value) <= 0.5 for value in values) or len(set(values)) < len(values):
            raise ValueError("strains are numbers from -0.5 to 0.5, not 0, each listed once")
        return values


def strain(mode: Mode, magnitude: float) -> np.ndarray:
    """Return the symmetric strain (3, 3)."""
    if mode == "volume":
        return np.eye(3) * magnitude
    found = np.zeros((3, 3))
    row, column = ("xyz".index(letter) for letter in mode)
    found[row, column] = found[column, row] = magnitude
    return found


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield one cell for each kind and magnitude."""
    large = enlarged(crystal, options.supercell)
    dynamics = [Condition(f"{t:g}K-fixed", t, 0.0, cell_motion="none") for t in options.temperatures_K]
    for mode in options.modes:
        for magnitude in options.magnitudes:
            deform = np.eye(3) + strain(mode, magnitude)
            name = f"strained-{mode}-{'p' if magnitude > 0 else 'm'}{abs(magnitude):g}"
            yield Cell(
                name,
                "strained",
                large.numbers,
                large.cell @ deform,
                large.positions @ deform,
                [STATIC, *dynamics],
            )
