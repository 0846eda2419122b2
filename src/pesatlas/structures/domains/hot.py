"""Crystals at a series of temperatures up to melting.

Whether one has melted shows in column ``lindemann`` of the snapshots: frames with molten cells stay, for they
are physics.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, at_temperatures
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperatures, enlarged


class Options(Section):
    """Options of the domain ``hot``."""

    kind: Literal["hot"] = Field("hot", description="crystals at a series of temperatures, through melting")
    supercell: Supercell | None = Field(Supercell(max_atoms=64), description="as in bulk; null: unit cells")
    temperatures_K: Temperatures = Field(
        [600.0, 1000.0, 1500.0, 2000.0], min_length=1, description="temperatures (K)"
    )
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")
    max_volume_ratio: float = Field(
        3.0,
        gt=1,
        le=100,
        description="limits of trajectories in this domain, as explore.abort: a melt expands",
    )


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield one cell, to be explored at every temperature."""
    large = enlarged(crystal, options.supercell)
    at = at_temperatures(
        options.temperatures_K, options.pressure_GPa, max_volume_ratio=options.max_volume_ratio
    )
    yield Cell("hot", "hot", large.numbers, large.cell, large.positions, at)
