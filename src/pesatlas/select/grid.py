"""Points summed on an integer grid; cells do not depend on the order of points or the cut into shards.

A tree of clustering features depends on the order in which points come. So points are first gathered into the
cells of a grid, finer than any cluster, and a tree is built of the cells in an order of their own. Counts and
sums are integers, which add up exactly. A grid that would have too many cells is coarsened by factors of two
until it has not: since grids are nested, the level that is reached depends on all points together and on
nothing else, so that parts can be gathered and merged in any order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pesatlas.select.cftree import CFs
from pesatlas.tables.arrays import read_arrays, write_arrays

# Positions are rounded to 1/256 of the finest cell. The origin lies at a third of the range, which is never a
# corner of cells of any level: points around it would stay in different cells however coarse the grid.
_BITS = 8
_FARTHEST = 1 << 36
_ORIGIN = (1 << 38) // 3
# Cells held at most, all owners together, take this memory; several times as much while they grow.
_BYTES = 400_000_000
_MOST = 1 << 40
_BLOCK = 1 << 18
_PARTS = ("most", "levels", "owners", "coordinates", "counts", "sums")


@dataclass
class Cells:
    """Occupied cells of one grid for each owner.

    One owner for structures, the cluster of the structure for atoms.

    Attributes
    ----------
    width : of a cell of level 0; a cell of level l is 2^l as wide
    most : cells that an owner may have, see ``Gathering``
    levels : (owners,) level of each owner's grid
    owners : (m,) int32
    coordinates : (m, k) int32
    counts : (m,) int64, points in each cell
    sums : (m, k) int64, of positions from the lower corner of the cell, in units of width / 256
    """

    width: float
    most: int
    levels: NDArray[np.int64]
    owners: NDArray[np.int32]
    coordinates: NDArray[np.int32]
    counts: NDArray[np.int64]
    sums: NDArray[np.int64]

    def coarsened(self, levels: NDArray[np.int64]) -> "Cells":
        """Return the same at ``levels``, which are not finer.

        Cells that are the same now are not yet merged.
        """
        now = self.levels[self.owners]
        steps = levels[self.owners] - now
        coordinates, sums = self.coordinates, self.sums
        for step in range(int(steps.max(initial=0))):
            rows = (steps > step)[:, None]
            upper = (coordinates & 1).astype(np.int64) * rows
            sums = sums + upper * (self.counts << (_BITS + now + step))[:, None]
            coordinates = np.where(rows, coordinates >> 1, coordinates)
        return Cells(self.width, self.most, levels, self.owners, coordinates, self.counts, sums)

    def sorted(self) -> "Cells":
        """Return the same in an order that depends on the cells alone.

        By owner, then mixed, which suits the tree.
        """
        mixed = hash_cells(self.owners, self.coordinates)
        order = np.lexsort((mixed, self.owners))
        if (np.diff(mixed[order]) == 0).any():
            order = np.lexsort((*self.coordinates.T, mixed, self.owners))
        return Cells(
            self.width,
            self.most,
            self.levels,
            self.owners[order],
            self.coordinates[order],
            self.counts[order],
            self.sums[order],
        )

    def features(self, rows: slice = slice(None)) -> CFs:
        """Return clustering features of cells.

        Their points taken to be at their mean, exact to 1/256 of a cell.
        """
        shift = (_BITS + self.levels[self.owners[rows]])[:, None]
        corner = (self.coordinates[rows].astype(np.int64) << shift) - _ORIGIN
        counts = self.counts[rows].astype(np.float64)
        means = (corner + self.sums[rows] / counts[:, None]) * (self.width / (1 << _BITS))
        return CFs(counts, means, np.zeros(len(counts)))

    def write(self, path: Path, about: str) -> None:
        """Write an ``.npz`` atomically; ``about`` is a hash of what the points are."""
        write_arrays(
            path,
            {"points": about},
            {"width": self.width, **{name: getattr(self, name) for name in _PARTS}},
        )

    @classmethod
    def read(cls, path: Path) -> tuple[Self, str]:
        """Read what ``write`` wrote.

        Raises
        ------
        UserError
            If the file is missing or is not one.
        """
        about, arrays = read_arrays(path, "cells of a grid", ["width", *_PARTS])
        parts = [arrays[name] for name in _PARTS[1:]]
        return cls(float(arrays["width"]), int(arrays["most"]), *parts), about["points"]

    @staticmethod
    def read_levels(path: Path) -> NDArray[np.int64]:
        """Read only the levels of what ``write`` wrote."""
        _, arrays = read_arrays(path, "cells of a grid", ["levels"])
        return arrays["levels"]


class Gathering:
    """Cells that grow: points and other cells are added in any order.

    Memory is shared out by one number, ``most``: an owner with more cells than that has its grid coarsened
    until it has not. It is the largest power of two for which the sum over owners of min(most, cells of the
    finest grid) stays within ``room``, and neither this sum nor the level an owner reaches ever falls when
    points are added: so both are the same for any order and any parts.

    Parameters
    ----------
    width : of a cell of the finest grid
    owners, dimension : int
    room : int
        Cells held at most; half as many again while points are added.
    """

    def __init__(self, width: float, owners: int, dimension: int, room: int | None = None) -> None:
        self._room = room or _BYTES // (12 * dimension + 12)
        self._most = _MOST
        self._width = width
        self._levels = np.zeros(owners, dtype=np.int64)
        self._table = _Table.empty(1024, dimension)

    def add_points(self, owners: NDArray[np.int32], points: NDArray) -> None:
        """Add ``points`` (m, k) and the owner of each."""
        scale = (1 << _BITS) / self._width
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, start + _BLOCK)
            self._make_room(len(owners[rows]))
            _insert_points(self._table, owners[rows], points[rows], scale, self._levels)
        self._keep_within(self._room + self._room // 2)

    def add(self, cells: Cells) -> None:
        """Add other cells of the same grid."""
        self._most = min(self._most, cells.most)
        self.coarsen(cells.levels)
        cells = cells.coarsened(self._levels)
        self._make_room(len(cells.counts))
        _insert_cells(self._table, cells.owners, cells.coordinates, cells.counts, cells.sums)
        self._keep_within(self._room + self._room // 2)

    def coarsen(self, levels: NDArray[np.int64]) -> None:
        """Coarsen grids to ``levels`` where these are coarser."""
        coarser = np.maximum(self._levels, levels)
        if (coarser > self._levels).any():
            cells = self._cells().coarsened(coarser)
            self._levels = coarser
            self._table = _Table.empty(max(1024, len(cells.counts)), cells.coordinates.shape[1])
            _insert_cells(self._table, cells.owners, cells.coordinates, cells.counts, cells.sums)

    def cells(self) -> Cells:
        """Return all, in canonical order."""
        self._keep_within(0)
        return self._cells().sorted()

    def _cells(self) -> Cells:
        table, n = self._table, int(self._table.filled[0])
        parts = (table.owners[:n], table.coordinates[:n], table.counts[:n], table.sums[:n])
        return Cells(self._width, self._most, self._levels, *parts)

    def _make_room(self, rows: int) -> None:
        needed = int(self._table.filled[0]) + rows
        if needed > len(self._table.counts):
            self._table = self._table.larger(needed)

    def _keep_within(self, cells: int) -> None:
        """Bring ``most`` and levels to what the points so far ask for, if there are more than ``cells``."""
        if self._table.filled[0] <= cells:
            return
        counts = self._count()
        finest = np.where(
            self._levels == 0, counts, self._most
        )  # of coarsened ones there were more than most
        while self._most > 1 and np.minimum(finest, self._most).sum() > self._room:
            self._most //= 2
        while (full := counts > self._most).any():
            self.coarsen(self._levels + full)
            counts = self._count()

    def _count(self) -> NDArray[np.int64]:
        return np.bincount(self._table.owners[: self._table.filled[0]], minlength=len(self._levels))


class _Table(NamedTuple):
    """Cells in the order in which they were met, and a hash table with open addressing that finds them.

    Attributes
    ----------
    slots : row of the cell that a slot holds, or -1; a power of two of them, twice the rows or more
    hashes : of the cells
    owners, coordinates, counts, sums : as in ``Cells``; rows from ``filled`` on are room
    filled : (1,)
    """

    slots: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    owners: NDArray[np.int32]
    coordinates: NDArray[np.int32]
    counts: NDArray[np.int64]
    sums: NDArray[np.int64]
    filled: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int, dimension: int) -> "_Table":
        return cls(
            np.full(1 << (2 * rows - 1).bit_length(), -1, dtype=np.int64),
            np.empty(rows, dtype=np.uint64),
            np.empty(rows, dtype=np.int32),
            np.empty((rows, dimension), dtype=np.int32),
            np.empty(rows, dtype=np.int64),
            np.empty((rows, dimension), dtype=np.int64),
            np.zeros(1, dtype=np.int64),
        )

    def larger(self, rows: int) -> "_Table":
        """Return the same with room for ``rows``, or twice as many as now."""
        n = int(self.filled[0])
        new = _Table.empty(max(rows, 2 * len(self.counts)), self.coordinates.shape[1])
        for name in ("hashes", "owners", "coordinates", "counts", "sums"):
            getattr(new, name)[:n] = getattr(self, name)[:n]
        new.filled[0] = n
        _place(new.slots, new.hashes, n)
        return new


@njit(cache=True)
def _mix(owner: int, coordinates: NDArray[np.int32]) -> np.uint64:
    """64-bit hash of a cell (the finaliser of MurmurHash3 over its words)."""
    value = np.uint64(owner) + np.uint64(0x9E3779B97F4A7C15)
    for coordinate in coordinates:
        value ^= np.uint64(np.int64(coordinate))
        value ^= value >> np.uint64(33)
        value *= np.uint64(0xFF51AFD7ED558CCD)
        value ^= value >> np.uint64(33)
        value *= np.uint64(0xC4CEB9FE1A85EC53)
        value ^= value >> np.uint64(33)
    return value


@njit(cache=True)
def hash_cells(owners: NDArray[np.int32], coordinates: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Hashes of 64 bits of cells: owners (m,) and coordinates (m, k)."""
    out = np.empty(len(owners), dtype=np.uint64)
    for i in range(len(owners)):
        out[i] = _mix(owners[i], coordinates[i])
    return out


@njit(cache=True)
def _find(table: _Table, owner: int, coordinates: NDArray[np.int32]) -> int:
    """Row of a cell, which is made if it is not there."""
    mask = len(table.slots) - 1
    hashed = _mix(owner, coordinates)
    slot = np.int64(hashed) & mask
    while True:
        row = table.slots[slot]
        if row < 0:
            row = table.filled[0]
            table.filled[0] += 1
            table.slots[slot] = row
            table.hashes[row] = hashed
            table.owners[row] = owner
            table.counts[row] = 0
            for j in range(len(coordinates)):
                table.coordinates[row, j] = coordinates[j]
                table.sums[row, j] = 0
            return row
        same = table.hashes[row] == hashed and table.owners[row] == owner
        for j in range(len(coordinates)):
            if not same:
                break
            same = table.coordinates[row, j] == coordinates[j]
        if same:
            return row
        slot = (slot + 1) & mask


@njit(cache=True)
def _place(slots: NDArray[np.int64], hashes: NDArray[np.uint64], rows: int) -> None:
    """Fill empty slots with rows, all different."""
    mask = len(slots) - 1
    for row in range(rows):
        slot = np.int64(hashes[row]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = row


@njit(cache=True)
def _insert_points(
    table: _Table, owners: NDArray[np.int32], points: NDArray, scale: float, levels: NDArray[np.int64]
) -> None:
    k = points.shape[1]
    position = np.empty(k, dtype=np.int64)
    coordinates = np.empty(k, dtype=np.int32)
    for i in range(len(points)):
        shift = _BITS + levels[owners[i]]
        for j in range(k):
            fixed = np.rint(np.float64(points[i, j]) * scale)
            position[j] = np.int64(min(max(fixed, -_FARTHEST), _FARTHEST)) + _ORIGIN
            coordinates[j] = position[j] >> shift
        row = _find(table, owners[i], coordinates)
        table.counts[row] += 1
        for j in range(k):
            table.sums[row, j] += position[j] - (np.int64(coordinates[j]) << shift)


@njit(cache=True)
def _insert_cells(
    table: _Table,
    owners: NDArray[np.int32],
    coordinates: NDArray[np.int32],
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
) -> None:
    for i in range(len(counts)):
        row = _find(table, owners[i], coordinates[i])
        table.counts[row] += counts[i]
        for j in range(sums.shape[1]):
            table.sums[row, j] += sums[i, j]
