"""The shortest distance between atoms, periodic images included."""

import numpy as np

FIRST_GUESS = 1.3
"""Of the shortest distance, in units of the edge of the cube that an atom has to itself."""


def min_distance(cell: np.ndarray, positions: np.ndarray) -> float:
    """Return the shortest interatomic distance (Å) of a periodic structure; an atom's own images count.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å, wrapped or not
    """
    from vesin import NeighborList  # noqa: PLC0415 - it takes torch along

    spacing = (abs(np.linalg.det(cell)) / len(positions)) ** (1 / 3)
    # the shortest lattice vector is itself a distance between images
    cutoff = min(FIRST_GUESS * spacing, float(np.linalg.norm(cell, axis=1).min()))
    wrapped = positions - np.floor(positions @ np.linalg.inv(cell)) @ cell
    while True:
        neighbours = NeighborList(cutoff=cutoff * (1 + 1e-9), full_list=False, n_threads=1)
        (distances,) = neighbours.compute(points=wrapped, box=cell, periodic=True, quantities="d")
        if len(distances):
            return float(distances.min())
        cutoff *= 1.5
