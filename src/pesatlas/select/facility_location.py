"""Greedy facility location: points picked so that all points of a pool have a pick near, in numba.

What a pick is worth is the decrease of the sum over the pool of (weight x distance to the nearest pick). That
sum is supermodular: what a point is worth only ever falls, so that greedy picks may be found lazily, and are
within 1 - 1/e of the best (Nemhauser, Wolsey & Fisher, Math. Program. 14, 265 (1978)). The pool is kept in a
k-d tree whose nodes know how far from a pick any of their points is, so that parts that a point is too far
from are left out.
"""

from heapq import heapify, heappop, heappush
from math import frexp, ldexp
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LEAF = 16
"""Points in a leaf of the tree, at most."""
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Tree(NamedTuple):
    """Points of a pool in the order of a k-d tree; the children of node i are 2 i + 1 and 2 i + 2.

    Attributes
    ----------
    points : (m, k)
    weights : (m,)
    apart : (m,) squared distance to the nearest pick; at first to none
    edges : (nodes, 2) points of each node
    low, high : (nodes, k) box around these points
    farthest : (nodes,) largest ``apart`` among them
    squared : whether the sum is of squared distances
    """

    points: _Floats
    weights: _Floats
    apart: _Floats
    edges: _Ints
    low: _Floats
    high: _Floats
    farthest: _Floats
    squared: bool


def tree_of(points: _Floats, weights: _Floats, *, squared: bool = False) -> Tree:
    """Build the tree of ``points`` (m, k).

    Without a pick every point is as far from one as the farthest is from the weighted mean.
    """
    leaves = 1 << max(0, (-(-len(points) // _LEAF) - 1).bit_length())
    nodes, k = 2 * leaves - 1, points.shape[1]
    order, edges = np.arange(len(points)), np.zeros((nodes, 2), dtype=np.int64)
    low, high = np.full((nodes, k), np.inf), np.full((nodes, k), -np.inf)
    edges[0, 1] = len(points)
    for node in range(nodes):
        start, end = edges[node]
        if start == end:
            continue
        inside = points[order[start:end]]
        low[node], high[node] = inside.min(axis=0), inside.max(axis=0)
        if 2 * node + 2 < nodes:
            middle = (start + end) // 2
            axis = int((high[node] - low[node]).argmax())
            order[start:end] = order[start:end][np.argsort(inside[:, axis], kind="stable")]
            edges[2 * node + 1], edges[2 * node + 2] = (start, middle), (middle, end)
    mean = (weights[:, None] * points).sum(axis=0) / max(weights.sum(), 1.0)
    # a pool of equal points has one pick, too
    radius = float(((points - mean) ** 2).sum(axis=1).max(initial=0.0)) or 1.0
    return Tree(
        np.ascontiguousarray(points[order]),
        weights[order],
        np.full(len(points), radius),
        edges,
        low,
        high,
        np.where(edges[:, 1] > edges[:, 0], radius, 0.0),
        squared,
    )


@njit(cache=True)
def greedy_facility(
    tree: Tree,
    candidates: _Floats,
    price: _Floats,
    distances: _Floats,
    used: NDArray[np.bool_],
    most: int,
) -> tuple[_Ints, _Floats]:
    """At most ``most`` candidates in the order of picking, and what each was worth.

    Each was then worth most for its ``price``; of equals, to 11 decimal digits, the one with the smallest of
    ``distances``, then the first. Those that are worth nothing are left out, as are those ``used``, which
    count as picks. ``tree`` takes notice. Time grows as points x candidates if nothing is picked already,
    then as what is near.

    Parameters
    ----------
    candidates : (c, k)
    price, distances, used : (c,)
    """
    for row in range(len(used)):
        if used[row]:
            serve(tree, candidates[row])
    heap = [(0.0, 0.0, -1)]
    heap.pop()
    for row in range(len(used)):
        if not used[row]:
            worth = _worth(tree, candidates[row])
            if worth > 0:
                heap.append((_rounded(-worth / price[row]), distances[row], row))
    heapify(heap)
    rows, gains = [0 for _ in range(0)], [0.0 for _ in range(0)]
    while len(heap) > 0 and len(rows) < most:
        value, far, row = heappop(heap)
        worth = _worth(tree, candidates[row])
        if worth <= 0:
            continue
        now = _rounded(-worth / price[row])
        if now > value:
            heappush(heap, (now, far, row))
            continue
        rows.append(row)
        gains.append(worth)
        serve(tree, candidates[row])
    return np.array(rows, dtype=np.int64), np.array(gains, dtype=np.float64)


@njit(cache=True)
def _rounded(value: float) -> float:
    """Return a number to 36 binary digits.

    Of two points near each other and far from all picks either is worth the same, which rounding would hide.
    """
    digits, exponent = frexp(value)
    return float(ldexp(np.rint(digits * 2.0**36), exponent - 36))


@njit(cache=True, fastmath=True)
def _square(one: _Floats, other: _Floats) -> float:
    square = 0.0
    for k in range(one.shape[0]):
        apart = one[k] - other[k]
        square += apart * apart
    return square


@njit(cache=True)
def _beyond(tree: Tree, node: int, point: _Floats) -> bool:
    """Whether a point is nearer than their nearest pick to none of a node."""
    square, limit = 0.0, tree.farthest[node]
    for k in range(point.shape[0]):
        apart = max(tree.low[node, k] - point[k], point[k] - tree.high[node, k], 0.0)
        square += apart * apart
        if square >= limit:
            return True
    return limit <= 0


@njit(cache=True)
def _worth(tree: Tree, point: _Floats) -> float:
    """Decrease of the sum if a point were picked."""
    stack = np.empty(64, dtype=np.int64)
    stack[0], filled, total = 0, 1, 0.0
    while filled > 0:
        filled -= 1
        node = stack[filled]
        if _beyond(tree, node, point):
            continue
        if 2 * node + 2 < len(tree.edges):
            stack[filled], stack[filled + 1] = 2 * node + 1, 2 * node + 2
            filled += 2
            continue
        for i in range(tree.edges[node, 0], tree.edges[node, 1]):
            square = _square(tree.points[i], point)
            if square < tree.apart[i]:
                less = tree.apart[i] - square if tree.squared else np.sqrt(tree.apart[i]) - np.sqrt(square)
                total += tree.weights[i] * less
    return total


@njit(cache=True)
def serve(tree: Tree, point: _Floats) -> None:
    """Note a pick: ``apart`` falls where it is the nearest."""
    visited = [0]
    place = 0
    while place < len(visited):
        node = visited[place]
        place += 1
        if _beyond(tree, node, point):
            continue
        if 2 * node + 2 < len(tree.edges):
            visited.append(2 * node + 1)
            visited.append(2 * node + 2)
            continue
        farthest = 0.0
        for i in range(tree.edges[node, 0], tree.edges[node, 1]):
            square = _square(tree.points[i], point)
            tree.apart[i] = min(tree.apart[i], square)
            farthest = max(farthest, tree.apart[i])
        tree.farthest[node] = farthest
    # from below: nodes come after those above them
    for place in range(len(visited) - 1, -1, -1):
        node = visited[place]
        if 2 * node + 2 < len(tree.edges):
            tree.farthest[node] = max(tree.farthest[2 * node + 1], tree.farthest[2 * node + 2])
