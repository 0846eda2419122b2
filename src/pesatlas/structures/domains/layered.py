"""Layered crystals: forces between layers, which bulk dynamics at 300 K hardly visits.

Layers are moved as a whole, apart (``spacing``) and along each other (``slide``), and the cell with them;
these cells are not moved further. Dynamics are those of the crystal as it is.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import STATIC, Cell, Crystal, Refused, at_temperatures
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperatures, enlarged
from pesatlas.structures.layers import Layered, find_layers
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``layered``."""

    kind: Literal["layered"] = Field(
        "layered", description="layered crystals with layers moved apart and slid"
    )
    supercell: Supercell | None = Field(
        Supercell(min_length_A=6, max_atoms=96), description="of the dynamics, as in bulk; null: unit cells"
    )
    temperatures_K: Temperatures = Field([300.0], description="temperatures of the dynamics (K)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure of the dynamics (GPa)")
    spacings_A: list[Annotated[float, Field(ge=-2, le=20)]] = Field(
        [-0.4, -0.2, 0.2, 0.5, 1.0, 2.0, 4.0], description="changes of the distance between layers (Å)"
    )
    slides: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5],
        description="slide of each layer along the one below, as a share of the sum of the two in-plane "
        "vectors",
    )

    @field_validator("spacings_A", "slides")
    @classmethod
    def _once_each(cls, values: list[float]) -> list[float]:
        if len(set(values)) < len(values) or 0 in values:
            raise ValueError("values are listed once each, and 0 is the crystal as it is")
        return values


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield the cells of a layered crystal, or why it is none."""
    found = find_layers(crystal)
    if isinstance(found, str):
        yield Refused("layered", FailureReason.NOT_APPLICABLE, found)
        return
    if options.temperatures_K:
        large = enlarged(found.crystal, options.supercell)
        at = at_temperatures(options.temperatures_K, options.pressure_GPa)
        yield Cell("layered", "layered", large.numbers, large.cell, large.positions, at)
    across = found.crystal.cell[:2].sum(0)
    for spacing in options.spacings_A:
        name = f"layered-spacing-{'p' if spacing > 0 else 'm'}{abs(spacing):g}"
        yield _shifted(name, found, np.array([0, 0, spacing]))
    for slide in options.slides:
        yield _shifted(f"layered-slide-{slide:g}", found, slide * across)


def _shifted(name: str, found: Layered, shift: np.ndarray) -> Cell:
    """Move each layer by ``shift`` (Å) against the one below it, and the next cell as much."""
    positions, cell = found.crystal.positions.copy(), found.crystal.cell.copy()
    for i, atoms in enumerate(found.layers):
        positions[atoms] += i * shift
    cell[2] += len(found.layers) * shift
    return Cell(name, "layered", found.crystal.numbers, cell, positions, [STATIC])
