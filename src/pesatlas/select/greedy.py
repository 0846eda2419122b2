"""Greedy cover of meshes by frames, in numba."""

from heapq import heapify, heappop, heappush

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def greedy_cover(
    edges: NDArray[np.int64],
    meshes: NDArray[np.int64],
    covered: NDArray[np.bool_],
    cost: NDArray[np.float64],
    distances: NDArray[np.float64],
    used: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of picking, and the meshes each covered; ``covered`` and ``used`` take notice.

    Lazy: what a frame would cover only ever falls, so the top of the heap is right as soon as its count is still true.
    """
    seen = np.full(len(covered), -1, dtype=np.int64)
    heap = [(0.0, 0.0, -1)]
    heap.pop()
    for row in range(len(used)):
        if not used[row]:
            count = _count(edges, meshes, covered, seen, row, row)
            if count > 0:
                heap.append((-count / cost[row], distances[row], row))
    heapify(heap)
    stamp = len(used)
    rows, counts = [0 for _ in range(0)], [0 for _ in range(0)]
    while len(heap) > 0:
        value, far, row = heappop(heap)
        stamp += 1
        count = _count(edges, meshes, covered, seen, row, stamp)
        if count == 0:
            continue
        now = -count / cost[row]
        if now > value:
            heappush(heap, (now, far, row))
            continue
        rows.append(row)
        counts.append(count)
        used[row] = True
        for i in range(edges[row], edges[row + 1]):
            covered[meshes[i]] = True
    return np.array(rows, dtype=np.int64), np.array(counts, dtype=np.int64)


@njit(cache=True)
def _count(
    edges: NDArray[np.int64],
    meshes: NDArray[np.int64],
    covered: NDArray[np.bool_],
    seen: NDArray[np.int64],
    row: int,
    stamp: int,
) -> int:
    """Meshes of a frame that are not covered, each once."""
    count = 0
    for i in range(edges[row], edges[row + 1]):
        mesh = meshes[i]
        if not covered[mesh] and seen[mesh] != stamp:
            seen[mesh] = stamp
            count += 1
    return count
