"""Glasses: crystals melted and quenched by one schedule.

The rate of the quench, (melt_K - final_K) / quench_ps, is that of simulations, 1e13 to 1e14 K/s, and far
above that of experiments: what comes out is a liquid that froze, with more defects than a real glass, which
is what a potential has to see.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Condition, Crystal, Segment
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperature, enlarged


class Options(Section):
    """Options of the domain ``amorphous``."""

    kind: Literal["amorphous"] = Field("amorphous", description="melted and quenched")
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")
    melt_K: Temperature = Field(4000.0, description="temperature (K) at which crystals are melted")
    melt_ps: float = Field(5.0, gt=0, description="time at that temperature (ps)")
    quench_ps: float = Field(40.0, gt=0, description="time of the quench (ps)")
    final_K: Temperature = Field(300.0, description="final temperature (K)")
    anneal_ps: float = Field(5.0, gt=0, description="time at that temperature (ps)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")
    max_volume_ratio: float = Field(
        3.0, gt=1, le=100, description="limits of trajectories in this domain, as explore.abort"
    )

    @model_validator(mode="after")
    def _cools(self) -> "Options":
        if self.final_K >= self.melt_K:
            raise ValueError(f"final_K, {self.final_K:g}, is not below melt_K, {self.melt_K:g}: no quench")
        return self


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield one cell with its schedule."""
    large = enlarged(crystal, options.supercell)
    ramp = (
        Segment(options.melt_K, options.melt_K, options.melt_ps),
        Segment(options.melt_K, options.final_K, options.quench_ps),
    )
    at = Condition(
        f"{options.melt_K:g}K-{options.final_K:g}K-{options.pressure_GPa:g}GPa",
        options.final_K,
        options.pressure_GPa,
        cell_motion="isotropic",
        ramp=ramp,
        length_ps=options.anneal_ps,
        max_volume_ratio=options.max_volume_ratio,
    )
    yield Cell("amorphous", "amorphous", large.numbers, large.cell, large.positions, [at])
