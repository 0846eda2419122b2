"""Layers of a crystal: bonded pieces that are periodic in two directions only."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from pesatlas.structures.crystal import Crystal, laid_flat, to_ase

_LONGEST = 3
"""Largest multiple of a lattice vector in a basis with two vectors in the layers."""


@dataclass(frozen=True, eq=False)
class Layered:
    """A crystal whose first two lattice vectors lie in its layers and in the plane xy.

    Attributes
    ----------
    crystal : atoms of one layer are not cut by the boundary of the cell
    layers : indices of the atoms of each layer, from below
    """

    crystal: Crystal
    layers: list[np.ndarray]


def find_layers(crystal: Crystal) -> Layered | str:
    """Return a crystal by its layers, or why it has none, in words.

    Bonds are pairs closer than a multiple of the sum of their covalent radii; which multiple, and whether
    they make layers, is decided by the score of Larsen, Pandey, Strange & Jacobsen, Phys. Rev. Mater. 3,
    034003 (2019), as in ASE.
    """
    from ase.geometry.dimensionality import (  # noqa: PLC0415 - reading a configuration imports this module, not ASE
        analyze_dimensionality,
    )

    best = analyze_dimensionality(to_ase(crystal), method="RDA")[0]
    if best.dimtype != "2D":
        return (
            f"its atoms are bonded in {best.dimtype}, not in layers (dimensionality score {best.score:.2f})"
        )
    offsets, cycles = _unwrapped(crystal, best.a * (1 + 1e-6), best.components)
    normal = _normal(cycles)
    if normal is None:
        return "its layers do not lie in one plane"
    basis = _basis(normal, crystal.cell)
    if basis is None:
        return (
            f"its layers lie in the plane {tuple(normal.tolist())}, for which no short lattice vectors were "
            "found"
        )
    whole = replace(crystal, positions=crystal.positions + offsets @ crystal.cell)
    whole = laid_flat(replace(whole, cell=basis @ crystal.cell))
    layers = [np.flatnonzero(best.components == name) for name in np.unique(best.components)]
    positions = whole.positions.copy()
    for atoms in layers:
        # into the cell, the layer as a whole
        positions[atoms] -= np.floor(positions[atoms].mean(0) @ np.linalg.inv(whole.cell)) @ whole.cell
    layers.sort(key=lambda atoms: (round(positions[atoms, 2].mean(), 6), int(atoms[0])))
    return Layered(replace(whole, positions=positions), layers)


def _unwrapped(
    crystal: Crystal, factor: float, components: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return translations (n, 3) that make components whole, and their periods."""
    from ase.data import covalent_radii  # noqa: PLC0415 - as above
    from vesin import NeighborList  # noqa: PLC0415 - as above

    radii = covalent_radii[crystal.numbers]
    neighbours = NeighborList(cutoff=float(2 * radii.max() * factor), full_list=True)
    first, second, shifts, distances = neighbours.compute(
        points=np.ascontiguousarray(crystal.positions),
        box=np.ascontiguousarray(crystal.cell),
        periodic=True,
        quantities="ijSd",
    )
    bonded = distances <= factor * (radii[first] + radii[second])
    bonds: dict[int, list[tuple[int, np.ndarray]]] = {i: [] for i in range(len(radii))}
    for i, j, shift in zip(first[bonded], second[bonded], shifts[bonded], strict=True):
        bonds[int(i)].append((int(j), shift.astype(int)))
    offsets = np.zeros((len(radii), 3), dtype=int)
    cycles: list[np.ndarray] = []
    for name in np.unique(components):
        start = int(np.flatnonzero(components == name)[0])
        seen, queue = {start}, deque([start])
        while queue:
            i = queue.popleft()
            for j, shift in bonds[i]:
                there = offsets[i] + shift
                if j not in seen:
                    seen.add(j)
                    offsets[j] = there
                    queue.append(j)
                elif (there != offsets[j]).any():
                    cycles.append(there - offsets[j])
    return offsets, cycles


def _normal(cycles: list[np.ndarray]) -> np.ndarray | None:
    """Return the primitive reciprocal vector normal to all cycles, or None if they are not coplanar."""
    distinct = np.unique(np.array(cycles).reshape(-1, 3), axis=0)
    if np.linalg.matrix_rank(distinct) != 2:
        return None
    crosses = [np.cross(distinct[0], other) for other in distinct]
    normal = next(each for each in crosses if each.any())
    return normal // np.gcd.reduce(normal)


def _basis(normal: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """Return a right-handed integer basis whose first two rows are shortest in the plane of ``normal``."""
    if not normal[:2].any():
        return np.eye(3, dtype=int)
    range_ = range(-_LONGEST, _LONGEST + 1)
    vectors = sorted(
        (np.array(v) for v in product(range_, repeat=3) if any(v)),
        key=lambda v: (round(float(np.linalg.norm(v @ cell)), 6), *v.tolist()),
    )
    inside = [v for v in vectors if not v @ normal]
    third = next((v for v in vectors if v @ normal == 1), None)
    for u, v in _pairs(inside):
        cross = np.cross(u, v)
        if third is not None and (cross == normal).all():
            return np.array([u, v, third])
    return None


def _pairs(vectors: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for j, second in enumerate(vectors):
        for first in vectors[:j]:
            yield first, second
            yield second, first
