"""Picks for a comparison of policies at equal cost, and the common test frames."""

import logging
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.campaign.layout import BATCHES_IN_GROUP
from pesatlas.campaign.splits import chemical_system, split_of
from pesatlas.config.compare import Compare
from pesatlas.config.dataset import Split
from pesatlas.config.section import digest
from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.candidates import find_candidates
from pesatlas.select.pick import EQUILIBRIUM, account, pick_snapshots
from pesatlas.select.reference import Reference, read_known
from pesatlas.tables import SCHEMAS, TableWriter, read_table

log = logging.getLogger(__name__)

TEST = "test"
"""Name of the arm that nobody is trained on."""


@dataclass(frozen=True)
class Explored:
    """Candidates of a comparison.

    Attributes
    ----------
    structures : table ``structures``
    snapshots : table of each batch
    clusters, candidates, geometries : of each group of batches
    atoms : centres of atomic clusters
    """

    structures: Path
    snapshots: list[Path]
    clusters: list[Path]
    candidates: list[Path]
    geometries: list[Path]
    atoms: Path
    reference: Reference | None = None


def pick_arms(
    settings: Compare,
    select: Select,
    split: Split,
    seed: int,
    explored: Explored,
    *,
    selection: Path,
    arms: Path,
    structures_per_job: int,
) -> None:
    """Write table ``selection`` of all geometries to label, and table ``arms`` with the picks of each.

    An arm is what a campaign with that policy would pick, had it only the materials that are not held out.
    Its order is that of the policy, and a smaller share of the cost is a beginning of it. The full cost is
    the most that every policy can spend within ``select.target`` and ``select.budget``; it is counted in the
    manifest of ``arms``.

    Raises
    ------
    UserError
        If no material is held out, or all are; or if there is nothing to pick.
    """
    learned, held_out = divide(split, seed, explored.structures)
    with tempfile.TemporaryDirectory() as scratch:
        picked = {
            policy.kind: _pick(
                _changed(select, policy=policy), seed, explored, learned, Path(scratch) / policy.kind
            )
            for policy in settings.policies
        }
        drawn = {"policy": {"kind": "random"}, "include_equilibrium": True, "budget": None}
        drawn["target"] = 2 * settings.test_frames
        test = _pick(_changed(select, **drawn), seed, explored, held_out, Path(scratch) / TEST)
    costs = {name: _costs(table) for name, table in picked.items()}
    full = int(min(cost[-1] for cost in costs.values()))
    cut = {name: table.slice(0, int(np.sum(costs[name] <= full))) for name, table in picked.items()}
    cut[TEST] = _test(test, settings.test_frames)
    _check_common_elements(cut, min(settings.cost_shares) * full)
    _, labelled = read_known(explored.reference, 1)
    table, rows = _union(cut)
    table = _ranked(table, structures_per_job)
    fingerprint = digest(settings.identity(), select.identity(), structures_per_job)
    with TableWriter(arms, "arms", fingerprint) as writer:
        writer.counts.update(
            {"full_cost_atoms3": full, **{name: part.num_rows for name, part in cut.items()}}
        )
        writer.write(rows)
    with TableWriter(selection, "selection", fingerprint) as writer:
        # what no arm needs is redundant
        writer.counts.update(account(explored.candidates, explored.geometries, labelled, table.num_rows))
        writer.write(table)
    for name, part in cut.items():
        log.info("%s: %d frames, %.3g atoms³", name, part.num_rows, _costs(part)[-1])
    log.info("%d frames to label, each once; full cost of an arm %d atoms³", table.num_rows, full)


def divide(split: Split, seed: int, structures: Path) -> tuple[set[str], set[str]]:
    """Return the crystals for training and the held-out ones, by the splits of the dataset.

    A crystal of which some cells are held out and others are not, as may be where a domain changes elements,
    is in neither.
    """
    sides: dict[str, set[bool]] = {}
    for row in read_table(structures, "structures", ["structure_id", "numbers"]).to_pylist():
        whole = row["structure_id"] if split.by == "structure" else chemical_system(row["numbers"])
        sides.setdefault(row["structure_id"], set()).add(split_of(whole, split, seed) == "test")
    learned, held_out = ({name for name, found in sides.items() if found == {side}} for side in (False, True))
    if not learned or not held_out:
        raise UserError(
            f"compare: of {len(sides)} crystals, {len(held_out)} are held out and {len(learned)} may be "
            "used for training: there is nothing to compare. Explore more crystals, or change "
            "dataset.split.test."
        )
    return learned, held_out


def _changed(select: Select, **changes: Any) -> Select:
    return Select.model_validate(select.model_dump() | changes)


def _pick(settings: Select, seed: int, explored: Explored, only: Collection[str], folder: Path) -> pa.Table:
    """Return the table ``selection`` for some materials."""
    folder.mkdir()
    candidates, geometries = [], []
    for group, clusters in enumerate(explored.clusters):
        first = BATCHES_IN_GROUP * group
        snapshots = explored.snapshots[first : first + BATCHES_IN_GROUP]
        candidates.append(folder / f"{group:05d}.parquet")
        geometries.append(folder / f"{group:05d}.npy")
        find_candidates(
            settings, seed, snapshots, clusters, explored.atoms, candidates[-1], geometries[-1], only
        )
    path = folder / "selection.parquet"
    pick_snapshots(
        settings,
        seed,
        explored.snapshots,
        candidates,
        geometries,
        atoms=explored.atoms,
        reference=explored.reference,
        selection=path,
        structures_per_job=1,  # batches are cut later, of all arms together
    )
    found = read_table(path, "selection").replace_schema_metadata(None)
    if not found.num_rows:
        raise UserError(f"compare: {folder.name} picked nothing. Make select.target or select.budget larger.")
    return found


def _costs(table: pa.Table) -> np.ndarray:
    return np.cumsum(table["n_atoms"].to_numpy().astype(np.float64) ** 3)


def _test(table: pa.Table, frames: int) -> pa.Table:
    """Return so many frames of dynamics, and at most as many crystals as given."""
    given = np.array(table["policy"].to_pylist()) == EQUILIBRIUM
    others = np.array(table["condition"].to_pylist()) != "equilibrium"
    rows = np.concatenate([np.flatnonzero(mask)[:frames] for mask in (given, others)])
    return _replaced(table.take(pa.array(np.sort(rows))), policy=[TEST] * len(rows))


def _check_common_elements(cut: dict[str, pa.Table], least: float) -> None:
    """Raise a UserError if an arm of cost ``least`` has no pick, or arms and test share no elements."""
    known: list[set[int]] = []
    for arm, table in cut.items():
        if arm != TEST:
            paid = table.slice(0, int(np.sum(_costs(table) <= least)))
            known.append({number for numbers in paid["numbers"].to_pylist() for number in numbers})
    common = set.intersection(*known)
    if not any(common.issuperset(numbers) for numbers in cut[TEST]["numbers"].to_pylist()):
        raise UserError(
            "compare: no held-out frame has only elements that every arm has picked at the smallest of "
            "compare.cost_shares, so there would be nothing to test on. Make select.target or that share "
            "larger, or explore more crystals of the same elements."
        )


def _union(cut: dict[str, pa.Table]) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return the rows of all arms, each geometry once, and the rows of table ``arms``.

    What an arm has, the test has not.
    """
    names: dict[str, str] = {}
    kept: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    for arm, table in cut.items():
        new, costs = [], _costs(table).tolist()
        frames = table.select(["snapshot_id", "numbers", "cell_A", "positions_A"]).to_pylist()
        for rank, (frame, cost) in enumerate(zip(frames, costs, strict=True)):
            geometry = geometry_digest(
                *(np.array(frame[key]) for key in ("numbers", "cell_A", "positions_A"))
            )
            new.append(geometry not in names)
            name = names.setdefault(geometry, frame["snapshot_id"])
            if new[-1] or arm != TEST:
                rows.append({"arm": arm, "snapshot_id": name, "rank": rank, "cost_atoms3": cost})
        kept.append(table.filter(pa.array(new, pa.bool_())))
    return pa.concat_tables(kept), rows


def _ranked(table: pa.Table, per_job: int) -> pa.Table:
    rank = np.arange(table.num_rows)
    return _replaced(table, rank=rank, batch=rank // per_job)


def _replaced(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        field = SCHEMAS["selection"].field(name)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table
