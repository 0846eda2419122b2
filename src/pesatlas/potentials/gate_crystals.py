"""Crystals of two or three elements with well-known lattice constants, for the gate."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import atomic_number

_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_PROTOTYPES: dict[str, tuple[NDArray[np.float64], list[list[float]]]] = {
    # cell and Cartesian positions in lattice constants of the cubic cell
    "rock salt": (_FCC, [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "zinc blende": (_FCC, [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "perovskite": (np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    "caesium chloride": (np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "fluorite": (_FCC, [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
}


@dataclass(frozen=True)
class Reference:
    """A cubic crystal.

    Attributes
    ----------
    symbols : elements in the order of the prototype's positions
    prototype : name of the structure type
    a_A : lattice constant of the cubic cell, Å
    """

    symbols: tuple[str, ...]
    prototype: str
    a_A: float

    @property
    def name(self) -> str:
        """Formula, e.g. ``SrTiO3``."""
        counts = {s: self.symbols.count(s) for s in self.symbols}
        return "".join(f"{s}{n if n > 1 else ''}" for s, n in counts.items())

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers."""
        return [atomic_number(symbol) for symbol in self.symbols]

    def geometry(self, a_A: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: N803 - a unit
        """Primitive cell (3, 3) and positions (n, 3), in Å, for a lattice constant."""
        cell, positions = _PROTOTYPES[self.prototype]
        return cell * a_A, np.array(positions) * a_A


def _reference(formula: str, prototype: str, a_A: float) -> Reference:  # noqa: N803
    return Reference(tuple(formula.split()), prototype, a_A)


# Lattice constants measured at room temperature (CRC Handbook; Wyckoff, Crystal Structures).
FIRST = [
    _reference("Na Cl", "rock salt", 5.640),
    _reference("Mg O", "rock salt", 4.212),
    _reference("Ga As", "zinc blende", 5.653),
    _reference("Sr Ti O O O", "perovskite", 3.905),
]
"""Asked of every potential that knows the elements."""

MORE = [
    _reference("Li F", "rock salt", 4.026),
    _reference("K Cl", "rock salt", 6.293),
    _reference("Ca O", "rock salt", 4.811),
    _reference("Ti N", "rock salt", 4.240),
    _reference("Ti C", "rock salt", 4.328),
    _reference("Si C", "zinc blende", 4.360),
    _reference("Zn S", "zinc blende", 5.409),
    _reference("Al P", "zinc blende", 5.464),
    _reference("In P", "zinc blende", 5.869),
    _reference("Cd Te", "zinc blende", 6.482),
    _reference("B N", "zinc blende", 3.616),
    _reference("Cs Cl", "caesium chloride", 4.123),
    _reference("Ni Al", "caesium chloride", 2.887),
    _reference("Ca F F", "fluorite", 5.463),
]
"""Asked of a potential that knows fewer than two of the first."""

_ENOUGH = 2


def references_for(elements: frozenset[int]) -> list[Reference]:
    """Return references made of ``elements`` alone."""
    first = [r for r in FIRST if elements.issuperset(r.numbers)]
    return first if len(first) >= _ENOUGH else first + [r for r in MORE if elements.issuperset(r.numbers)]


def made_up_for(elements: frozenset[int]) -> Reference:
    """Return a rock salt of two of ``elements`` (or one alone) with bonds of a usual length.

    Nothing is known of its minimum.
    """
    from ase.data import chemical_symbols, covalent_radii  # noqa: PLC0415 - heavy

    known = sorted(elements)
    pair = next(combinations(known, 2), (known[0], known[0]))
    bond = float(covalent_radii[pair[0]] + covalent_radii[pair[1]]) * 1.1
    return Reference(tuple(chemical_symbols[z] for z in pair), "rock salt", 2 * bond)
