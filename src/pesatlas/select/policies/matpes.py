"""Policy ``matpes``: the smallest cell of every atomic cluster, as in 2DIRECT (arXiv 2503.04070)."""

from collections import defaultdict
from heapq import heapify, heappop, heappush
from typing import Literal

from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.pool import Known, Pick, Pool, round_robin

PER_CLUSTER = 8
"""Candidates for each atomic cluster."""


class Options(Section):
    """Options of the policy: none, the published recipe has none."""

    kind: Literal["matpes"] = Field(
        "matpes", description="the smallest cell of every atomic cluster, as MatPES"
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates are ordered by: the smallest, of most atomic clusters, nearest to the centre."""
    return [pool.n_atoms, -pool.variety, pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Pick, in every atomic cluster that is not ``known``, a structure with the fewest atoms.

    The published recipe does not say which, where several are equally small, as all frames of one trajectory
    are. Here: one that was picked already (``taken`` included), so that no label is spent twice on a cluster.
    Then the one that is a smallest cell for the most clusters not yet served, then the nearest to the centre
    of its structure cluster, then the first by ``snapshot_id``. The order is that of ``round_robin``.
    """
    members = defaultdict(list)
    for row, cluster in enumerate(pool.structure_clusters.tolist()):
        members[cluster].append(row)
    taken_in = defaultdict(list)
    for row in taken:
        taken_in[int(pool.structure_clusters[row])].append(row)
    done = set(known.atom_clusters.tolist())
    picks: dict[int, int] = {}
    for cluster in sorted(members):
        picks.update(_cover(pool, members[cluster], taken_in[cluster], done))
    return [
        Pick(row, _reason(pool, row, picks[row]), picks[row]) for row in round_robin(pool, list(picks), taken)
    ]


def _cover(pool: Pool, members: list[int], taken: list[int], done: set[int]) -> dict[int, int]:
    """Return picks among ``members`` of one structure cluster, and the number of atomic clusters of each."""
    smallest: dict[int, int] = {}
    atoms_of = {row: set(pool.atom_clusters_of(row)) for row in members}
    for row, found in atoms_of.items():
        for cluster in found:
            smallest[cluster] = min(smallest.get(cluster, pool.n_atoms[row]), pool.n_atoms[row])
    serves = {row: {c for c in found if smallest[c] == pool.n_atoms[row]} for row, found in atoms_of.items()}
    open_clusters = set(smallest).difference(done, *(serves[row] for row in taken))
    # lazy greedy: a count only ever falls, so the top of the heap is right as soon as its count is still true
    heap = [(-len(serves[row] & open_clusters), float(pool.centre_distances[row]), row) for row in members]
    heapify(heap)
    picked: dict[int, int] = {}
    while open_clusters:
        count, far, row = heappop(heap)
        now = serves[row] & open_clusters
        if len(now) == -count:
            picked[row] = len(now)
            open_clusters -= now
        else:
            heappush(heap, (-len(now), far, row))
    return picked


def _reason(pool: Pool, row: int, count: int) -> str:
    atoms, clusters = int(pool.n_atoms[row]), "atomic cluster" if count == 1 else "atomic clusters"
    return (
        f"smallest cell ({atoms} atom{'s' if atoms > 1 else ''}) in {count} {clusters} of structure cluster "
        f"{pool.structure_clusters[row]}"
    )
