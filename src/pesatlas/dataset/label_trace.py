"""Comparison of every dataset row with its label, number by number."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.campaign.layout import Results
from pesatlas.runtime.progress import Progress
from pesatlas.tables import SCHEMAS, iter_table, read_table

# What a dataset decides for itself.
_OWN = ("verdict", "verdict_rules")
_COLUMNS = [name for name in SCHEMAS["labels"].names if name not in _OWN]

EXAMPLES = 10
"""Rows that are looked at more closely, to say what is wrong with them."""


def check_against_labels(layout: Results) -> list[str]:
    """Return how the rows of dataset and quarantine differ from the labels they were made of.

    In pieces, a hash of each row is kept.
    """
    known: dict[tuple[str, str], tuple[bytes, Path]] = {}
    for level in layout.levels:
        for path in (layout.path("quarantine", level=level), layout.path("dataset", level=level)):
            known |= {(level, name): (made, path) for name, made in _hashes(path)}
    lost: list[tuple[str, str]] = []
    changed: list[tuple[str, str, Path, Path]] = []
    progress = Progress("tables of labels", len(layout.of_label_batches("labels")))
    for path in layout.of_label_batches("labels"):
        progress.step()
        levels = pq.read_table(path, columns=["level"]).column(0).to_pylist()
        for level, (name, made) in zip(levels, _hashes(path), strict=True):
            found = known.pop((level, name), None)
            if found is None:
                lost.append((level, name))
            elif found[0] != made:
                changed.append((level, name, path, found[1]))
    problems = [
        f"{level}: {name} was labelled, and is neither in the dataset nor in quarantine: lost"
        for level, name in lost[:EXAMPLES]
    ]
    problems += [
        f"{level}: {name} has no label: it came from nowhere" for level, name in list(known)[:EXAMPLES]
    ]
    problems += [_what_changed(*each, layout.levels) for each in changed[:EXAMPLES]]
    if len(changed) > EXAMPLES:
        problems.append(f"{len(changed) - EXAMPLES} more rows differ from their labels")
    return problems


def _hashes(path: Path) -> list[tuple[str, bytes]]:
    """Return the key and a hash of each row of a table of labels or of a dataset."""
    found = []
    for piece in iter_table(path, _COLUMNS):
        # the same order of columns in both tables
        rows = piece.select(_COLUMNS).to_pylist()
        found += [
            (row["snapshot_id"], hashlib.blake2b(repr(row).encode(), digest_size=12).digest()) for row in rows
        ]
    return found


def _what_changed(level: str, name: str, labels: Path, made: Path, levels: tuple[str, ...]) -> str:
    """Return a sentence for one row that is not its label."""
    chosen = pc.field("snapshot_id") == name
    label, *_ = read_table(labels, "labels", filters=chosen & (pc.field("level") == level)).to_pylist()
    row, *_ = read_table(made, "dataset", filters=chosen).to_pylist()
    differ = [column for column in _COLUMNS if row[column] != label[column]]
    words = f"{', '.join(differ)} {'is' if len(differ) == 1 else 'are'} not of its label"
    if _flipped(row["stress_eV_per_A3"], label["stress_eV_per_A3"]):
        words += ": the sign of its stress is flipped"
    others = read_table(labels, "labels", filters=chosen & (pc.field("level") != level)).to_pylist()
    for other in others:
        if "energy_eV" in differ and row["energy_eV"] == other["energy_eV"] and other["level"] in levels:
            words += f": it has the energy of {other['level']}: functionals are swapped"
    return f"{level}: {name}: {words}"


def _flipped(first: list[float], second: list[float]) -> bool:
    values: list[tuple[Any, Any]] = list(zip(first, second, strict=True))
    return any(b for _, b in values) and all(a == -b for a, b in values)
