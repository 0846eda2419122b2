"""The pool of candidates for a policy, in canonical order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pesatlas.errors import UserError

if TYPE_CHECKING:
    from pesatlas.select.centres import (
        Centres,  # imports numba, and every reading of a configuration imports the policies
    )


# Of z-scored features; a component below it is rounding.
_CONSTANT = 1e-6


@dataclass
class Pool:
    """Frames that may be picked, in the order of ``snapshot_id``.

    There are millions of them: strings stay in Arrow's memory, as numpy's or Python's they would take several
    times as much.

    Attributes
    ----------
    ids, structure_ids, domains : (N,) strings
    equilibrium : (N,) bool, the crystal as given
    n_atoms : (N,)
    geometries : (N,) 16-byte hashes
    structure_clusters : (N,) cluster of each frame; those with a lower number are more populous
    structure_pcs : (N, k) float32, weighted principal components
    centre_distances : (N,) from the centre of the cluster
    edges : (N + 1,) atomic clusters of frame i, each once, are atom_clusters[edges[i]:edges[i + 1]]
    atom_clusters : numbered through the campaign
    atom_centres : centres of all atomic clusters, also of those that no candidate is in
    target : int, picks that are wanted at most
    seed : int, of the campaign, for policies that draw
    frames : (N,) frames that each stands for, those in its cell; 1 for policies without cells
    grid_levels : (N,) level of the grid of that cell
    structure_variances : of all principal components of structures, largest first; None if the tables come
        from a version that did not write them
    expected_errors : of the force in each atomic cluster, eV/Å, by a committee; None without one
    """

    ids: pa.ChunkedArray
    structure_ids: pa.ChunkedArray
    domains: pa.ChunkedArray
    equilibrium: NDArray[np.bool_]
    n_atoms: NDArray[np.int64]
    geometries: NDArray[np.void]
    structure_clusters: NDArray[np.int32]
    structure_pcs: NDArray[np.float32]
    centre_distances: NDArray[np.float64]
    edges: NDArray[np.int64]
    atom_clusters: NDArray[np.int32]
    atom_centres: "Centres"
    target: int
    seed: int
    frames: NDArray[np.int64]
    grid_levels: NDArray[np.int64]
    structure_variances: NDArray[np.float64] | None = None
    expected_errors: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        table: pa.Table,
        centres: "Centres",
        target: int,
        seed: int,
        variances: NDArray[np.float64] | None = None,
    ) -> Self:
        """Pool of the rows of table ``candidates``; ``variances`` of the principal components."""
        atoms, pcs = (table.column(name).combine_chunks() for name in ("atom_clusters", "structure_pcs"))
        return cls(
            ids=table.column("snapshot_id"),
            structure_ids=table.column("structure_id"),
            domains=table.column("domain"),
            equilibrium=table.column("equilibrium").to_numpy().astype(bool),
            n_atoms=table.column("n_atoms").to_numpy().astype(np.int64),
            geometries=geometries_of(table),
            structure_clusters=table.column("structure_cluster").to_numpy(),
            structure_pcs=pcs.flatten().to_numpy().reshape(table.num_rows, -1 if table.num_rows else 1),
            centre_distances=table.column("centre_distance").to_numpy(),
            edges=np.concatenate([[0], np.cumsum(atoms.value_lengths().to_numpy(), dtype=np.int64)]),
            atom_clusters=atoms.flatten().to_numpy(),
            atom_centres=centres,
            target=target,
            seed=seed,
            frames=table.column("frames").fill_null(1).to_numpy(),
            grid_levels=table.column("grid_level").fill_null(0).to_numpy().astype(np.int64),
            structure_variances=variances,
        )

    def atom_clusters_of(self, row: int) -> list[int]:
        """Clusters of the atoms of one frame."""
        found: list[int] = self.atom_clusters[self.edges[row] : self.edges[row + 1]].tolist()
        return found

    def spread_evenly(self, structure_pcs: NDArray) -> NDArray[np.float64]:
        """Principal components (m, k) of structures, each divided by the fourth root of its variance.

        ``structure_pcs`` are multiplied by their share of the variance; that is undone. The spread of a
        component is then the fourth root of its variance, where that of the score is the square root.

        Raises
        ------
        UserError
            If the variances are not known.
        """
        variances = self.structure_variances
        if variances is None:
            raise UserError(
                "The tables of clusters were written by an earlier version of pesatlas, without what this "
                "policy needs. Delete the folder select of the results and run again."
            )
        mine = variances[: structure_pcs.shape[1]]
        varies = mine > _CONSTANT
        scale = np.where(varies, variances.sum() / np.where(varies, mine, 1.0) ** 1.25, 0.0)
        return np.asarray(structure_pcs * scale, dtype=np.float64)

    @property
    def variety(self) -> NDArray[np.int64]:
        """Number of atomic clusters of each frame (N,)."""
        return np.diff(self.edges)

    @property
    def cost(self) -> NDArray[np.float64]:
        """DFT cost of each frame, the cube of its number of atoms (N,)."""
        return self.n_atoms.astype(np.float64) ** 3


def geometries_of(table: pa.Table) -> NDArray[np.void]:
    """Hashes (N,) of 16 bytes in column ``geometry``."""
    parts = [
        np.frombuffer(part.buffers()[1], "V16", len(part), 16 * part.offset)
        for part in table.column("geometry").chunks
        if len(part)
    ]
    return np.concatenate([np.empty(0, "V16"), *parts])


class Known(NamedTuple):
    """Coverage by datasets that are labelled already.

    Attributes
    ----------
    atom_clusters : (m,) int32, each once
    structure_pcs : (frames, k)
    """

    atom_clusters: NDArray[np.int32]
    structure_pcs: NDArray[np.float64]


class Pick(NamedTuple):
    """One frame to label: its row in the pool, why, and the number of atomic clusters it was picked for."""

    row: int
    reason: str
    atom_clusters: int


def round_robin(pool: Pool, rows: list[int], taken: list[int]) -> list[int]:
    """Order ``rows`` so that a cut keeps one pick for each structure cluster before a second for any.

    Within a cluster the order of ``rows`` stands, after those of the cluster that are ``taken`` already;
    within a round the most populous cluster comes first, which has the lowest number.
    """
    clusters = pool.structure_clusters
    turns = np.zeros(int(clusters.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(turns, clusters[taken], 1)
    keys = []
    for row in rows:
        cluster = clusters[row]
        keys.append((turns[cluster], cluster, row))
        turns[cluster] += 1
    return [row for *_, row in sorted(keys)]
