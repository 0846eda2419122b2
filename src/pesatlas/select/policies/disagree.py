"""Policy ``disagree``: the largest expected committee error per DFT cost, where labels are few."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.errors import UserError
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = 8
"""Candidates for each atomic cluster."""
_FINER = 2.0


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["disagree"] = Field(
        "disagree",
        description="largest expected error of the committee of `round` per DFT cost (cube of the number "
        "of atoms), where labels are few",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates are ordered by.

    As for ``cover``, for the committee is asked about candidates alone.
    """
    return [-pool.variety / pool.cost, pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Pick, again and again, the frame that is worth most for its cost.

    A frame is worth, divided by the cube of its number of atoms (what DFT costs),

        sum over resolutions, sum over bins m at that resolution in which it has an atom, of error(m) / (1 +
        labels(m)).

    The resolutions are those of the policy ``cover``, each twice as fine as the one before, from one bin for
    everything to the atomic clusters. ``error`` is the calibrated error that is expected of a force there:
    root mean square of the clusters in the bin, weighted by their numbers of atoms. ``labels`` are picks so
    far and ``taken`` with an atom in the bin, and one more if ``known`` has any: what more of them brings
    falls as their number grows. So coverage and disagreement are one number, a few bad environments do not
    take all picks, and wherever the list is cut, a larger budget keeps the picks of a smaller one.

    Raises
    ------
    UserError
        If there is no committee.
    """
    from pesatlas.select.greedy import Shares, greedy_shares  # noqa: PLC0415 - imports numba, which a configuration need not
    from pesatlas.select.resolutions import resolutions  # noqa: PLC0415 - as above

    errors = pool.expected_errors
    if errors is None:
        raise UserError(
            "select.policy: disagree needs a committee, which only rounds after the first have (section "
            "`round`). Use cover or matpes."
        )
    bins, worth, first = [], [], 0
    for _, bin_of in resolutions(pool, _FINER):
        count = int(bin_of.max(initial=-1)) + 1
        weights = np.bincount(bin_of, pool.atom_centres.weights, count)
        worth.append(np.sqrt(np.bincount(bin_of, pool.atom_centres.weights * errors**2, count) / weights))
        bins.append(bin_of + first)
        first += count
    at = np.array(bins, dtype=np.int64)
    labels = np.zeros(first)
    labels[np.unique(at[:, known.atom_clusters])] = 1.0
    used = np.zeros(len(pool.ids), dtype=np.bool_)
    used[taken] = True
    covered = np.zeros(len(errors), dtype=bool)
    covered[known.atom_clusters] = True
    for row in taken:
        covered[pool.atom_clusters_of(row)] = True
    shares = Shares(
        pool.edges, pool.atom_clusters, at, np.concatenate(worth), labels, np.full(first, -1, dtype=np.int64)
    )
    most = max(0, pool.target - len(taken))
    rows = greedy_shares(shares, pool.cost, pool.centre_distances, used, most)
    picks = []
    for row in rows.tolist():
        mine = np.array(pool.atom_clusters_of(row))
        new = int((~covered[mine]).sum())
        covered[mine] = True
        error = float(np.sqrt((errors[mine] ** 2).mean()))
        picks.append(
            Pick(row, f"expected force error {error:.2g} eV/Å, {new} of {len(mine)} atomic clusters new", new)
        )
    return picks
