"""Pick the frames to label, rank them, cut at the target, and account for every frame that is not picked."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pesatlas.config.campaign import Campaign
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.registry import find
from pesatlas.select.frames import Frames, index_frames, look_up
from pesatlas.select.pool import Pick, Pool, round_robin
from pesatlas.tables import SCHEMAS, TableWriter, read_table

log = logging.getLogger(__name__)

EQUILIBRIUM = "equilibrium"


def pick_snapshots(campaign: Campaign, snapshots: list[Path], clusters: Path, selection: Path) -> None:
    """Write the table ``selection``: the frames to label, most wanted first, each with the reason it was picked.

    Equilibrium crystals come first if the configuration says so: of the cells of one crystal in one domain the smallest, for
    its supercells are the same structure. Then come the picks of the policy, in its order. What is left over is counted in the
    manifest by the first cause that holds: ``not_finite`` (potential or features), ``too_close`` (two atoms), ``duplicate`` (the
    same geometry to 1e-8 Å as another frame, of which an equilibrium crystal or else the first ``snapshot_id`` stays),
    ``redundant`` (the policy did not need it), ``over_target``.

    Raises
    ------
    UserError
        If the clusters are not those of these snapshots.
    """
    options = campaign.select
    shards = sorted(snapshots)
    frames = index_frames(shards)
    pool, causes = _pool(campaign, frames, clusters)
    required = round_robin(pool, _equilibrium(pool, frames), []) if options.include_equilibrium else []
    if len(required) > options.target:
        log.warning(
            "select.target is %d, but there are %d equilibrium crystals: %d of them are not labelled",
            options.target,
            len(required),
            len(required) - options.target,
        )
    policy: Any = options.policy
    chosen: list[Pick] = find("pesatlas.select.policies", policy.kind).choose(pool, policy, required)
    picks = [Pick(row, "equilibrium crystal", 0) for row in required] + chosen
    rows = np.array([pick.row for pick in picks], dtype=np.int64)
    if len(np.unique(rows)) < len(rows) or not pool.eligible[rows].all():
        raise ValueError(f"policy {policy.kind} picked a frame twice, or one that must not be picked")
    counts = {
        "pool": len(frames.ids),
        "selected": min(len(picks), options.target),
        "over_target": max(0, len(picks) - options.target),
        **causes,
        "redundant": int(pool.eligible.sum()) - len(picks),
    }
    picks = picks[: options.target]
    names = [EQUILIBRIUM] * len(required) + [policy.kind] * len(chosen)
    per_job = campaign.label.structures_per_job
    fingerprint = digest(options.identity(), per_job)
    with TableWriter(selection, "selection", fingerprint) as writer:
        writer.counts.update(counts)
        writer.write(_table(shards, frames, pool, picks, names, per_job))
    log.info("%s", ", ".join(f"{name} {count}" for name, count in counts.items()))


def _pool(campaign: Campaign, frames: Frames, clusters: Path) -> tuple[Pool, dict[str, int]]:
    """Return what the policy may choose from, and how many frames may not be picked for which cause."""
    table = read_table(clusters, "clusters")
    if table.num_rows != len(frames.ids) or table.column("snapshot_id").to_pylist() != frames.ids.tolist():
        raise UserError(
            f"{clusters} ({table.num_rows} frames) is not of these snapshots ({len(frames.ids)}). Delete it and run again."
        )
    structure_clusters = table.column("structure_cluster").to_numpy()
    atoms = table.column("atom_clusters").combine_chunks()
    not_finite = ~frames.finite | (structure_clusters < 0)
    too_close = ~not_finite & (frames.min_distance_A < campaign.select.min_distance_A)
    usable = ~not_finite & ~too_close
    duplicate = _duplicates(frames, usable)
    pool = Pool(
        ids=frames.ids,
        n_atoms=frames.n_atoms,
        structure_clusters=structure_clusters,
        structure_pcs=table.column("structure_pcs")
        .combine_chunks()
        .flatten()
        .to_numpy()
        .reshape(len(frames.ids), -1)
        .astype(float),
        edges=np.concatenate([[0], np.cumsum(frames.n_atoms)]),
        atom_clusters=atoms.flatten().to_numpy(),
        eligible=usable & ~duplicate,
        seed=campaign.campaign.seed,
    )
    causes = {"not_finite": not_finite, "too_close": too_close, "duplicate": duplicate}
    return pool, {cause: int(mask.sum()) for cause, mask in causes.items()}


def _duplicates(frames: Frames, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which usable frames have the geometry of one that stays."""
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(~frames.equilibrium[rows], kind="stable")]
    _, first = np.unique(frames.geometry[rows], return_index=True)
    duplicate = usable.copy()
    duplicate[rows[first]] = False
    return duplicate


def _equilibrium(pool: Pool, frames: Frames) -> list[int]:
    """Return the smallest equilibrium cell of each crystal in each domain; of equal ones the first."""
    smallest: dict[tuple[str, str], int] = {}
    for row in np.flatnonzero(frames.equilibrium & pool.eligible).tolist():
        crystal = (str(frames.structure_ids[row]), str(frames.domains[row]))
        if crystal not in smallest or pool.n_atoms[row] < pool.n_atoms[smallest[crystal]]:
            smallest[crystal] = row
    return sorted(smallest.values())


def _table(
    shards: list[Path], frames: Frames, pool: Pool, picks: list[Pick], names: list[str], per_job: int
) -> pa.Table:
    """Rows of table ``selection``, by rank."""
    rows = np.array([pick.row for pick in picks], dtype=np.int64)
    rank = np.arange(len(rows))
    columns = {
        "policy": pa.array(names[: len(rows)], pa.string()),
        "reason": pa.array([pick.reason for pick in picks], pa.string()),
        "structure_cluster": pool.structure_clusters[rows],
        "atom_clusters": pa.array([pick.atom_clusters for pick in picks], pa.int32()),
        "novelty": novelty(pool.structure_pcs[rows]),
        "rank": rank,
        "batch": rank // per_job,
    }
    found = look_up(shards, frames, rows)
    schema = SCHEMAS["selection"]
    arrays = [pa.array(columns[name]) if name in columns else found.column(name) for name in schema.names]
    return pa.table(arrays, names=schema.names)


def novelty(vectors: NDArray[np.float64], block: int = 2048) -> NDArray[np.float64]:
    """Distance of each row to the nearest earlier row; of the first to the origin, which is the mean of the pool."""
    if not len(vectors):
        return np.empty(0)
    from scipy.spatial.distance import cdist  # noqa: PLC0415 - heavy
    from sklearn.metrics import pairwise_distances_argmin  # noqa: PLC0415 - heavy

    out = np.empty(len(vectors))
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        within = cdist(part, part)
        within[np.triu_indices(len(part))] = np.inf
        nearest = within.min(axis=1)
        if start:
            earlier = vectors[pairwise_distances_argmin(part, vectors[:start])]
            nearest = np.minimum(nearest, np.linalg.norm(part - earlier, axis=1))
        out[start : start + block] = nearest
    out[0] = np.linalg.norm(vectors[0])
    return out
