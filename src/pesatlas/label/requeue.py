"""Put failed calculations and quarantined labels back into the queue."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import below
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Requeued, Result, from_bytes, to_bytes
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key, failure_key
from pesatlas.label.isolated_atoms import number_of_atom, task_of_atom
from pesatlas.levels.lookup import levels_of
from pesatlas.storage.atomic import sync
from pesatlas.storage.store import Store, stores_at
from pesatlas.tables import FailureReason, read_entry, read_table
from pesatlas.tables.label_verdicts import QUARANTINED
from pesatlas.tables.manifest import entry_path

KNOWN = (
    FailureReason.TIMEOUT,
    FailureReason.CRASHED,
    FailureReason.OUT_OF_MEMORY,
    FailureReason.NOT_CONVERGED,
    FailureReason.BAD_OUTPUT,
    FailureReason.NOT_FINITE,
    FailureReason.MISSING_PSEUDOPOTENTIAL,
    FailureReason.WRONG_STRUCTURE,
    FailureReason.WRONG_LEVEL,
)
"""Reasons for a missing label."""

_GEOMETRY = ["snapshot_id", "numbers", "cell_A", "positions_A"]


@dataclass(frozen=True)
class MissingLabel:
    """One label that a dataset lacks.

    Attributes
    ----------
    snapshot_id : which, or ``atom:Si`` for an isolated atom
    level, reason, detail : at which level, and why
    attempts : how many were made
    key : content key, if its row tells it
    """

    snapshot_id: str
    level: str
    reason: FailureReason
    detail: str
    attempts: int
    key: str | None = None


@dataclass
class MissingLabels:
    """Labels that a dataset lacks, by the batch they are in; None stands for the isolated atoms."""

    by_batch: dict[int | None, list[MissingLabel]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(missing) for missing in self.by_batch.values())

    def counted(self) -> Counter[tuple[str, str]]:
        """Return how many there are by level and reason."""
        return Counter(
            (lost.level, lost.reason.value) for missing in self.by_batch.values() for lost in missing
        )


def find_missing_labels(
    levels: Sequence[str],
    batches: int,
    results: Path,
    reasons: Collection[FailureReason],
    *,
    quarantined: bool,
) -> MissingLabels:
    """Return the labels that are missing for one of ``reasons``, and those in quarantine if asked.

    Manifests tell which tables have any, so that few are opened.
    """
    found = MissingLabels()
    for batch in (None, *range(batches)):
        failures, labels = _failures(results, batch), _labels(results, batch)
        missing: list[MissingLabel] = []
        if failures.is_file() and any(read_entry(failures).counts.get(reason) for reason in reasons):
            rows = read_table(failures, "failures", filters=[("reason", "in", [r.value for r in reasons])])
            missing += [
                MissingLabel(
                    row["key"], row["level"], FailureReason(row["reason"]), row["detail"], row["attempts"]
                )
                for row in rows.to_pylist()
            ]
        if quarantined and batch is not None and labels.is_file() and _has_quarantined(labels):
            columns = ["snapshot_id", "level", "verdict_rules", "label_key"]
            rows = read_table(labels, "labels", columns, [("verdict", "==", QUARANTINED)])
            missing += [
                MissingLabel(
                    row["snapshot_id"],
                    row["level"],
                    FailureReason.QUARANTINED,
                    row["verdict_rules"],
                    1,
                    row["label_key"],
                )
                for row in rows.to_pylist()
            ]
        if missing:
            found.by_batch[batch] = missing
    if quarantined:
        _add_quarantined_by_rules(levels, results, found)
    return found


def _add_quarantined_by_rules(levels: Sequence[str], results: Path, found: MissingLabels) -> None:
    """Add the labels that no calculation objected to, but a rule of the dataset did."""
    known = {(lost.snapshot_id, lost.level) for missing in found.by_batch.values() for lost in missing}
    for level in levels:
        path = below(results, "quarantine", level=level)
        if not path.is_file() or not read_entry(path).rows:
            continue
        columns = ["snapshot_id", "verdict_rules", "label_key"]
        rows = [
            row
            for row in read_table(path, "dataset", columns).to_pylist()
            if (row["snapshot_id"], level) not in known
        ]
        names = [row["snapshot_id"] for row in rows]
        picks = read_table(
            below(results, "selection"),
            "selection",
            ["snapshot_id", "batch"],
            [("snapshot_id", "in", names)],
        )
        batches = dict(zip(*(picks[name].to_pylist() for name in ("snapshot_id", "batch")), strict=True))
        for row in rows:
            name, why, key = (row[column] for column in columns)
            if name in batches:
                lost = MissingLabel(name, level, FailureReason.QUARANTINED, why, 1, key)
                found.by_batch.setdefault(batches[name], []).append(lost)


def requeue(settings: Label, info: CampaignInfo, results: Path, missing: MissingLabels) -> int:
    """Put ``missing`` back into the queue, and take away the tables that tell of them.

    Return how many calculations that makes.

    The store keeps what it has: a record is added to each, with what happened before. What the store knows
    better by now (another campaign may have calculated it) stays as it is, and is found by the next run.
    Nobody else may work on the campaign. When this is stopped half-way, doing it again does the rest. The
    records are newer than those that they replace, whatever the clocks of the machines say that wrote them.
    """
    if not missing:
        return 0
    store = stores_at(info.store, info.read_stores, "labels")
    store.refresh()
    added = 0
    with store.writer(f"requeued-{info.name}") as ledger:
        for key, lost in _keyed(settings, results, missing):
            record = _record(store, key, lost)
            if record is None:
                continue
            added += 1
            # the calculation's own key last: it is what tells that all was written
            for name in (failure_key(key), key):
                ledger.append(name, to_bytes(record))
    # the end of the campaign first: with its manifest, the workflow would not look for the tables before it
    below(results, "manifest").unlink(missing_ok=True)
    for batch in missing.by_batch:
        for path in (_labels(results, batch), _failures(results, batch)):
            path.unlink(missing_ok=True)
            entry_path(path).unlink(missing_ok=True)
            sync(path.parent)
    return added


def _record(store: Store, key: str, lost: MissingLabel) -> Requeued | None:
    """Return the record that puts a calculation back into the queue.

    None if it is in the queue already, or was made since.
    """
    known, earlier = (from_bytes(p) if (p := store.get(k)) else None for k in (key, failure_key(key)))
    before = earlier.attempts if isinstance(earlier, Failed | Requeued) else 0
    if lost.reason == FailureReason.QUARANTINED:
        attempts = before + 1 if isinstance(known, Result) else 0
    elif isinstance(known, Failed):
        attempts = known.attempts
    else:
        attempts = before if isinstance(earlier, Failed) and not isinstance(known, Result) else 0
    return Requeued(lost.reason, lost.detail, attempts, time.time()) if attempts else None


def _keyed(settings: Label, results: Path, missing: MissingLabels) -> Iterator[tuple[str, MissingLabel]]:
    """Yield every miss with its content key, each key once."""
    levels = levels_of(settings.backend, settings.levels)
    wanted = [lost for batch, many in missing.by_batch.items() if batch is not None for lost in many]
    rows = _geometries(results, missing, {lost.snapshot_id for lost in wanted if lost.key is None})
    seen: set[str] = set()
    for lost in (*missing.by_batch.get(None, []), *wanted):
        if lost.key is not None:
            key = lost.key
        elif lost.level not in levels:
            continue  # no longer a level of this campaign
        elif (number := number_of_atom(lost.snapshot_id)) is not None:
            key = content_key(task_of_atom(number, levels[lost.level]))
        elif lost.snapshot_id in rows:
            key = content_key(task_of(rows[lost.snapshot_id], levels[lost.level]))
        else:
            raise UserError(
                f"{below(results, 'selection')} does not have {lost.snapshot_id}, whose label failed: the "
                "selection was made again since then. Run the campaign first (`pesatlas run`)."
            )
        if key not in seen:
            seen.add(key)
            yield key, lost


def _geometries(results: Path, missing: MissingLabels, names: set[str]) -> dict[str, dict[str, Any]]:
    """Return the picks of these names."""
    if not names:
        return {}
    filters = [
        ("batch", "in", [b for b in missing.by_batch if b is not None]),
        ("snapshot_id", "in", sorted(names)),
    ]
    rows = read_table(below(results, "selection"), "selection", _GEOMETRY, filters).to_pylist()
    return {row["snapshot_id"]: row for row in rows}


def _has_quarantined(labels: Path) -> bool:
    return any(
        count for name, count in read_entry(labels).counts.items() if name.startswith(f"{QUARANTINED}_")
    )


def _labels(results: Path, batch: int | None) -> Path:
    return below(results, "atoms") if batch is None else below(results, "labels", batch=batch)


def _failures(results: Path, batch: int | None) -> Path:
    return below(results, "atom_failures") if batch is None else below(results, "label_failures", batch=batch)
