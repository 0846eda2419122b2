"""Results of a campaign that has not finished, completed for its report: labels stand for the dataset."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pesatlas import __version__
from pesatlas.campaign.account import LABELLED
from pesatlas.campaign.layout import OF_COMMANDS, RESULTS, Results, below, output_of
from pesatlas.campaign.so_far import read_manifest_so_far
from pesatlas.dataset.derive import derived
from pesatlas.dataset.references import find_references
from pesatlas.storage.atomic import write_text
from pesatlas.tables import TableWriter, read_entry, read_table, write_table
from pesatlas.tables.manifest import entry_path, in_manifest

_COLLECTED = frozenset({"dataset", "quarantine", "dataset_failures"})
_EMPTY = {
    "snapshots": "snapshots",
    "selection": "selection",
    "quality": "quality",
    "atoms": "atoms",
    "quarantine": "dataset",
}
"""Tables without which nothing can be reported, by their names in the layout: empty while there is none."""


def complete_so_far(results: Path, folder: Path, configuration: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Make results in ``folder`` of what is in ``results``: links to its tables, and labels for a dataset.

    No rule has seen these labels: their verdict is ``labelled``. What needs the symmetry of a frame (space
    group, asymmetry of the stress, shortest distance) is not known of them.

    Parameters
    ----------
    results : of a campaign that has not finished
    folder : of a campaign, empty; its results are in it as in any other
    configuration : of the campaign, complete

    Returns
    -------
    dict
        Files by their names in the layout, those that are there; the manifest has what is not there yet.

    Raises
    ------
    UserError
        If there is no campaign, or not even its table of structures.
    """
    found = read_manifest_so_far(results)
    levels = tuple(configuration["label"]["levels"])
    made = Results(folder / RESULTS, found["label_batches"], levels)
    entries = [entry for entry in found["files"] if _name(entry["file"]) not in _COLLECTED]
    for entry in entries:
        for path in (results / entry["file"], entry_path(results / entry["file"])):
            _link(path, made.root / path.relative_to(results))
    _link(results.parent / "logs", folder / "logs")
    for name in OF_COMMANDS:
        for path in results.glob(f"{below(Path(), name).parent}/*"):
            _link(path, made.root / path.relative_to(results))
    for name, table in _EMPTY.items():
        paths = made.files[name]
        if not any(path.exists() for path in paths):
            for path in paths[:1] if name == "snapshots" else paths:
                write_table(path, table, [], "")
    _write_labels(made)
    written = [
        {**in_manifest(read_entry(path)), "file": path.relative_to(made.root).as_posix()}
        for path in made.files["dataset"]
    ]
    manifest = found | {
        "code_version": __version__,
        "levels": list(levels),
        "configuration": dict(configuration),
        "sums": [],
        "files": [*entries, *written],
    }
    write_text(below(made.root, "manifest"), json.dumps(manifest))
    return {name: [path for path in paths if path.exists()] for name, paths in made.files.items()}


def _name(file: str) -> str:
    output = output_of(f"{RESULTS}/{file}")
    return output.name if output else ""


def _link(path: Path, link: Path) -> None:
    if path.exists() and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _write_labels(made: Results) -> None:
    """Write the labels of each level as its dataset, with the columns that follow from a label alone."""
    (atoms,) = made.files["atoms"]
    labels = [path for path in made.files["labels"] if path.exists()]
    references = find_references(atoms, labels, made.levels)
    with ExitStack() as stack:
        writers = {
            level: stack.enter_context(TableWriter(path, "dataset", "", {"pesatlas.level": level}))
            for level, path in zip(made.levels, made.files["dataset"], strict=True)
        }
        for path in labels:
            rows: dict[str, list[dict[str, Any]]] = {level: [] for level in made.levels}
            for label in read_table(path, "labels").to_pylist():
                if label["level"] in rows:
                    own = {"verdict": LABELLED, "verdict_rules": "[]", "split": ""}
                    rows[label["level"]].append(label | derived(label, None, references) | own)
            for level, here in rows.items():
                writers[level].write(here)
                writers[level].counts[LABELLED] = writers[level].counts.get(LABELLED, 0) + len(here)
