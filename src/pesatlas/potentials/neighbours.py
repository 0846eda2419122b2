"""Neighbours of all structures of a batch at once, in torch, on any device.

Cells of this project have 1 to some hundred atoms, so every pair of atoms of a structure is looked at, with
as many images as can lie within the cutoff. Along a lattice vector whose planes are a height h apart these
are 2 cutoff / h, rounded down, and one.
"""

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import torch

from pesatlas.potentials.potential import Batch, Layout, repeat_places

MAX_DENSITY = 1.0
"""Atoms/Å³, six times diamond: denser cells are wreckage whose neighbours would fill the memory."""

MOST_CANDIDATES = 2**28
"""Pairs of atoms with their images that are looked at together; so many take 20 GB."""

Cutoff: TypeAlias = "float | torch.Tensor"
"""Of all structures, or of each (B,), Å."""

_ROUNDING = 1e-9
"""An image at the very edge is looked at, whichever way its scaled coordinates were rounded."""

_SHRINKING = 1.05
"""The planes of a cell may come closer by this factor before it needs other images."""


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates of a search, and which of them are neighbours.

    Attributes
    ----------
    within : (Q,) bool, which candidates are neighbours
    squares : (Q,) Å², squared distances
    between : (P, 3) Å, vector of each pair of atoms to its first image
    shifts : (T, 3) Å, vectors from there to the other images, structure by structure
    lost : (B,) bool, structures that are wreckage, without neighbours
    enough : () bool, whether there were images enough
    """

    within: torch.Tensor
    squares: torch.Tensor
    between: torch.Tensor
    shifts: torch.Tensor
    lost: torch.Tensor
    enough: torch.Tensor


class Search:
    """Search for the neighbours in structures that stay together; nothing of it waits for the host.

    Parameters
    ----------
    layout : which atoms belong to which structure
    images : (B, 3) how many images are looked at along each lattice vector
    both_ways : whether each pair of neighbours is found from both ends

    Attributes
    ----------
    pair, image : (Q,) pair and image of each candidate
    i, j : (P,) atoms of each pair; candidates are in the order of i, then j, then image
    """

    def __init__(self, layout: Layout, images: np.ndarray, *, both_ways: bool) -> None:
        device, atoms, cells = layout.device, layout.counts, images.prod(1)
        self.layout = layout
        self._both_ways = both_ways
        self._images = torch.as_tensor(images, device=device)
        rows = np.repeat(atoms, atoms) if both_ways else _countdown(atoms)
        first = np.repeat(layout.starts, atoms) if both_ways else np.arange(layout.atoms)
        self.i = repeat_places(rows, device)
        self.j = _counted(rows, self.i) + torch.as_tensor(first, device=device)[self.i]
        self._of_pair = layout.owner[self.i]
        self._of_image = repeat_places(cells, device)
        place = _counted(cells, self._of_image)
        across, down = self._images[self._of_image, 1], self._images[self._of_image, 2]
        self._steps = torch.stack([place // (across * down), place // down % across, place % down], 1)
        per_pair = np.repeat(np.repeat(cells, atoms), rows)
        self.pair = repeat_places(per_pair, device)
        image_starts = torch.as_tensor(np.cumsum(cells) - cells, device=device)
        self.image = _counted(per_pair, self.pair) + image_starts[self._of_pair][self.pair]
        self._order = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64, device=device)
        self._own = torch.nonzero((self.i == self.j)[self.pair]).squeeze(1)

    @classmethod
    def of(cls, batch: Batch, cutoff_A: Cutoff, *, both_ways: bool) -> Self | None:  # noqa: N803 - a unit
        """Prepare a search in the cells of ``batch``; None if there is too much to look at."""
        reach = _reach(_reciprocal(batch.cells, volumes_of(batch.cells)), cutoff_A)
        reach = reach.masked_fill(wrecked(batch)[:, None], 0.0)
        images = np.floor(2 * _SHRINKING * reach.cpu().numpy() + 2 * _ROUNDING).astype(np.int64) + 1
        most = (batch.layout.counts.astype(float) ** 2 * images.prod(1, dtype=float)).sum()
        return cls(batch.layout, images, both_ways=both_ways) if most <= MOST_CANDIDATES else None

    @property
    def owner(self) -> torch.Tensor:
        """(Q,) structure of each candidate."""
        return self._of_image[self.image]

    def find(self, batch: Batch, cutoff_A: Cutoff) -> Found:  # noqa: N803 - a unit
        """Find the neighbours closer than ``cutoff_A``, of all or (B,), in structures with this layout."""
        cells, positions = batch.cells, batch.positions
        volumes = volumes_of(cells)
        reciprocal, lost = _reciprocal(cells, volumes), _wrecked(batch, volumes)
        reach = _reach(reciprocal, cutoff_A)
        scaled = (positions[:, :, None] * reciprocal[self.layout.owner]).sum(1)
        # of the images of j at scaled distances d, d + 1, ... from i, those from -reach on
        apart = scaled.index_select(0, self.j) - scaled.index_select(0, self.i)
        start = torch.ceil(-reach[self._of_pair] - apart - _ROUNDING)
        between = positions.index_select(0, self.j) - positions.index_select(0, self.i)
        between = between + (start[:, :, None] * cells[self._of_pair]).sum(1)
        shifts = (self._steps[:, :, None] * cells[self._of_image]).sum(1)
        shifts = shifts.masked_fill(lost[self._of_image, None], torch.inf)
        squares = (between.index_select(0, self.pair) + shifts.index_select(0, self.image)).square().sum(1)
        within = squares < (cutoff_A if isinstance(cutoff_A, float) else cutoff_A[self.owner]) ** 2
        # an atom is no neighbour of itself, and of its images one of two opposite ones is enough for one way
        own = self._steps + torch.ceil(-reach - _ROUNDING)[self._of_image]
        sign = (own.sign() * self._order).sum(1)
        wanted = sign != 0 if self._both_ways else sign > 0
        within = within.index_copy(0, self._own, wanted[self.image[self._own]] & within[self._own])
        needed = torch.floor(2 * reach + 2 * _ROUNDING) + 1
        enough = ((needed <= self._images) | lost[:, None]).all()
        return Found(within, squares, between, shifts, lost, enough)


def volumes_of(cells: torch.Tensor) -> torch.Tensor:
    """Volumes (B,) of cells (B, 3, 3), negative where they are inside out; few and short steps on a GPU."""
    return (cells[:, 0] * torch.linalg.cross(cells[:, 1], cells[:, 2])).sum(1)


def _reciprocal(cells: torch.Tensor, volumes: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3): a point times it, summed over the second index, has the scaled coordinates of the third."""
    crosses = torch.linalg.cross(cells.roll(-1, 1), cells.roll(-2, 1))
    return (crosses / volumes[:, None, None]).transpose(1, 2)


def _reach(reciprocal: torch.Tensor, cutoff_A: Cutoff) -> torch.Tensor:  # noqa: N803 - a unit
    """Return how many of the planes of each lattice vector (B, 3) the cutoff reaches over."""
    planes = reciprocal.norm(dim=1)
    return planes * (cutoff_A if isinstance(cutoff_A, float) else cutoff_A[:, None])


def searchable(n_atoms: np.ndarray, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Whether each structure (B,) has finite coordinates, and a cell that is not full of atoms."""
    finite = np.isfinite(cells).all((1, 2))
    finite &= np.add.reduceat(~np.isfinite(positions).all(1), np.cumsum(n_atoms) - n_atoms) == 0
    volumes = np.abs(np.linalg.det(np.where(finite[:, None, None], cells, 0.0)))
    return finite & (n_atoms < MAX_DENSITY * volumes)


def wrecked(batch: Batch) -> torch.Tensor:
    """Whether coordinates of each structure (B,) are not finite, or its atoms overlap."""
    return _wrecked(batch, volumes_of(batch.cells))


def _wrecked(batch: Batch, volumes: torch.Tensor) -> torch.Tensor:
    # nothing is left of what is not finite but what is not finite
    nothing = volumes.new_zeros(len(volumes)).index_add(0, batch.layout.owner, (batch.positions * 0.0).sum(1))
    return ~(batch.n_atoms < MAX_DENSITY * (volumes.abs() + nothing)) | ~torch.isfinite(volumes)


def _countdown(counts: np.ndarray) -> np.ndarray:
    """Return n, n - 1, ..., 1 for each n of ``counts``."""
    return np.repeat(np.cumsum(counts), counts) - np.arange(counts.sum())


def _counted(counts: np.ndarray, places: torch.Tensor) -> torch.Tensor:
    """Return 0, 1, ... for the entries of each place; ``places`` as ``repeat_places`` made them."""
    begins = torch.as_tensor(np.cumsum(counts) - counts, device=places.device)
    return torch.arange(len(places), device=places.device) - begins[places]
