"""Crystals with atoms displaced at random: forces in all directions, without dynamics.

Every coordinate is drawn from a normal distribution; the cell stays. Random numbers follow from the id of the
crystal, the displacement and the number of the copy.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas.config.section import Section, digest
from pesatlas.structures.crystal import STATIC, Cell, Crystal
from pesatlas.structures.domains.bulk import Supercell, enlarged


class Options(Section):
    """Options of the domain ``rattled``."""

    kind: Literal["rattled"] = Field("rattled", description="crystals with atoms displaced at random")
    supercell: Supercell | None = Field(
        Supercell(min_length_A=6, max_atoms=64), description="as in bulk; null: unit cells"
    )
    displacements_A: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.05, 0.1, 0.2], min_length=1, description="standard deviations of a coordinate (Å)"
    )
    copies: int = Field(2, ge=1, le=100, description="cells per standard deviation")

    @field_validator("displacements_A")
    @classmethod
    def _once_each(cls, values: list[float]) -> list[float]:
        if len(set(values)) < len(values):
            raise ValueError("a displacement is listed twice; list each once")
        return values


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield the displaced copies."""
    large = enlarged(crystal, options.supercell)
    for sigma in options.displacements_A:
        for copy in range(options.copies):
            draw = np.random.default_rng(int(digest("rattled", crystal.structure_id, sigma, copy), 16))
            moves = draw.normal(scale=sigma, size=large.positions.shape)
            yield Cell(
                f"rattled-{sigma:g}-{copy}",
                "rattled",
                large.numbers,
                large.cell,
                large.positions + moves - moves.mean(0),
                [STATIC],
            )
