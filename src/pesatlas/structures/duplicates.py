"""Duplicate crystals.

Crystals are the same if they have the same reduced formula and space group, primitive cells of the same
number of atoms (spglib), and pymatgen's ``StructureMatcher`` says so. That is decided for few pairs only.
Crystals are hashed by formula; where a formula comes once there is nothing to do, and neither where no other
volume for an atom is near. The others are compared by their primitive cells with the different ones already
kept of their formula, all at once, by ``Sieve``; symmetry search and matcher see what is left. The cost is a
primitive cell for each crystal of a repeated formula, and a comparison of arrays for each pair of different
crystals of one formula: microseconds, so that it is linear in the number of crystals as long as polymorphs of
one formula are some hundreds.

The tolerances are narrow and volumes are not rescaled, so that a strained or distorted copy is a crystal of
its own. A copy whose symmetry is broken by more than 0.01 Å is missed: keeping one crystal too many is the
harmless error.
"""

import logging
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure

from pesatlas.config.section import digest
from pesatlas.runtime.progress import Progress
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.likeness import ANGLES_DEGREES, LENGTHS, MOST_VOLUME, SITES, Sieve
from pesatlas.structures.primitive import Primitive, find_primitive, reduced_primitive

log = logging.getLogger(__name__)

Cell = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Lattice, fractional coordinates, atomic numbers: as spglib takes and gives it."""

Key = TypeVar("Key")
Value = TypeVar("Value")

SYMPREC_A = 0.01
_REMEMBERED = 64
"""Cells as symmetry search and matcher want them, kept for the next comparison."""


def find_duplicates(crystals: Sequence[Crystal]) -> Iterator[tuple[int, int]]:
    """Yield (index of a duplicate, index of the crystal it equals).

    The one with the fewest atoms, of those the earliest.

    Of ``crystals`` one formula is in memory at a time, as arrays.
    """
    # a few bytes for each: a formula as a tuple has hundreds
    formulas, sizes, volumes = bytearray(), array("Q"), array("d")
    for crystal in crystals:
        formulas += digest(reduced_composition(crystal.numbers), length=32).encode()
        sizes.append(len(crystal.numbers))
        volumes.append(abs(float(np.linalg.det(crystal.cell))) / len(crystal.numbers))
    often = _repeated(np.frombuffer(bytes(formulas), dtype="S32"))
    suspects = sum(len(same) for same in often)
    log.info("%d of %d crystals share their formula with another", suspects, len(crystals))
    progress = Progress("compared", suspects)
    for same in often:
        # stable: of equal sizes the earlier comes first
        order = sorted(same, key=sizes.__getitem__)
        search = _OneFormula(crystals)
        for i in _near_another(order, volumes):
            equal = search.find(i)
            if equal is not None:
                yield i, equal
        progress.step(len(same))


def reduced_composition(numbers: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Elements with their counts divided by the greatest common divisor: equal for equal reduced formulas."""
    elements, counts = np.unique(numbers, return_counts=True)
    counts = counts // np.gcd.reduce(counts)
    return tuple((int(z), int(n)) for z, n in zip(elements, counts, strict=True))


def _repeated(values: np.ndarray) -> list[list[int]]:
    """Return the places of each value that comes more than once."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(values[order[1:]] != values[order[:-1]]) + 1
    return [places.tolist() for places in np.split(order, starts) if len(places) > 1]


def _near_another(order: Sequence[int], volumes: Sequence[float]) -> list[int]:
    """Return those of ``order`` whose volume for an atom is near that of another one."""
    own = np.array([volumes[i] for i in order])
    ranked = np.sort(own)
    above = ranked.searchsorted(own * MOST_VOLUME, "right")
    below = ranked.searchsorted(own / MOST_VOLUME, "left")
    return [order[i] for i in np.flatnonzero(above - below > 1).tolist()]


class _OneFormula:
    """Different crystals of one formula, as they are found.

    Parameters
    ----------
    crystals : all there are, of any formula
    """

    def __init__(self, crystals: Sequence[Crystal]) -> None:
        self._crystals = crystals
        self._sieves: dict[int, Sieve] = {}
        self._kept: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        self._strict = _Strict(crystals)

    def find(self, index: int) -> int | None:
        """Return the crystal that this one equals; None: it is a new one, and kept."""
        cell = self._primitive(index)
        size = len(cell.numbers)
        sieve = self._sieves.setdefault(size, Sieve(cell))
        kept = self._kept[size]
        for like in sieve.candidates(cell):
            other, exact = kept[like.place]
            if like.exactly or self._strict.same(index, other, searched=not (exact and cell.exact)):
                return other
        sieve.add(cell)
        kept.append((index, cell.exact))
        return None

    def _primitive(self, index: int) -> Primitive:
        crystal = self._crystals[index]
        found = find_primitive(crystal.numbers, crystal.cell, crystal.positions)
        if found is not None:
            return found
        # spglib has the last word where translations are a matter of tolerance
        cell, fractional, numbers = self._strict.primitive(index)
        return reduced_primitive(np.asarray(numbers), cell, fractional, exact=False)


class _Strict:
    """What decides: equal space groups and numbers of atoms, and the matcher.

    Parameters
    ----------
    crystals : all there are
    """

    def __init__(self, crystals: Sequence[Crystal]) -> None:
        self._crystals = crystals
        self._matcher = StructureMatcher(
            ltol=LENGTHS, stol=SITES, angle_tol=ANGLES_DEGREES, primitive_cell=False, scale=False
        )
        self._groups: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._primitives: OrderedDict[int, Cell] = OrderedDict()
        self._structures: OrderedDict[tuple[int, bool], Structure] = OrderedDict()

    def same(self, new: int, kept: int, *, searched: bool) -> bool:
        """Whether the two are the same crystal.

        ``searched``: their primitive cells are those that spglib finds, or else exact ones.
        """
        # the cheaper question first
        if not searched and not self._fit(new, kept, searched=False):
            return False
        if self._group(new) != self._group(kept):
            return False
        return not searched or self._fit(new, kept, searched=True)

    def primitive(self, index: int) -> Cell:
        """Return the primitive cell that spglib finds, remembered for a while."""
        return _remembered(self._primitives, index, lambda: _primitive(self._crystals[index]))

    def _group(self, index: int) -> tuple[int, int]:
        """Return space group number and atoms of the primitive cell.

        Of the crystal as it is, since near tolerances they depend on the cell.
        """
        return _remembered(self._groups, index, lambda: _group(self._crystals[index]))

    def _fit(self, new: int, kept: int, *, searched: bool) -> bool:
        first, second = (self._structure(index, searched=searched) for index in (new, kept))
        return bool(self._matcher.fit(first, second, skip_structure_reduction=True))

    def _structure(self, index: int, *, searched: bool) -> Structure:
        """Return the reduced cell, by pymatgen."""

        def make() -> Structure:
            cell = self.primitive(index) if searched else _exact(self._crystals[index])
            species = [Element.from_Z(int(z)) for z in cell[2]]
            return Structure(Lattice(cell[0]), species, cell[1]).get_reduced_structure("niggli")

        return _remembered(self._structures, (index, searched), make)


def _remembered(known: OrderedDict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """Return what is known under a key, or make it; the longest unused is forgotten."""
    if key not in known:
        known[key] = make()
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]


def _as_cell(crystal: Crystal) -> Cell:
    """Return a crystal as spglib takes it."""
    return crystal.cell, crystal.positions @ np.linalg.inv(crystal.cell), crystal.numbers


def _exact(crystal: Crystal) -> Cell:
    """Return the primitive cell of a crystal that has an exact one."""
    found = find_primitive(crystal.numbers, crystal.cell, crystal.positions)
    if found is None:
        raise RuntimeError(f"{crystal.structure_id}: its primitive cell is a matter of tolerance")
    return found.cell, found.fractional, found.numbers


def _group(crystal: Crystal) -> tuple[int, int]:
    """Return space group number and atoms of the primitive cell.

    0 and those of the cell as it is where spglib finds none.
    """
    cell: Any = _as_cell(crystal)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
    except spglib.SpglibError as error:
        log.info("%s: spglib finds no symmetry (%s)", crystal.structure_id, error)
        dataset = None
    if dataset is None:
        return 0, len(cell[2])
    return int(dataset.number), len(np.unique(dataset.mapping_to_primitive))


def _primitive(crystal: Crystal) -> Cell:
    """Return the primitive cell by spglib; the cell as it is where it finds none."""
    cell: Any = _as_cell(crystal)
    try:
        reduced: Any = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=SYMPREC_A)
    except spglib.SpglibError as error:
        log.info("%s: spglib finds no symmetry (%s)", crystal.structure_id, error)
        return _as_cell(crystal)
    return _as_cell(crystal) if reduced is None else reduced
