"""What a selection policy sees: every frame that may be picked, in canonical order."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass
class Pool:
    """All frames, in the order of ``snapshot_id``.

    Attributes
    ----------
    ids : (N,) snapshot_id
    n_atoms : (N,)
    structure_clusters : (N,) cluster of each frame; -1 if it has none
    structure_pcs : (N, k) weighted principal components
    edges : (N + 1,) atoms of frame i are edges[i]:edges[i + 1]
    atom_clusters : (atoms,) cluster of each atom, numbered through the campaign
    eligible : (N,) bool, False for frames that must not be picked
    seed : int, of the campaign, for policies that draw
    """

    ids: NDArray[np.str_]
    n_atoms: NDArray[np.int64]
    structure_clusters: NDArray[np.int32]
    structure_pcs: NDArray[np.float64]
    edges: NDArray[np.int64]
    atom_clusters: NDArray[np.int32]
    eligible: NDArray[np.bool_]
    seed: int

    def atom_clusters_of(self, row: int) -> set[int]:
        """Clusters of the atoms of one frame."""
        return set(self.atom_clusters[self.edges[row] : self.edges[row + 1]].tolist())


class Pick(NamedTuple):
    """One frame to label: its row in the pool, why, and the number of atomic clusters it was picked for."""

    row: int
    reason: str
    atom_clusters: int


def round_robin(pool: Pool, rows: list[int], taken: list[int]) -> list[int]:
    """Order ``rows`` so that a cut keeps one pick for each structure cluster before a second for any.

    Within a cluster the order of ``rows`` stands, after those of the cluster that are ``taken`` already; within a round the
    largest cluster comes first, at equal size the one with the lower number.
    """
    clusters = pool.structure_clusters
    sizes = np.bincount(clusters[clusters >= 0])
    turns = (
        np.bincount(clusters[taken], minlength=len(sizes)) if taken else np.zeros(len(sizes), dtype=np.int64)
    )
    keys = []
    for row in rows:
        cluster = clusters[row]
        keys.append((turns[cluster], -sizes[cluster], cluster, row))
        turns[cluster] += 1
    return [row for *_, row in sorted(keys)]
