"""Isolated atoms at every reference level, for cohesive energies."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.config.section import digest
from pesatlas.label.backend import Failed, Task
from pesatlas.label.calculate import content_key, open_calculations
from pesatlas.label.label_rows import definitions, result_columns, row_of_failure
from pesatlas.levels.level import Level
from pesatlas.levels.lookup import levels_of
from pesatlas.runtime.progress import Progress
from pesatlas.tables import write_table
from pesatlas.tables.io import check_metadata

log = logging.getLogger(__name__)

_PREFIX = "atom:"
_NO_BOX_A = [15.0, 15.1, 15.2]
"""At a level that calculates no atoms: that it does not is an outcome, which needs an address as all have."""


def label_atoms(
    settings: Label,
    info: CampaignInfo,
    *,
    structures: Path,
    atoms: Path,
    failures: Path,
    work: Path,
    memory_mb: int = 0,
) -> None:
    """Calculate an isolated atom of every element in ``structures`` at every level.

    Write the tables ``atoms`` and ``failures``.

    Spin-polarised, with Hund's moment, in the box of the level. An atom that fails leaves cohesive energies
    of its compounds empty, and a row of the failures says so. The job has ``memory_mb`` of memory; 0 if that
    is not known.
    """
    levels = levels_of(settings.backend, settings.levels)
    numbers = _elements(structures)
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    groups = [[task_of_atom(number, level) for level in levels.values()] for number in numbers]
    progress = Progress("labels of isolated atoms", len(numbers) * len(levels))
    with open_calculations(settings, info, "atoms", work, memory_mb) as calculations:
        for number, tasks, outcomes in zip(numbers, groups, calculations.outcomes(groups), strict=True):
            symbol, name = symbol_of(number), name_of_atom(number)
            for task, outcome in zip(tasks, outcomes, strict=True):
                level = task.level
                if isinstance(outcome, Failed):
                    log.warning("atom %s at %s: %s, %s", symbol, level.name, outcome.reason, outcome.detail)
                    failed.append(row_of_failure(outcome, name, name, level.name))
                else:
                    rows.append({"element": symbol, **result_columns(outcome, level, content_key(task))})
            progress.step(len(outcomes), failed=sum(isinstance(outcome, Failed) for outcome in outcomes))
        log.info(
            "%d elements: %d calculations, %d from the store",
            len(numbers),
            calculations.made,
            calculations.found,
        )
    fingerprint = digest([level.fingerprint for level in levels.values()])
    counts = {
        "elements": len(numbers),
        "wanted": len(numbers) * len(levels),
        "labelled": len(rows),
        "failed": len(failed),
    }
    write_table(failures, "failures", failed, fingerprint)
    write_table(atoms, "atoms", rows, fingerprint, counts, definitions(levels.values()))


def _elements(structures: Path) -> list[int]:
    """Return the atomic numbers in the table ``structures``, sorted.

    Read in pieces, for the table may be large.
    """
    check_metadata(structures, "structures")
    found: set[int] = set()
    with pq.ParquetFile(structures) as file:
        for piece in file.iter_batches(columns=["numbers"]):
            found.update(int(z) for z in np.unique(piece.column(0).flatten().to_numpy()))
    return sorted(found)


def name_of_atom(number: int) -> str:
    """Return what an isolated atom is called where a snapshot has its ``snapshot_id``: ``atom:Si``."""
    return f"{_PREFIX}{symbol_of(number)}"


def number_of_atom(name: str) -> int | None:
    """Return the atomic number in such a name; None if it is no name of an isolated atom.

    Raises
    ------
    ValueError
        If there is no such element.
    """
    return atomic_number(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None


def task_of_atom(number: int, level: Level) -> Task:
    """Return the calculation of one atom in the middle of the level's box."""
    box = np.array(level.settings.get("atom_box_A", _NO_BOX_A))
    return Task(np.array([number]), np.diag(box), box[None, :] / 2, level, isolated=True)
