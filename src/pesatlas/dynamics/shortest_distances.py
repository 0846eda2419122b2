"""The shortest distances between atoms of many structures at once, where the structures are."""

import numpy as np
import torch

from pesatlas.dynamics.distance import FIRST_GUESS, min_distance
from pesatlas.potentials.neighbours import Search, volumes_of, wrecked
from pesatlas.potentials.potential import Batch


def shortest_distances(batch: Batch) -> torch.Tensor:
    """Return the shortest interatomic distance (B,) of each structure, Å, NaN where it is wreckage.

    Up to rounding as ``min_distance``, for all at once and where the structures are; the host waits for it.
    """
    lengths = batch.cells.norm(dim=2).amin(1)
    spacings = (volumes_of(batch.cells).abs() / batch.n_atoms) ** (1 / 3)
    reach = torch.minimum(FIRST_GUESS * spacings, lengths) * (1 + 1e-9)
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
    """Return the shortest distance (B,) below ``reach`` (B,), or infinity; None if it is too much at once."""
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
