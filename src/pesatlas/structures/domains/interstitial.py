"""Crystals with one additional atom, in voids of a Voronoi tessellation; cells are neutral."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.atoms.elements import Symbols, symbol_of
from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, at_temperatures
from pesatlas.structures.defects import generators, interstitials
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperatures
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``interstitial``."""

    kind: Literal["interstitial"] = Field("interstitial", description="one additional atom")
    elements: Symbols | None = Field(
        None, min_length=1, description="elements of the additional atom; null: those of the crystal"
    )
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")


def check(_: Options) -> None:
    """Raise a UserError if pymatgen-analysis-defects is not installed."""
    generators()


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield a cell for each different void and element, or why there is none."""
    elements = options.elements or sorted({symbol_of(int(z)) for z in crystal.numbers})
    at = at_temperatures(options.temperatures_K, options.pressure_GPa)
    count: Counter[str] = Counter()
    for symbol, cell in interstitials(crystal, options.supercell, list(elements)):
        variant = f"interstitial-{symbol}{count[symbol]}"
        yield Cell(variant, "interstitial", cell.numbers, cell.cell, cell.positions, at)
        count[symbol] += 1
    if not count:
        yield Refused(
            "interstitial", FailureReason.NOT_APPLICABLE, "no void is large enough for another atom"
        )
