"""Pick the frames to label, rank them, cut at the target, and account for every frame not picked."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.candidates import (
    count_distinct,
    equilibrium_cells,
    read_variances,
    reduce_candidates,
    short_hashes,
)
from pesatlas.select.centres import Centres
from pesatlas.select.expected_errors import Committee
from pesatlas.select.frame_index import look_up
from pesatlas.select.pool import Known, Pick, Pool, geometries_of, round_robin
from pesatlas.select.quotas import in_turns, parts
from pesatlas.select.reference import Reference, read_known
from pesatlas.tables import SCHEMAS, TableWriter, read_entry, read_table

log = logging.getLogger(__name__)

EQUILIBRIUM = "equilibrium"
_WAITING = 200_000


def pick_snapshots(
    settings: Select,
    seed: int,
    snapshots: list[Path],
    candidates: list[Path],
    geometries: list[Path],
    *,
    atoms: Path,
    reference: Reference | None,
    selection: Path,
    structures_per_job: int,
    committee: Committee | None = None,
) -> None:
    """Write the table ``selection``.

    The frames to label, most wanted first, each with the reason it was picked.

    Equilibrium crystals come first if the configuration says so: of the cells of one crystal in one domain
    the smallest, for its supercells are the same structure. Then come the picks of the policy, in its order;
    with ``select.quotas`` domains take turns so that each has its share, equilibrium crystals counted. What
    is left over is counted in the manifest by the first cause that holds: ``not_finite`` (potential or
    features), ``too_close`` (two atoms), ``duplicate`` (the same geometry to 1e-8 Å as another frame, of
    which an equilibrium crystal or else the first ``snapshot_id`` stays), ``known`` (the same geometry as one
    of ``select.reference``), ``redundant`` (the policy did not need it), ``over_target`` (beyond the target
    or the budget).

    Raises
    ------
    UserError
        If there are no snapshots, or a frame is there more than once.
    """
    _check_there_are_some(candidates)
    centres, _ = Centres.read(atoms)
    variances = read_variances(candidates[0])
    table = _merge(settings, seed, candidates, centres, variances)
    merged = table.column("snapshot_id")
    pool = Pool.of(table, centres, settings.target, seed, variances)
    known, labelled = read_known(reference, pool.structure_pcs.shape[1])
    crystals = np.zeros(table.num_rows, dtype=bool)
    crystals[equilibrium_cells(pool)] = settings.include_equilibrium
    new = ~np.isin(short_hashes(table), labelled)
    if not new.all():
        table, crystals = table.filter(pa.array(new)), crystals[new]
        pool = Pool.of(table, centres, settings.target, seed, variances)
    if committee is not None:
        pool.expected_errors = committee.expected_errors(merged, len(centres.weights))
    required = round_robin(pool, np.flatnonzero(crystals).tolist(), [])
    policy: Any = settings.policy
    chosen = _chosen(settings, table, pool, required, known)
    picks = [Pick(row, "equilibrium crystal", 0) for row in required] + chosen
    rows = np.array([pick.row for pick in picks], dtype=np.int64)
    if len(np.unique(rows)) < len(rows):
        raise ValueError(f"policy {policy.kind} picked a frame twice")
    affordable = _affordable(settings, pool.cost[rows])
    if len(required) > affordable:
        log.warning(
            "select.target or select.budget allows for %d structures, but there are %d equilibrium "
            "crystals: %d of them are not labelled",
            affordable,
            len(required),
            len(required) - affordable,
        )
    counts = account(candidates, geometries, labelled, affordable, len(picks) - affordable)
    picks = picks[:affordable]
    names = [EQUILIBRIUM] * len(required) + [policy.kind] * len(chosen)
    fingerprint = digest(settings.identity(), structures_per_job)
    with TableWriter(selection, "selection", fingerprint) as writer:
        writer.counts.update(counts)
        writer.write(_table(snapshots, table, pool, picks, names, structures_per_job))
    log.info("%s", ", ".join(f"{name} {count}" for name, count in counts.items()))


def _chosen(settings: Select, table: pa.Table, pool: Pool, required: list[int], known: Known) -> list[Pick]:
    """Return what the policy picks, most wanted first.

    Of domains with a quota by themselves, in turns with the others.
    """
    options: Any = settings.policy
    policy = find("pesatlas.select.policies", options.kind)
    quotas = settings.quotas
    if not quotas:
        of_all: list[Pick] = policy.choose(pool, options, required, known)
        return of_all
    cost = np.ones(len(pool.ids)) if settings.budget is None else pool.cost
    ranked: dict[str, list[int]] = {}
    spent: dict[str, float] = {}
    picks: dict[int, Pick] = {}
    for name, inside in parts(table.column("domain"), quotas):
        rows = np.flatnonzero(inside)
        taken = [row for row in required if inside[row]]
        mine = table.filter(pa.array(inside))
        part = Pool.of(mine, pool.atom_centres, pool.target, pool.seed, pool.structure_variances)
        part.expected_errors = pool.expected_errors
        found = policy.choose(part, options, np.searchsorted(rows, taken).tolist(), known)
        ranked[name] = [int(rows[pick.row]) for pick in found]
        spent[name] = float(cost[taken].sum())
        picks |= {row: pick._replace(row=row) for row, pick in zip(ranked[name], found, strict=True)}
    return [picks[row] for row in in_turns(ranked, spent, cost, quotas)]


def _affordable(options: Select, cost: NDArray[np.float64]) -> int:
    """Return the number of picks within target and budget; ``cost`` in the cube of atoms."""
    affordable = min(len(cost), options.target)
    if options.budget is not None:
        core_hours = np.cumsum(cost) * options.budget.core_hours_of_64_atoms / 64**3
        affordable = min(affordable, int(np.searchsorted(core_hours, options.budget.core_hours, "right")))
    return affordable


def account(
    candidates: list[Path],
    geometries: list[Path],
    labelled: NDArray[np.uint64],
    selected: int,
    over_target: int = 0,
) -> dict[str, int]:
    """Return counts of the frames of the pool by outcome; the first cause that holds counts.

    The counts of ``selection``.

    Parameters
    ----------
    candidates, geometries : of all shards
    labelled : geometries of ``select.reference``
    """
    causes = _counted(candidates)
    distinct = count_distinct(geometries)
    repeated = distinct + len(labelled) - count_distinct([*geometries, labelled])
    eligible = causes["pool"] - causes["not_finite"] - causes["too_close"]
    return {
        "pool": causes["pool"],
        "selected": selected,
        "over_target": over_target,
        "not_finite": causes["not_finite"],
        "too_close": causes["too_close"],
        "duplicate": eligible - distinct,
        "known": repeated,
        "redundant": distinct - repeated - selected - over_target,
    }


def _counted(candidates: list[Path]) -> Counter[str]:
    """Sum up what the shards counted."""
    counts: Counter[str] = Counter()
    for path in candidates:
        counts.update(read_entry(path).counts)
    return counts


def _check_there_are_some(candidates: list[Path]) -> None:
    if not _counted(candidates)["pool"]:
        raise UserError(
            "There are no snapshots to select from: the failure tables have the reasons of the trajectories."
        )


def _merge(
    settings: Select,
    seed: int,
    candidates: list[Path],
    centres: Centres,
    variances: NDArray[np.float64] | None,
) -> pa.Table:
    """Candidates of all shards, in the order of ``snapshot_id``, each geometry once."""
    kept, waiting = SCHEMAS["candidates"].empty_table(), []
    for path in candidates:
        # reduced whenever there is as much new as old, so that memory follows what stays and time the number
        # of candidates
        waiting.append(read_table(path, "candidates").replace_schema_metadata(None))
        if sum(part.num_rows for part in waiting) > max(_WAITING, kept.num_rows):
            merged = pa.concat_tables([kept, *waiting])
            kept, waiting = reduce_candidates(settings, seed, merged, centres, variances), []
    kept = reduce_candidates(settings, seed, pa.concat_tables([kept, *waiting]), centres, variances)
    ids = kept.column("snapshot_id")
    twice = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
    if len(twice):
        raise UserError(
            f"Frame {twice[0]} is there more than once ({len(twice)} such): two shards hold the same "
            "trajectory."
        )
    geometry = geometries_of(kept)
    order = np.argsort(~kept.column("equilibrium").to_numpy().astype(bool), kind="stable")
    _, first = np.unique(geometry[order], return_index=True)
    return kept.take(pa.array(np.sort(order[first])))


def _table(
    snapshots: list[Path], table: pa.Table, pool: Pool, picks: list[Pick], names: list[str], per_job: int
) -> pa.Table:
    """Rows of table ``selection``, by rank."""
    rows = np.array([pick.row for pick in picks], dtype=np.int64)
    rank = np.arange(len(rows))
    columns = {
        "policy": pa.array(names[: len(rows)], pa.string()),
        "reason": pa.array([pick.reason for pick in picks], pa.string()),
        "structure_cluster": pool.structure_clusters[rows],
        "atom_clusters": pa.array([pick.atom_clusters for pick in picks], pa.int32()),
        "novelty": novelty(pool.structure_pcs[rows].astype(float)),
        "rank": rank,
        "batch": rank // per_job,
    }
    places = table.select(["shard", "row"]).take(pa.array(rows))
    shard = np.array(places.column("shard").to_pylist(), dtype=np.str_)
    found = look_up(snapshots, shard, places.column("row").to_numpy())
    schema = SCHEMAS["selection"]
    arrays = [pa.array(columns[name]) if name in columns else found.column(name) for name in schema.names]
    return pa.table(arrays, names=schema.names)


def novelty(vectors: NDArray[np.float64], block: int = 2048) -> NDArray[np.float64]:
    """Distance of each row to the nearest earlier row.

    Of the first to the origin, which is the mean of the pool.
    """
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
