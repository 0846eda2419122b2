"""Crystals with one atom of another element, for every symmetry-distinct site; cells are neutral."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.atoms.elements import Symbols, symbol_of
from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, at_temperatures
from pesatlas.structures.defects import generators, substitutions
from pesatlas.structures.domains.bulk import Pressure, Supercell, Temperatures
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``substitution``."""

    kind: Literal["substitution"] = Field("substitution", description="one atom of another element")
    replace: dict[str, Symbols] | None = Field(
        None,
        min_length=1,
        description="substituting elements of each element, e.g. {Mg: [Ca, Zn]}; null: antisites, with "
        "the elements of the crystal",
    )
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")


def check(_: Options) -> None:
    """Raise a UserError if pymatgen-analysis-defects is not installed."""
    generators()


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield a cell for each different site and element, or why there is none."""
    own = sorted({symbol_of(int(z)) for z in crystal.numbers})
    mapping = options.replace or {old: [new for new in own if new != old] for old in own if len(own) > 1}
    at = at_temperatures(options.temperatures_K, options.pressure_GPa)
    count: Counter[str] = Counter()
    for name, cell in substitutions(crystal, options.supercell, dict(mapping)):
        variant = f"substitution-{name}{count[name]}"
        yield Cell(variant, "substitution", cell.numbers, cell.cell, cell.positions, at)
        count[name] += 1
    if not count:
        detail = f"there is nothing to put in the place of {', '.join(own)}"
        yield Refused("substitution", FailureReason.NOT_APPLICABLE, detail)
