"""Greedy choice of frames by the bins of their atoms, in numba."""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def greedy_cover(
    edges: NDArray[np.int64],
    bins: NDArray[np.int64],
    covered: NDArray[np.bool_],
    cost: NDArray[np.float64],
    distances: NDArray[np.float64],
    used: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of picking, and the bins each covered; ``covered`` and ``used`` take notice.

    Lazy: what a frame would cover only ever falls, so the top of the heap is right as soon as its count is
    still true.
    """
    seen = np.full(len(covered), -1, dtype=np.int64)
    heap = [(0.0, 0.0, -1)]
    heap.pop()
    for row in range(len(used)):
        if not used[row]:
            count = _count(edges, bins, covered, seen, row, row)
            if count > 0:
                heap.append((-count / cost[row], distances[row], row))
    heapify(heap)
    stamp = len(used)
    rows, counts = [0 for _ in range(0)], [0 for _ in range(0)]
    while len(heap) > 0:
        value, far, row = heappop(heap)
        stamp += 1
        count = _count(edges, bins, covered, seen, row, stamp)
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
            covered[bins[i]] = True
    return np.array(rows, dtype=np.int64), np.array(counts, dtype=np.int64)


@njit(cache=True)
def _count(
    edges: NDArray[np.int64],
    bins: NDArray[np.int64],
    covered: NDArray[np.bool_],
    seen: NDArray[np.int64],
    row: int,
    stamp: int,
) -> int:
    """Meshes of a frame that are not covered, each once."""
    count = 0
    for i in range(edges[row], edges[row + 1]):
        bin_ = bins[i]
        if not covered[bin_] and seen[bin_] != stamp:
            seen[bin_] = stamp
            count += 1
    return count


class Shares(NamedTuple):
    """What frames are worth by the bins that their atoms lie in: ``worth / (1 + labels)`` for each bin.

    Attributes
    ----------
    edges, clusters : atomic clusters of frame i are clusters[edges[i]:edges[i + 1]]
    bins : (resolutions, clusters) int64, bin of each atomic cluster at each resolution, numbered through all
        resolutions
    worth, labels : (bins,); labels take notice of what is picked
    seen : (bins,) int64, for the functions here alone; -1 at first
    """

    edges: NDArray[np.int64]
    clusters: NDArray[np.int32]
    bins: NDArray[np.int64]
    worth: NDArray[np.float64]
    labels: NDArray[np.float64]
    seen: NDArray[np.int64]


@njit(cache=True)
def greedy_shares(
    shares: Shares,
    cost: NDArray[np.float64],
    distances: NDArray[np.float64],
    used: NDArray[np.bool_],
    most: int,
) -> NDArray[np.int64]:
    """At most ``most`` rows that are not ``used``, in the order of picking.

    Each was then worth most for its cost.

    Frames that are ``used`` count as labels. Lazy, as ``greedy_cover``: what a frame is worth only ever
    falls.
    """
    stamp = 0
    for row in range(len(used)):
        if used[row]:
            _visit(shares, row, stamp, 1.0)
            stamp += 1
    heap = [(0.0, 0.0, -1)]
    heap.pop()
    for row in range(len(used)):
        if not used[row]:
            heap.append((-_visit(shares, row, stamp, 0.0) / cost[row], distances[row], row))
            stamp += 1
    heapify(heap)
    rows = [0 for _ in range(0)]
    while len(heap) > 0 and len(rows) < most:
        value, far, row = heappop(heap)
        now = -_visit(shares, row, stamp, 0.0) / cost[row]
        stamp += 1
        if now > value:
            heappush(heap, (now, far, row))
            continue
        rows.append(row)
        _visit(shares, row, stamp, 1.0)
        stamp += 1
    return np.array(rows, dtype=np.int64)


@njit(cache=True)
def _visit(shares: Shares, row: int, stamp: int, labels: float) -> float:
    """Return what a frame is worth, each bin once, and add ``labels`` to its bins.

    ``stamp`` is a number not in ``seen``.
    """
    total = 0.0
    for level in range(len(shares.bins)):
        for i in range(shares.edges[row], shares.edges[row + 1]):
            bin_ = shares.bins[level, shares.clusters[i]]
            if shares.seen[bin_] != stamp:
                shares.seen[bin_] = stamp
                total += shares.worth[bin_] / (1.0 + shares.labels[bin_])
                shares.labels[bin_] += labels
    return total
