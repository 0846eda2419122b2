"""Conditions on a crystal to be explored and labelled."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.tables.schemas import FailureReason

_ONE_SITE_A = 0.1
"""Two atoms of an element that are nearer are one."""


@dataclass(frozen=True)
class Rules:
    """The checks of one campaign.

    Attributes
    ----------
    known : who must know the elements (in words) -> atomic numbers it knows
    max_atoms : largest crystal
    min_distance_A : smallest distance between two atoms, periodic images included
    """

    known: Mapping[str, frozenset[int]]
    max_atoms: int
    min_distance_A: float

    def broken_by(self, crystal: Crystal) -> Rejected | None:
        """Return why ``crystal`` cannot be used, or None."""
        present = sorted({int(z) for z in crystal.numbers})
        problems = []
        for who, elements in self.known.items():
            unknown = [symbol_of(z) for z in present if z not in elements]
            if unknown:
                problems.append(f"{', '.join(unknown)} not known to {who}")
        if problems:
            return Rejected(crystal.structure_id, FailureReason.UNSUPPORTED_ELEMENT, "; ".join(problems))
        n_atoms = len(crystal.numbers)
        if n_atoms > self.max_atoms:
            detail = f"{n_atoms} atoms, structures.max_atoms is {self.max_atoms}"
            return Rejected(crystal.structure_id, FailureReason.TOO_MANY_ATOMS, detail)
        closest = closest_pair(crystal, self.min_distance_A)
        if closest is not None:
            first, second, distance = closest
            pair = "-".join(symbol_of(int(crystal.numbers[i])) for i in (first, second))
            detail = (
                f"atoms {first} and {second} ({pair}) are {distance:.3f} Å apart, structures.min_distance_A "
                f"is {self.min_distance_A:g}"
            )
            if distance < _ONE_SITE_A and crystal.numbers[first] == crystal.numbers[second]:
                detail += "; the same site, rounded or listed twice"
            return Rejected(crystal.structure_id, FailureReason.OVERLAPPING, detail)
        return None


def closest_pair(crystal: Crystal, cutoff: float) -> tuple[int, int, float] | None:
    """Return the closest two atoms (indices, distance in Å, periodic), if closer than ``cutoff`` (Å)."""
    # the search looks at boxes as wide as its radius: with a short one, an ordinary cell of 20 Å has 64,000,
    # nearly all empty
    spacing = (abs(float(np.linalg.det(crystal.cell))) / len(crystal.numbers)) ** (1 / 3)
    if spacing > cutoff:
        distances = _pairs(crystal, spacing)[2]
        if not (distances < cutoff).any():
            return None
    first, second, distances = _pairs(crystal, cutoff)
    if len(distances) == 0:
        return None
    at = int(np.argmin(distances))
    return int(first[at]), int(second[at]), float(distances[at])


def _pairs(crystal: Crystal, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of atoms within a radius (Å): indices and distances."""
    from vesin import NeighborList  # noqa: PLC0415 - it takes torch along

    neighbours = NeighborList(cutoff=radius, full_list=False)
    first, second, distances = neighbours.compute(
        points=np.ascontiguousarray(crystal.positions),
        box=np.ascontiguousarray(crystal.cell),
        periodic=True,
        quantities="ijd",
    )
    return first, second, distances
