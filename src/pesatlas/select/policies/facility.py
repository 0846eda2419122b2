"""Policy ``facility``: every frame of the pool near to a pick, by facility location on whole structures."""

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.pool import Known, Pick, Pool

log = logging.getLogger(__name__)

PER_CLUSTER = None
"""It does not look at clusters."""
CELLS = 1 << 16
"""Candidates at most: one for each cell of a grid over the structures, with the number of frames in it."""


class Options(Section):
    """Options of the policy."""

    kind: Literal["facility"] = Field(
        "facility",
        description="facility location: the least mean distance from a frame of the pool to the nearest "
        "pick, for the DFT cost",
    )
    cost_exponent: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the decrease of that distance is divided by this power of the cube of the number of "
        "atoms: 0 heeds no cost, 1 prefers the smallest cells",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:
    """Return what the frames of a cell are ordered by: the fewest atoms if cost counts, then typical ones."""
    return [pool.n_atoms, pool.centre_distances] if options.cost_exponent else [pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:
    """Pick, again and again, the frame that is worth most for its cost.

    A frame is worth the decrease of the sum over all frames of the pool of the distance to the nearest pick;
    ``taken`` and ``known`` count as picks. Distances are Euclidean in the principal components of structures,
    each divided by the fourth root of its variance: hardly weighted, halfway between the scores, whose
    spread is the root of the variance, and whitened ones. With components weighted as DIRECT weighs them, by
    their variance once more, the errors of potentials trained on the picks were larger. A larger target or
    budget keeps the picks of a smaller one.
    """
    from pesatlas.select.facility_location import greedy_facility, serve, tree_of  # noqa: PLC0415 - imports numba, which a configuration need not

    used = np.zeros(len(pool.ids), dtype=np.bool_)
    used[taken] = True
    # those that stand for no cell are there for another policy, or are crystals as given
    mine = np.flatnonzero(used | (pool.frames > 0))
    points = pool.spread_evenly(pool.structure_pcs[mine])
    tree = tree_of(points, pool.frames[mine].astype(np.float64))
    for point in pool.spread_evenly(known.structure_pcs):
        serve(tree, point)
    price = pool.cost[mine] ** options.cost_exponent
    most = max(0, pool.target - len(taken))
    if most > len(points) >= CELLS // 2:
        log.warning(
            "facility picks at most %d frames of this pool (one of each cell of its grid), select.target "
            "asks for %d: use `matpes` or `cover` for selections of this size",
            len(points),
            pool.target,
        )
    total = max(1, int(pool.frames.sum()))
    distances = pool.centre_distances[mine]
    rows, gains = greedy_facility(tree, points, price, distances, used[mine], most)
    first = "near to most frames of the pool"  # no distance was there before, from which it could fall
    nothing_before = not len(known.structure_pcs) and not taken
    return [
        Pick(
            row,
            first
            if nothing_before and rank == 0
            else f"mean distance from a frame to the nearest pick falls by {gain / total:.2g}",
            0,
        )
        for rank, (row, gain) in enumerate(zip(mine[rows].tolist(), gains.tolist(), strict=True))
    ]
