"""Liquids: crystals melted far above their melting point, then brought to the temperatures of interest.

A liquid has no shape to restore, so that with all angles free its cell would flow: only the size of the cell
changes.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Condition, Crystal, Segment
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperature, Temperatures, enlarged


class Options(Section):
    """Options of the domain ``liquid``."""

    kind: Literal["liquid"] = Field("liquid", description="melts")
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")
    melt_K: Temperature = Field(4000.0, description="temperature (K) at which crystals are melted")
    melt_ps: float = Field(5.0, gt=0, description="time at that temperature (ps)")
    cool_ps: float = Field(5.0, gt=0, description="time from there to the temperature of interest (ps)")
    temperatures_K: Temperatures = Field(
        [2000.0], min_length=1, description="temperatures (K), each for explore.length_ps"
    )
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")
    max_volume_ratio: float = Field(
        3.0, gt=1, le=100, description="limits of trajectories in this domain, as explore.abort"
    )


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield one cell, with a schedule for every temperature."""
    large = enlarged(crystal, options.supercell)
    at = [
        Condition(
            f"{options.melt_K:g}K-{t:g}K-{options.pressure_GPa:g}GPa",
            t,
            options.pressure_GPa,
            cell_motion="isotropic",
            ramp=(
                Segment(options.melt_K, options.melt_K, options.melt_ps),
                Segment(options.melt_K, t, options.cool_ps),
            ),
            max_volume_ratio=options.max_volume_ratio,
        )
        for t in options.temperatures_K
    ]
    yield Cell("liquid", "liquid", large.numbers, large.cell, large.positions, at)
