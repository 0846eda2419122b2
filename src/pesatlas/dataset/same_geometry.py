"""Labels of the same geometry in two sets, matched in any atom order, cell orientation and lattice vector."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

SAME_A = 5e-4
"""Files round positions; a force of 1 eV/Å changes the energy by 0.5 meV over this."""
_SAME_ANGLE = 1e-4


class Known(NamedTuple):
    """A label to compare with."""

    name: str
    energy_eV: float
    fractional: np.ndarray
    cell: np.ndarray
    numbers: np.ndarray


@dataclass
class GeometryIndex:
    """Labels by their geometry."""

    _groups: dict[bytes, list[Known]] = field(default_factory=dict)
    _shapes: dict[bytes, list[np.ndarray]] = field(default_factory=dict)
    _arrays: dict[bytes, np.ndarray] = field(default_factory=dict)

    def add(
        self,
        name: str,
        numbers: Sequence[int] | np.ndarray,
        cell: np.ndarray,
        positions: np.ndarray,
        energy: float,
    ) -> None:
        """Add a label.

        Parameters
        ----------
        numbers : (n,) atomic numbers
        cell : (3, 3) Å, rows are lattice vectors
        positions : (n, 3) Å
        energy : of the cell, eV
        """
        atoms = np.asarray(numbers)
        key = _composition(atoms)
        known = Known(name, energy, positions @ np.linalg.inv(cell), cell, atoms)
        self._groups.setdefault(key, []).append(known)
        self._shapes.setdefault(key, []).append(_shape(cell))

    def find(
        self, numbers: Sequence[int] | np.ndarray, cell: np.ndarray, positions: np.ndarray
    ) -> Known | None:
        """Return a label of the same geometry, to ``SAME_A``; None if there is none.

        Arrays as for ``add``.
        """
        atoms = np.asarray(numbers)
        key = _composition(atoms)
        if key not in self._groups or not abs(np.linalg.det(cell)) > 0:
            return None
        tolerance = np.array([SAME_A] * 3 + [_SAME_ANGLE] * 3)
        if len(self._arrays.get(key, ())) != len(self._shapes[key]):
            self._arrays[key] = np.array(self._shapes[key])
        near = np.all(np.abs(self._arrays[key] - _shape(cell)) < tolerance, axis=1)
        fractional = positions @ np.linalg.inv(cell)
        for i in np.nonzero(near)[0]:
            known = self._groups[key][int(i)]
            if _same_sites(atoms, fractional, known):
                return known
        return None

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))


def _composition(numbers: np.ndarray) -> bytes:
    return np.sort(numbers).astype("<u1").tobytes()


def _shape(cell: np.ndarray) -> np.ndarray:
    """Lengths (Å) and cosines of a cell, which do not depend on how it lies."""
    lengths = np.linalg.norm(cell, axis=1)
    cosines = [cell[i] @ cell[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    return np.array([*lengths, *cosines])


def _same_sites(numbers: np.ndarray, fractional: np.ndarray, known: Known) -> bool:
    free = np.ones(len(numbers), dtype=bool)
    for number, site in zip(numbers, fractional, strict=True):
        apart = known.fractional - site
        apart -= np.round(apart)
        distance = np.linalg.norm(apart @ known.cell, axis=1)
        distance[(known.numbers != number) | ~free] = np.inf
        nearest = int(np.argmin(distance))
        if not distance[nearest] < SAME_A:
            return False
        free[nearest] = False
    return True
