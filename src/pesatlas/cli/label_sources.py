"""Labels to inspect one by one: from VASP runs, tables of pesatlas, and external datasets."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below, is_file_of
from pesatlas.cli.app import results_in
from pesatlas.cli.import_export import is_dataset
from pesatlas.dataset.imported import import_dataset
from pesatlas.dataset.level_consistency import definitions_in
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed
from pesatlas.label.vasp.existing.existing_run import labels_in
from pesatlas.label.vasp.existing.find import Search
from pesatlas.label.vasp.existing.settings import RunSettings
from pesatlas.tables import iter_table
from pesatlas.tables.io import check_metadata

_COLUMNS = (
    "snapshot_id",
    "level",
    "level_fingerprint",
    "numbers",
    "cell_A",
    "positions_A",
    "energy_eV",
    "code",
    "settings",
)
_TABLES = ("dataset", "labels", "imported")


@dataclass(frozen=True)
class Label:
    """A label of whatever origin.

    Attributes
    ----------
    numbers, cell, positions : (n,), (3, 3) Å, (n, 3) Å
    settings : of a calculation by VASP, or the name of another code; None if its file does not tell
    definition : its level in full, in our own tables
    failed : why a run has no label; everything else is then empty
    """

    name: str
    level: str | None
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    energy_eV: float
    settings: RunSettings | None = None
    definition: dict[str, Any] | None = None
    failed: Failed | None = None


def labels_from(source: str, level: str) -> Iterator[Label]:
    """Yield the labels of results, a release, a table, an external dataset, or of runs.

    Of results and of our tables of labels: those of ``level``.

    Raises
    ------
    UserError
        If there is nothing that can be read.
    """
    path = Path(source).expanduser()
    if path.is_dir() and below(results_in(path), "manifest").is_file():
        yield from _of_results(results_in(path), level)
    elif path.suffix == ".parquet":
        yield from _of_table(path, level)
    elif path.is_file() and is_dataset(path):
        with tempfile.TemporaryDirectory(prefix="pesatlas-compare-") as temporary:
            table = Path(temporary) / "theirs.parquet"
            import_dataset(path, level, table)
            yield from _of_table(table, level)
    else:
        for name, found in labels_in(Search([source])):
            if isinstance(found, Failed):
                nothing = np.empty(0)
                yield Label(name, None, nothing, nothing, nothing, np.nan, failed=found)
                continue
            yield Label(
                name,
                None,
                np.array(found.row["numbers"]),
                found.cell,
                np.reshape(found.row["positions_A"], (-1, 3)),
                found.row["energy_eV"],
                found.settings,
            )


def _of_results(results: Path, level: str) -> Iterator[Label]:
    manifest = read_campaign_manifest(results)
    if level not in manifest["levels"]:
        raise UserError(f"{results} has no level '{level}'. There are: {', '.join(manifest['levels'])}.")
    for entry in manifest["files"]:
        if entry["table"] == "dataset" and is_file_of(entry["file"], "dataset", level=level):
            definition = manifest.get("surfaces", {}).get(level, {}).get("definition")
            yield from _of_table(results / entry["file"], level, definition)


def _of_table(path: Path, level: str, definition: dict[str, Any] | None = None) -> Iterator[Label]:
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked from {Path.cwd()}). Correct the path.")
    metadata = pq.read_schema(path).metadata or {}
    table = metadata.get(b"pesatlas.table", b"none").decode()
    if table not in _TABLES:
        raise UserError(f"{path} contains the table '{table}'; labels are in tables {', '.join(_TABLES)}.")
    check_metadata(path, table)
    definitions = definitions_in(path)
    there = pq.read_schema(path).names
    for piece in iter_table(path, [name for name in _COLUMNS if name in there]):
        for row in piece.to_pylist():
            if table != "imported" and row["level"] != level:
                continue
            yield Label(
                row["snapshot_id"],
                row["level"],
                np.array(row["numbers"]),
                np.reshape(row["cell_A"], (3, 3)),
                np.reshape(row["positions_A"], (-1, 3)),
                row["energy_eV"],
                _settings(row),
                definitions.get(row["level_fingerprint"], definition),
            )


def _settings(row: dict[str, Any]) -> RunSettings | None:
    """Return the settings of a row: of an imported run as it was read, of an own label as it was set."""
    if not row.get("settings"):
        return None
    raw, code = json.loads(row["settings"]), row.get("code") or ""
    if "incar" not in raw:
        return RunSettings("", {}, code=code.split(",")[0] or "unknown")
    if "used" in raw:
        raw.pop("notes", None)
        return RunSettings.from_json(raw)
    versions = dict(word.split(" ", 1) for word in code.split(", ") if " " in word)
    return RunSettings(versions.get("vasp", ""), raw["incar"], mesh=raw["kpoints"], titles=raw["potcars"])
