"""Policy ``cover``: as many new atomic environments as DFT can pay for, from coarse to fine."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = 8
"""Candidates for each atomic cluster."""


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["cover"] = Field(
        "cover",
        description="most new atomic environments per DFT cost (cube of the number of atoms), from coarse "
        "to fine",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates are ordered by: most atomic clusters for their cost, nearest to the centre."""
    return [-pool.variety / pool.cost, pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Cover the centres of all atomic clusters by resolutions finer by √2 each.

    At each resolution the frame comes first that has the most bins not yet covered, for the cube of its
    number of atoms (what DFT costs); Chvátal's greedy rule, within ln(bins) of the cheapest cover. What
    earlier picks, ``taken`` and ``known`` cover is covered. So wherever the picks are cut, by count or by
    budget, they cover everything at the finest resolution that they can pay for, and a larger budget keeps
    the picks of a smaller one.
    """
    from pesatlas.select.greedy import greedy_cover  # noqa: PLC0415 - imports numba, which a configuration need not
    from pesatlas.select.resolutions import resolutions  # noqa: PLC0415 - as above

    used = np.zeros(len(pool.ids), dtype=np.bool_)
    used[taken] = True
    picks: list[Pick] = []
    for resolution, bin_of in resolutions(pool):
        covered = np.zeros(int(bin_of.max(initial=-1)) + 1, dtype=np.bool_)
        covered[bin_of[known.atom_clusters]] = True
        bins = bin_of[pool.atom_clusters]
        covered[bins[np.repeat(used, pool.variety)]] = True
        order, counts = greedy_cover(pool.edges, bins, covered, pool.cost, pool.centre_distances, used)
        for row, count in zip(order.tolist(), counts.tolist(), strict=True):
            what = "environment" if count == 1 else "environments"
            picks.append(Pick(row, f"{count} new atomic {what} at resolution {resolution:.2g}", count))
    return picks
