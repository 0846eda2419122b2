"""Bulk crystals: the unit cell and a supercell, at temperatures and pressures.

The supercell rule: multiples start at 1x1x1; while the shortest perpendicular width of the cell (the distance
between two opposite faces) is below ``min_length_A``, that direction gets one more repetition, unless the
cell would then hold more than ``max_atoms``. Of equal widths the earliest direction grows first.
"""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Condition, Crystal, at_temperatures, repeated


def _kelvin(value: float) -> float:
    if not 0 < value <= 10_000:
        raise ValueError(
            f"{value:g} K is not a valid temperature; temperatures are in kelvin, above 0 and at most 10000"
        )
    return value


def _once_each(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError("a temperature is listed twice; list each once")
    return values


def _gigapascal(value: float) -> float:
    if not -50 <= value <= 1000:
        raise ValueError(
            f"{value:g} GPa is not a valid pressure; pressures are in GPa (1 atm is 0.000101325), from -50 "
            "to 1000"
        )
    return value


# bounds are checked by functions, whose messages say the unit; the JSON schema has them too
Temperature = Annotated[
    float, AfterValidator(_kelvin), Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": 10_000})
]
Temperatures = Annotated[list[Temperature], AfterValidator(_once_each)]
Pressure = Annotated[
    float, AfterValidator(_gigapascal), Field(json_schema_extra={"minimum": -50, "maximum": 1000})
]

# Widths that symmetry makes equal differ by rounding.
_SAME_WIDTH_A = 1e-6


class Supercell(Section):
    """Size of a supercell."""

    min_length_A: float = Field(
        10.0,
        gt=0,
        le=100,
        description="repeat until every perpendicular width of the cell is at least this (Å)",
    )
    max_atoms: int = Field(
        200, ge=1, description="never repeat beyond this number of atoms, even if the cell stays shorter"
    )


class Options(Section):
    """Options of the domain ``bulk``."""

    kind: Literal["bulk"] = Field("bulk", description="unchanged crystals, and supercells of them")
    unit_cell: bool = Field(
        default=True, description="explore the cell as the source gives it (variant unit)"
    )
    supercell: Supercell | None = Field(
        Supercell(), description="explore a supercell too (variant supercell-AxBxC); null: none"
    )
    temperatures_K: list[Temperature] = Field(
        [300.0], min_length=1, description="temperatures of the dynamics (K)"
    )
    pressures_GPa: list[Pressure] = Field(
        [0.000101325],
        min_length=1,
        description="pressures of the dynamics (GPa; 0.000101325 is 1 atm), each at every temperature",
    )

    @model_validator(mode="after")
    def _check(self) -> "Options":
        if not self.unit_cell and self.supercell is None:
            raise ValueError(
                "unit_cell is false and supercell is null, which leaves nothing to explore; set one of them"
            )
        names = [condition.name for condition in conditions(self)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"the condition {name} comes up twice in temperatures_K x pressures_GPa; list each "
                    "value once"
                )
        return self


def conditions(options: Options) -> list[Condition]:
    """Every temperature with every pressure, in the order of the configuration."""
    pairs = product(options.temperatures_K, options.pressures_GPa)
    return [condition for t, p in pairs for condition in at_temperatures([t], p)]


def repetitions(cell: np.ndarray, n_atoms: int, rule: Supercell) -> tuple[int, int, int]:
    """Multiples of the lattice vectors by the supercell rule of this module.

    Parameters
    ----------
    cell : (3, 3), Å, rows are lattice vectors
    """
    # the width across direction i is volume / area of the face spanned by the other two = 1 / |i-th
    # reciprocal vector|
    widths = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    times = np.ones(3, dtype=int)
    while True:
        now = widths * times
        shortest = int(np.argmax(now <= now.min() + _SAME_WIDTH_A))
        if now[shortest] >= rule.min_length_A:
            break
        times[shortest] += 1
        if n_atoms * int(times.prod()) > rule.max_atoms:
            times[shortest] -= 1
            break
    return int(times[0]), int(times[1]), int(times[2])


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield the cells of one crystal.

    One that needs no supercell yields its unit cell, even if ``unit_cell`` is false.
    """
    at = conditions(options)
    times = (
        repetitions(crystal.cell, len(crystal.numbers), options.supercell) if options.supercell else (1, 1, 1)
    )
    if options.unit_cell or times == (1, 1, 1):
        yield Cell("unit", "bulk", crystal.numbers, crystal.cell, crystal.positions, at)
    if times != (1, 1, 1):
        large = repeated(crystal, times)
        name = "supercell-{}x{}x{}".format(*times)
        yield Cell(name, "bulk", large.numbers, large.cell, large.positions, at)


def enlarged(crystal: Crystal, rule: Supercell | None) -> Crystal:
    """Return the supercell of ``crystal`` by the rule of this module; null: the crystal as it is."""
    return repeated(crystal, repetitions(crystal.cell, len(crystal.numbers), rule)) if rule else crystal
