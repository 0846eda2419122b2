"""Policy ``cover``: as many new atomic environments as DFT can pay, from coarse to fine."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.cftree import CFs, build
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = 8
"""Candidates for each atomic cluster."""
_FINER = 2**0.5
_COARSEST = 40


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["cover"] = Field(
        "cover",
        description="most new atomic environments for the cube of the number of atoms, coarse to fine",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates are ordered by: most atomic clusters for their cost, nearest to the centre."""
    return [-pool.variety / pool.cost, pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Cover the centres of all atomic clusters by nets that become finer by √2, the last of which is the clusters themselves.

    In each net the frame comes first that has the most meshes not yet covered, for the cube of its number of atoms (what DFT
    costs); Chvátal's greedy rule, within ln(meshes) of the cheapest cover. What earlier picks, ``taken`` and ``known`` cover is
    covered. So wherever the picks are cut, by count or by budget, they cover everything at the finest resolution that they
    can pay for, and a larger budget keeps the picks of a smaller one.
    """
    used = np.zeros(len(pool.ids), dtype=np.bool_)
    used[taken] = True
    picks: list[Pick] = []
    for resolution, mesh in _nets(pool):
        covered = np.zeros(int(mesh.max(initial=-1)) + 1, dtype=np.bool_)
        covered[mesh[known.atom_clusters]] = True
        meshes = mesh[pool.atom_clusters]
        covered[meshes[np.repeat(used, pool.variety)]] = True
        order, counts = _greedy(pool.edges, meshes, covered, pool.cost, pool.centre_distances, used)
        for row, count in zip(order.tolist(), counts.tolist(), strict=True):
            what = "environment" if count == 1 else "environments"
            picks.append(Pick(row, f"{count} new atomic {what} at resolution {resolution:.2g}", count))
    return picks


def _nets(pool: Pool) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """Yield nets from coarse to fine: the resolution, and the mesh of each atomic cluster."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    centres = pool.atom_centres
    points = CFs(centres.weights, centres.means, np.zeros(len(centres.weights)))
    coarser = []
    for step in range(1, _COARSEST):
        resolution = centres.threshold * _FINER**step
        leaves = build(points, resolution)
        coarser.append((resolution, KDTree(leaves.means).query(centres.means)[1]))
        if len(leaves.weights) == 1:
            break
    yield from reversed(coarser)
    yield centres.threshold, np.arange(len(centres.weights))


@njit(cache=True)
def _greedy(
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
