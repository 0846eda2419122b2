"""Crystals under pressure: one cell per pressure, which starts at about its final volume.

A crystal that is put under 300 GPa at its volume of 0 GPa is hit by a shock, heats up and may fall apart. So
the start is scaled to V(P) by Murnaghan's equation of state (Proc. Natl. Acad. Sci. 30, 244 (1944)), B(P) =
B0 + B' P, with a bulk modulus that need only be roughly right: the barostat, whose pace is set by 1/B(P),
does the rest. Layered crystals start as they are: they give way between their layers, and scaled evenly, the
layers would be hit. The barostat compresses them at V'/V = P / (B(P) tau), some tenths in a picosecond.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, at_temperatures
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperature, enlarged
from pesatlas.structures.layers import find_layers


class Options(Section):
    """Options of the domain ``compressed``."""

    kind: Literal["compressed"] = Field("compressed", description="crystals at a series of pressures")
    supercell: Supercell | None = Field(Supercell(max_atoms=64), description="as in bulk; null: unit cells")
    temperatures_K: list[Temperature] = Field([300.0], min_length=1, description="temperatures (K)")
    pressures_GPa: list[Pressure] = Field(
        [10.0, 25.0, 50.0, 100.0, 200.0, 300.0], min_length=1, description="pressures (GPa)"
    )
    given_at_GPa: Pressure = Field(
        0.0, description="pressure (GPa) at which the crystals have the volume that their source gives"
    )
    bulk_modulus_GPa: float = Field(
        100.0, ge=1, le=500, description="guess of the bulk modulus at 0 GPa, for the initial volumes"
    )
    bulk_modulus_derivative: float = Field(
        4.0, ge=1, le=10, description="guess of its pressure derivative, about 4 for most solids"
    )

    max_volume_ratio: float = Field(
        4.0,
        gt=1,
        le=100,
        description="limits of trajectories in this domain, as explore.abort: layered crystals shrink "
        "strongly",
    )

    @field_validator("pressures_GPa", "temperatures_K")
    @classmethod
    def _once_each(cls, values: list[float]) -> list[float]:
        if len(set(values)) < len(values):
            raise ValueError("a value is listed twice; list each once")
        return values


def modulus(options: Options, pressure: float) -> float:
    """Return the bulk modulus (GPa) at a pressure (GPa) by the guess.

    Never below a tenth of that at 0 GPa.
    """
    b, slope = options.bulk_modulus_GPa, options.bulk_modulus_derivative
    return max(b + slope * pressure, 0.1 * b)


def relative_volume(options: Options, pressure: float) -> float:
    """Return the volume at a pressure (GPa) over that at ``given_at_GPa``."""
    stiffness = modulus(options, pressure) / modulus(options, options.given_at_GPa)
    return float(stiffness ** (-1 / options.bulk_modulus_derivative))


def cells(options: Options, crystal: Crystal) -> Iterator[Cell]:
    """Yield one cell for each pressure, to be explored at every temperature."""
    large = enlarged(crystal, options.supercell)
    in_layers = not isinstance(find_layers(crystal), str)
    for pressure in options.pressures_GPa:
        scale = 1.0 if in_layers else np.cbrt(relative_volume(options, pressure))
        at = at_temperatures(
            options.temperatures_K,
            pressure,
            compressibility_per_GPa=1 / modulus(options, pressure),
            max_volume_ratio=options.max_volume_ratio,
        )
        yield Cell(
            f"compressed-{pressure:g}GPa",
            "compressed",
            large.numbers,
            large.cell * scale,
            large.positions * scale,
            at,
        )
