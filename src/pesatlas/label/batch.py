"""Label one batch of the selection at every reference level."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.config.section import digest
from pesatlas.label.backend import Failed, Task
from pesatlas.label.calculate import content_key, open_calculations
from pesatlas.label.label_rows import charge_columns, definitions, result_columns, row_of_failure
from pesatlas.label.label_verdict import decide_verdict
from pesatlas.levels.level import Level
from pesatlas.levels.lookup import levels_of
from pesatlas.runtime.progress import Progress
from pesatlas.tables import SCHEMAS, read_table, write_table
from pesatlas.tables.columns import FRAME, GEOMETRY, POTENTIAL, SOURCE
from pesatlas.tables.label_verdicts import QUARANTINED

log = logging.getLogger(__name__)

_KEPT = [field.name for field in (*FRAME, *GEOMETRY, *POTENTIAL, *SOURCE)]


def label_batch(
    settings: Label,
    info: CampaignInfo,
    batch: int,
    *,
    selection: Path,
    labels: Path,
    failures: Path,
    work: Path,
    memory_mb: int = 0,
) -> None:
    """Calculate every pick of ``batch`` at every level, and write the tables ``labels`` and ``failures``.

    A calculation that fails becomes a row with its reason and costs no other. What was calculated before, by
    any campaign on the same store, is not calculated again. A killed job loses at most the calculation it was
    in.

    Parameters
    ----------
    info : CampaignInfo
        Its name, and its stores.
    batch : int
        Which rows of ``selection``; there may be none, if fewer were picked than the target allows.
    memory_mb : int
        Memory that the job has, MB; 0 if it is not known.
    """
    picks = read_table(selection, "selection", filters=[("batch", "==", batch)]).select(_KEPT).to_pylist()
    levels = levels_of(settings.backend, settings.levels)
    fingerprint = digest([level.fingerprint for level in levels.values()])
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    groups = [[task_of(pick, level) for level in levels.values()] for pick in picks]
    progress = Progress("labels", len(picks) * len(levels))
    with open_calculations(settings, info, f"batch-{batch:05d}", work, memory_mb) as calculations:
        for pick, tasks, outcomes in zip(picks, groups, calculations.outcomes(groups), strict=True):
            for task, outcome in zip(tasks, outcomes, strict=True):
                level = task.level
                if isinstance(outcome, Failed):
                    log.warning(
                        "%s at %s: %s, %s", pick["snapshot_id"], level.name, outcome.reason, outcome.detail
                    )
                    failed.append(
                        row_of_failure(outcome, pick["snapshot_id"], pick["structure_id"], level.name)
                    )
                    continue
                verdict, rules = decide_verdict(outcome)
                columns = result_columns(outcome, level, content_key(task))
                columns |= charge_columns(outcome.charges)
                rows.append({**pick, **columns, "verdict": verdict, "verdict_rules": rules})
            progress.step(len(outcomes), failed=sum(isinstance(outcome, Failed) for outcome in outcomes))
        log.info(
            "%d snapshots: %d calculations, %d labels from the store",
            len(picks),
            calculations.made,
            calculations.found,
        )
    counts = {"selected": len(picks)}
    for name in levels:
        counts[f"labelled_{name}"] = sum(row["level"] == name for row in rows)
        counts[f"failed_{name}"] = sum(row["level"] == name for row in failed)
        counts[f"quarantined_{name}"] = sum(
            row["level"] == name and row["verdict"] == QUARANTINED for row in rows
        )
    write_table(failures, "failures", failed, fingerprint)
    write_table(
        labels,
        "labels",
        [{name: row.get(name) for name in SCHEMAS["labels"].names} for row in rows],
        fingerprint,
        counts,
        definitions(levels.values()),
    )


def task_of(row: dict[str, Any], level: Level) -> Task:
    """Return the calculation of a row's geometry at ``level``."""
    return Task(
        numbers=np.array(row["numbers"], dtype=int),
        cell=np.array(row["cell_A"]).reshape(3, 3),
        positions=np.array(row["positions_A"]).reshape(-1, 3),
        level=level,
    )
