"""Check a finished campaign from its files: schemas, checksums, sums, each row against label and physics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pesatlas.campaign.dataset_state import other_states, state_of
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import Results, below, folder_of
from pesatlas.campaign.load import load_campaign
from pesatlas.campaign.strain_test import shows_other_tests
from pesatlas.dataset.checksums import check_exports, check_release
from pesatlas.dataset.conservation import sums
from pesatlas.dataset.label_trace import check_against_labels
from pesatlas.dataset.mixed import made_otherwise
from pesatlas.dataset.physics import Levels, RowCheck, check_stress_sign
from pesatlas.errors import UserError
from pesatlas.runtime.progress import Progress
from pesatlas.tables import SCHEMAS, check_entry, iter_table, read_entry
from pesatlas.tables.io import check_metadata
from pesatlas.tables.label_verdicts import QUARANTINED
from pesatlas.tables.manifest import entry_path
from pesatlas.tables.schemas import SCHEMA_VERSION

SHOWN = 20
"""Of each kind of problem; more are counted."""


def verify(root: Path, progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Check the campaign below ``root`` (the folder ``results``), or a release.

    Parameters
    ----------
    root : Path
        Folder that holds ``manifest.json``.
    progress : callable
        Called with a line for each step.

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty if all is well.

    Raises
    ------
    UserError
        If there is no finished campaign below ``root``, or its rows are of an older schema version, without
        columns of today.
    """
    manifest = read_campaign_manifest(root)
    released = (root / "release.json").is_file()
    if not released and manifest.get("state") not in {None, state_of(manifest)}:
        return [
            (
                f"{below(root, 'manifest')}: its content differs from its own checksum: changed after it was "
                "written. Delete it; `pesatlas run` writes it again."
            )
        ]
    layout = Results(root, manifest["label_batches"], tuple(manifest["levels"]))
    progress(f"checksums and schemas of {len(manifest['files'])} files")
    problems = _check_files(root, manifest["files"])
    if problems:
        return problems
    if any(_lacks_columns(root, entry) for entry in manifest["files"] if entry["table"] == "dataset"):
        raise UserError(
            f"{root} was written with an older schema version: it can be read but not checked. Collect it "
            "again (`pesatlas run`; nothing is calculated again), or use the version of pesatlas that wrote "
            "it."
        )
    if released:
        progress("checksums of the release")
        problems += check_release(root)
    else:
        progress("checksums of exports")
        problems += check_exports(root)
    progress("what tables were made with")
    problems += _check_made(root, manifest)
    problems += other_states(root, manifest)
    problems += [
        f"{root / name}: shows other strain tests than {root / folder_of('strain')}/ has. `pesatlas run` "
        "makes it again."
        for name in shows_other_tests(root, manifest)
    ]
    progress("sums")
    if not released:
        problems += [
            f"a sum does not close: {each}" for each in sums(layout.files, layout.levels) if not each.closes
        ]
    problems += [f"a sum does not close: {each['name']}" for each in manifest["sums"] if not each["closes"]]
    levels = Levels(layout.levels)
    for level in layout.levels:
        progress(f"rows at level {level}")
        problems += _check_rows(layout, level, manifest, levels)
    problems += levels.problems()
    if released:
        return problems  # the tables of labels and snapshots stay with the campaign
    progress("rows against their labels")
    problems += check_against_labels(layout)
    progress("stresses against the potential's")
    problems += check_stress_sign(layout)
    return problems


def _check_made(root: Path, manifest: dict[str, Any]) -> list[str]:
    try:
        campaign = load_campaign(manifest["configuration"], extensions=False)
    except UserError:
        return []  # of a pesatlas with other settings
    return made_otherwise(root, [entry["file"] for entry in manifest["files"]], campaign)


def _lacks_columns(root: Path, entry: dict[str, Any]) -> bool:
    """Whether a table lacks columns of today that are never null, because an older pesatlas wrote it."""
    names = pq.read_schema(root / entry["file"]).names
    return any(field.name not in names and not field.nullable for field in SCHEMAS[entry["table"]])


def _check_files(root: Path, entries: list[dict[str, Any]]) -> list[str]:
    problems, files = [], Progress("files", len(entries))
    for entry in entries:
        problems += _check_file(root, entry)
        files.step()
    return problems


def _check_file(root: Path, entry: dict[str, Any]) -> list[str]:
    path = root / entry["file"]
    try:
        if not path.is_file():
            check_metadata(path, entry["table"])
        found = check_entry(path)
        check_metadata(path, entry["table"])
    except UserError as error:
        return [str(error)]
    if found.sha256 != entry["sha256"]:
        return [
            (
                f"{path}: was written again after the campaign's manifest. Run the campaign again to bring "
                "them together."
            )
        ]
    if (found.rows, found.counts) != (entry["rows"], entry["counts"]):
        return [
            (
                f"{entry_path(path)}: counts other rows than the campaign's manifest: changed after it was "
                f"written. Delete it and {path}, and run again."
            )
        ]
    return _check_schema(path, entry["table"])


def _check_schema(path: Path, table: str) -> list[str]:
    found = pq.read_schema(path)
    if int((found.metadata or {})[b"pesatlas.schema_version"]) < SCHEMA_VERSION:
        return []  # a stage before the dataset that had nothing to do since
    if not found.remove_metadata().equals(SCHEMAS[table].remove_metadata()):
        return [f"{path}: its columns are not those of table '{table}'"]
    return []


def _check_rows(layout: Results, level: str, manifest: dict[str, Any], levels: Levels) -> list[str]:
    """Check every row of a level's dataset, in pieces.

    The same problem of many rows is told of the first few.
    """
    surface = manifest["surfaces"][level]
    check = RowCheck(
        level,
        surface["fingerprints"],
        manifest["references"]["atoms_eV"].get(level, {}),
        manifest["configuration"]["dataset"]["rules"]["net_force"],
        (surface["definition"] or {}).get("settings", {}).get("moments_muB"),
    )
    problems: list[str] = []
    count = 0
    seen: set[str] = set()
    twice = 0
    progress = Progress(f"rows at {level}", read_entry(layout.path("dataset", level=level)).rows)
    for piece in iter_table(layout.path("dataset", level=level)):
        for row in piece.to_pylist():
            twice += row["snapshot_id"] in seen
            seen.add(row["snapshot_id"])
            found = [f"{level}: {row['snapshot_id']}: {each}" for each in check(row)]
            if row["verdict"] == QUARANTINED:
                found.append(f"{level}: {row['snapshot_id']}: verdict quarantined, yet in the dataset")
            count += bool(found)
            problems += found if count <= SHOWN else []
            levels.add(level, row)
        progress.step(piece.num_rows)
    if twice:
        problems.append(f"{level}: the same snapshot_id appears twice ({twice} rows)")
    if count > SHOWN:
        problems.append(f"{level}: {count - SHOWN} more rows have problems")
    return problems
