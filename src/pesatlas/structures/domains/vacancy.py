"""Crystals with one atom missing, for every symmetry-distinct site; cells are neutral."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.atoms.elements import Symbols
from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, at_temperatures, without
from pesatlas.structures.defects import generators, vacancies
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperatures
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``vacancy``."""

    kind: Literal["vacancy"] = Field("vacancy", description="one atom missing, for every different site")
    elements: Symbols | None = Field(None, min_length=1, description="elements; null: all")
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")


def check(_: Options) -> None:
    """Raise a UserError if pymatgen-analysis-defects is not installed."""
    generators()


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield a cell for each different site, or why there is none."""
    at = at_temperatures(options.temperatures_K, options.pressure_GPa)
    count: Counter[str] = Counter()
    for symbol, atom, large in vacancies(crystal, options.supercell):
        if options.elements is not None and symbol not in options.elements:
            continue
        if len(large.numbers) < 2:
            yield Refused("vacancy", FailureReason.NOT_APPLICABLE, "the supercell has one atom only")
            return
        less = without(large, atom)
        yield Cell(f"vacancy-{symbol}{count[symbol]}", "vacancy", less.numbers, less.cell, less.positions, at)
        count[symbol] += 1
    if not count:
        yield Refused("vacancy", FailureReason.NOT_APPLICABLE, "it has none of the requested elements")
