"""Transition states: an atom hops into a neighbouring vacancy along the minimum energy path.

Here are only the two states, as the crystal's sites give them; ``pesatlas.explore.minimum_energy_paths``
relaxes both and finds the path.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from pesatlas.atoms.elements import Symbols
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Condition, Crystal, Path, Refused, without
from pesatlas.structures.defects import generators, vacancies
from pesatlas.structures.domains.bulk import Supercell
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``transition``."""

    kind: Literal["transition"] = Field(
        "transition",
        description="an atom hops into a neighbouring vacancy, along the minimum energy path",
    )
    elements: Symbols | None = Field(None, min_length=1, description="elements; null: all")
    images: int = Field(5, ge=3, le=21, description="images of each path, both ends included")
    max_hop_A: float = Field(5.0, gt=0, le=10, description="longest hop (Å)")
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as in bulk")


def check(_: Options) -> None:
    """Raise a UserError if pymatgen-analysis-defects is not installed."""
    generators()


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield a cell with a path for the shortest hop into each different vacancy, or why there is none."""
    count: Counter[str] = Counter()
    for symbol, atom, large in vacancies(crystal, options.supercell):
        if options.elements is not None and symbol not in options.elements:
            continue
        name = f"transition-{symbol}{count[symbol]}"
        count[symbol] += 1
        hop = _nearest_alike(large, atom)
        length = np.linalg.norm(hop[1]) if hop else np.inf
        if hop is None or length > options.max_hop_A:
            detail = (
                f"the nearest {symbol} is {length:.3g} Å from the vacancy, max_hop_A is {options.max_hop_A:g}"
            )
            yield Refused(name, FailureReason.NOT_APPLICABLE, detail)
            continue
        less = without(large, atom)
        end = less.positions.copy()
        # numbered without the atom that is gone
        end[hop[0] - int(hop[0] > atom)] += hop[1]
        path = Condition("path", 0.0, 0.0, path=Path(end, options.images))
        yield Cell(name, "transition", less.numbers, less.cell, less.positions, [path])
    if not count:
        yield Refused("transition", FailureReason.NOT_APPLICABLE, "it has none of the requested elements")


def _nearest_alike(crystal: Crystal, atom: int) -> tuple[int, np.ndarray] | None:
    """Return the nearest other atom of the same element, and the vector from it to ``atom`` (Å)."""
    best: tuple[float, int, np.ndarray] | None = None
    for j in np.flatnonzero(crystal.numbers == crystal.numbers[atom]).tolist():
        if j == atom:
            continue
        way = crystal.positions[atom] - crystal.positions[j]
        images = way + np.array(list(np.ndindex(3, 3, 3))) @ crystal.cell - crystal.cell.sum(0)
        lengths = np.round(np.linalg.norm(images, axis=1), 6)
        shortest = int(np.argmin(lengths))
        if best is None or lengths[shortest] < best[0]:
            best = (float(lengths[shortest]), j, images[shortest])
    return (best[1], best[2]) if best else None
