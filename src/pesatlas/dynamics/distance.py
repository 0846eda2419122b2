"""The shortest distance between atoms, periodic images included."""

import numpy as np
import torch

from pesatlas.potentials.neighbours import Search, volumes_of, wrecked
from pesatlas.potentials.potential import Batch

_FIRST_GUESS = 1.3


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
    cutoff = min(_FIRST_GUESS * spacing, float(np.linalg.norm(cell, axis=1).min()))
    wrapped = positions - np.floor(positions @ np.linalg.inv(cell)) @ cell
    while True:
        neighbours = NeighborList(cutoff=cutoff * (1 + 1e-9), full_list=False, n_threads=1)
        (distances,) = neighbours.compute(points=wrapped, box=cell, periodic=True, quantities="d")
        if len(distances):
            return float(distances.min())
        cutoff *= 1.5


def shortest_distances(batch: Batch) -> torch.Tensor:
    """Return the shortest interatomic distance (B,) of each structure, Å, NaN where it is wreckage.

    Up to rounding as ``min_distance``, for all at once and where the structures are; the host waits for it.
    """
    lengths = batch.cells.norm(dim=2).amin(1)
    spacings = (volumes_of(batch.cells).abs() / batch.n_atoms) ** (1 / 3)
    reach = torch.minimum(_FIRST_GUESS * spacings, lengths) * (1 + 1e-9)
    lost = wrecked(batch)
    shortest = torch.full_like(spacings, torch.inf).masked_fill(lost, torch.nan)
    while bool((missing := torch.isinf(shortest)).any()):
        found = _closest(batch, reach)
        if found is None:
            return _one_by_one(batch, lost)
        shortest = torch.where(missing, found, shortest)
        reach = torch.where(missing, 1.5 * reach, reach)
    return shortest


def _closest(batch: Batch, reach: torch.Tensor) -> "torch.Tensor | None":
    """Return the shortest distance (B,) below ``reach`` (B,), or infinity; None if there is too much to look at."""
    search = Search.of(batch, reach, both_ways=False)
    if search is None:
        return None
    found = search.find(batch, reach)
    squares = found.squares.masked_fill(~found.within, torch.inf)
    return torch.full_like(reach, torch.inf).scatter_reduce(0, search.owner, squares, "amin").sqrt()


def _one_by_one(batch: Batch, lost: torch.Tensor) -> torch.Tensor:
    layout, gone = batch.layout, lost.tolist()
    cells, positions = batch.cells.cpu().numpy(), batch.positions.cpu().numpy()
    own = zip(gone, cells, layout.starts, layout.counts, strict=True)
    found = [np.nan if bad else min_distance(cell, positions[a : a + n]) for bad, cell, a, n in own]
    return torch.tensor(found, dtype=torch.float64, device=lost.device)
