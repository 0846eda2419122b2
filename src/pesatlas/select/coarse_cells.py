"""Points in at most so many cells of nested grids, the same for any order and any parts."""

import numpy as np
from numpy.typing import NDArray

from pesatlas.select.grid import hash_cells

# The finest cell is 1/4096 wide. The origin lies at a third of the range, which is never a corner of cells of
# any level: points around it would stay in different cells however coarse the grid.
_FINEST = 4096
_FARTHEST = 1 << 28
_ORIGIN = (1 << 30) // 3
_BITS = 31


def cells_of(
    points: NDArray[np.float64], most: int, levels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return the cell (m,) of each point, numbered from 0, and the level of the grid.

    Each level joins the cells of the one before in pairs along one axis, the last axis first. The level is
    the finest that has at most ``most`` cells and is not finer than any of ``levels``, which the points have
    reached before. Since grids are nested and a part has no more cells than the whole, a pool of which one
    point was kept in each cell, part by part, reaches the same level as at once.

    Parameters
    ----------
    points : (m, k)
    levels : (m,)
    """
    fixed = np.rint(np.clip(points * _FINEST, -_FARTHEST, _FARTHEST)).astype(np.int64) + _ORIGIN
    low, high = int(levels.max(initial=0)), _BITS * points.shape[1]
    while low < high:
        middle = (low + high) // 2
        if len(np.unique(_hashes(fixed, middle))) <= most:
            high = middle
        else:
            low = middle + 1
    return np.unique(_hashes(fixed, low), return_inverse=True)[1], low


def _hashes(fixed: NDArray[np.int64], level: int) -> NDArray[np.uint64]:
    """Hash of the cell of each point, of 64 bits: two cells of a million have the same in 1 of 10^7 pools."""
    k = fixed.shape[1]
    steps = level // k + (np.arange(k) >= k - level % k)
    return hash_cells(np.zeros(len(fixed), dtype=np.int32), (fixed >> steps).astype(np.int32))
