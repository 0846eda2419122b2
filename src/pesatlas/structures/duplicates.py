"""Finding crystals that are the same crystal described again.

Crystals are hashed first, by reduced formula; where a formula comes once there is nothing to do, which is most of a database.
Where it comes more often, each crystal is reduced to its primitive cell (spglib), hashed again by space group and number of
atoms, and compared by pymatgen's ``StructureMatcher`` with the different ones already kept of the same hash. The cost is one
symmetry search for each crystal of a repeated formula, and k(k-1)/2 comparisons for k different crystals of one hash: linear in
the number of crystals as long as polymorphs of one formula and space group are few (in the Materials Project: k < 100).

The tolerances are narrow and volumes are not rescaled, so that a strained or distorted copy is a crystal of its own. A copy
whose symmetry is broken by more than 0.01 Å is missed: keeping one crystal too many is the harmless error.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure

from pesatlas.progress import Progress
from pesatlas.structures.crystal import Crystal

log = logging.getLogger(__name__)

SYMPREC_A = 0.01


def find_duplicates(crystals: Sequence[Crystal]) -> Iterator[tuple[int, int]]:
    """Yield (index of a duplicate, index of the crystal it equals): the one with the fewest atoms, of those the earliest."""
    matcher = StructureMatcher(ltol=0.02, stol=0.05, angle_tol=2, primitive_cell=False, scale=False)
    formulas = [reduced_composition(crystal.numbers) for crystal in crystals]
    often = Counter(formulas)
    suspects = [i for i, formula in enumerate(formulas) if often[formula] > 1]
    # stable: of equal sizes the earlier comes first
    suspects.sort(key=lambda i: len(crystals[i].numbers))
    log.info("%d of %d crystals share their formula with another", len(suspects), len(crystals))
    progress = Progress("compared", len(suspects))
    kept: dict[Any, list[tuple[int, Structure]]] = defaultdict(list)
    for i in suspects:
        space_group, primitive = _primitive(crystals[i])
        bucket = kept[formulas[i], space_group, len(primitive)]
        same = next((j for j, other in bucket if matcher.fit(primitive, other)), None)
        if same is None:
            bucket.append((i, primitive))
        else:
            yield i, same
        progress.step()


def reduced_composition(numbers: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Elements with their counts divided by the greatest common divisor: equal for equal reduced formulas."""
    elements, counts = np.unique(numbers, return_counts=True)
    counts = counts // np.gcd.reduce(counts)
    return tuple((int(z), int(n)) for z, n in zip(elements, counts, strict=True))


def _primitive(crystal: Crystal) -> tuple[int, Structure]:
    """Return space group number and primitive cell as a pymatgen ``Structure``; (0, the cell as it is) where spglib finds none."""
    fractional = crystal.positions @ np.linalg.inv(crystal.cell)
    cell: Any = (crystal.cell, fractional, crystal.numbers)
    number = 0
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
        reduced = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=SYMPREC_A)
        if dataset is not None and reduced is not None:
            cell, number = reduced, int(dataset.number)
    except spglib.SpglibError as error:
        log.info("%s: spglib finds no symmetry (%s)", crystal.structure_id, error)
    return number, Structure(Lattice(cell[0]), [Element.from_Z(int(z)) for z in cell[2]], cell[1])
