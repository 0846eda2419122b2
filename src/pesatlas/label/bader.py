"""Integrals of densities over Bader volumes, by the weight method of Yu and Trinkle.

M. Yu and D. R. Trinkle, J. Chem. Phys. 134, 064111 (2011). Every cell of the grid passes what it holds to its
neighbours of higher density, in proportion to the flux through the facets between their Voronoi cells; what
arrives at a maximum is the integral over its volume. Cells on a boundary are divided by this, so that the
result converges smoothly with the grid, and nothing of a density is lost.
"""

from collections.abc import Sequence

import numpy as np
from ase.geometry import minkowski_reduce
from numba import njit
from scipy.spatial import Voronoi

METHOD = "Bader volumes by the weight method (Yu and Trinkle 2011), pesatlas 1"
"""The method and the version of its code, as tables name it."""

_NO_FACET = 1e-8
"""Share of the largest facet below which two cells only touch in an edge or a corner."""


def integrate(
    reference: np.ndarray, fields: Sequence[np.ndarray], cell: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Integrate fields over the Bader volume of each atom.

    A maximum without a nucleus belongs to the nearest atom; to all of them alike where several are as near to
    within half the diagonal of a grid cell.

    Parameters
    ----------
    reference : (nx, ny, nz) density whose maxima and zero-flux surfaces make the volumes; any unit
    fields : each (nx, ny, nz), per Å³, on the same grid, whose point (0, 0, 0) is the origin
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å

    Returns
    -------
    numpy.ndarray
        (number of fields, n)

    Raises
    ------
    ValueError
        If a grid has another shape, or values are not finite.
    """
    if reference.ndim != 3 or any(field.shape != reference.shape for field in fields):
        shapes = ", ".join(str(field.shape) for field in (reference, *fields))
        raise ValueError(f"densities of shapes {shapes}: all must be on one grid")
    if not all(np.isfinite(field).all() for field in (reference, *fields)):
        raise ValueError("a density is not finite")
    shape = np.array(reference.shape)
    offsets, weights = voronoi_neighbours(cell / shape[:, None])
    amounts = np.stack([field.ravel() for field in fields], axis=1).astype(float)
    density = np.ascontiguousarray(reference, dtype=float).ravel()
    order = np.argsort(density, kind="stable")
    maxima = np.flatnonzero(_climb(density, order, shape, offsets, weights, amounts))
    points = np.stack(np.unravel_index(maxima, reference.shape), axis=1) / shape
    shares = _owners(
        points, cell, positions, np.linalg.norm(_diagonals(cell / shape[:, None]), axis=1).max() / 2
    )
    return (shares.T @ amounts[maxima]).T * abs(np.linalg.det(cell)) / density.size


def voronoi_neighbours(voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the neighbours of a grid point whose Voronoi cells share a facet with its own.

    Parameters
    ----------
    voxel : (3, 3) Å, rows are the steps of the grid

    Returns
    -------
    tuple
        Steps (m, 3), and the area of each facet over the distance to that neighbour (m,), Å
    """
    reduced, steps = minkowski_reduce(voxel)
    # All relevant neighbours are among these: Nguyen and Stehlé, ACM Trans. Algorithms 5, 46 (2009).
    near = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    centre = len(near) // 2
    diagram = Voronoi(near @ reduced)
    found, areas = [], []
    for pair, corners in zip(diagram.ridge_points, diagram.ridge_vertices, strict=True):
        if centre in pair and -1 not in corners:
            found.append(int(pair.sum()) - centre)
            areas.append(_area(diagram.vertices[corners]))
    distances = np.linalg.norm(near[found] @ reduced, axis=1)
    kept = np.array(areas) > _NO_FACET * max(areas)
    return (near[found] @ steps)[kept].astype(np.int64), (np.array(areas) / distances)[kept]


def _area(corners: np.ndarray) -> float:
    """Return the area of a convex polygon whose corners (m, 3) are in order."""
    spokes = corners - corners[0]
    return float(np.linalg.norm(np.cross(spokes[1:-1], spokes[2:]).sum(axis=0)) / 2)


def _diagonals(voxel: np.ndarray) -> np.ndarray:
    return np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)]) @ voxel


@njit(cache=True, nogil=True)
def _climb(
    density: np.ndarray,
    order: np.ndarray,
    shape: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
    amounts: np.ndarray,
) -> np.ndarray:
    """Move ``amounts`` uphill until all is in maxima; return which points these are."""
    nx, ny, nz = shape
    is_maximum = np.zeros(density.size, dtype=np.bool_)
    targets = np.empty(len(weights), dtype=np.int64)
    fluxes = np.empty(len(weights))
    for point in order:
        i, j, k = point // (ny * nz), (point // nz) % ny, point % nz
        total = 0.0
        for step in range(len(weights)):
            a, b, c = (i + offsets[step, 0]) % nx, (j + offsets[step, 1]) % ny, (k + offsets[step, 2]) % nz
            targets[step] = (a * ny + b) * nz + c
            fluxes[step] = max(0.0, density[targets[step]] - density[point]) * weights[step]
            total += fluxes[step]
        if total == 0.0:
            is_maximum[point] = True
            continue
        for step in range(len(weights)):
            if fluxes[step] > 0.0:
                for field in range(amounts.shape[1]):
                    amounts[targets[step], field] += amounts[point, field] * fluxes[step] / total
    return is_maximum


def _owners(points: np.ndarray, cell: np.ndarray, positions: np.ndarray, same: float) -> np.ndarray:
    """Return the share of each atom (columns) in each maximum (rows); a row sums to 1.

    Parameters
    ----------
    points : (m, 3) fractional
    same : distances that differ by less are the same, Å
    """
    reduced, steps = minkowski_reduce(cell)
    images = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ reduced
    shares = np.empty((len(points), len(positions)))
    fractional = np.linalg.solve(reduced.T, positions.T).T
    for row, point in enumerate(points @ np.linalg.inv(steps)):
        apart = fractional - point
        apart = (apart - np.round(apart)) @ reduced
        distances = np.linalg.norm(apart[:, None] + images, axis=2).min(axis=1)
        nearest = distances <= distances.min() + same
        shares[row] = nearest / nearest.sum()
    return shares
