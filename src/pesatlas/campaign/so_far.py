"""The manifest of a campaign that has not finished: its tables, and a list of those that are not there.

Stands for ``manifest.json``, which the dataset's collection writes, where people look while a campaign runs.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import RESULTS, Results, below, output_of
from pesatlas.tables.manifest import entry_path, in_manifest, read_entry

CONFIG = "config.yaml"
UNFINISHED = "unfinished"
"""Key of the manifest that has what is not there yet; a finished campaign's has no such key."""


def has_finished(results: Path) -> bool:
    """Return whether a campaign has finished; also where there is none, which its reader says."""
    return below(results, "manifest").exists() or not entry_path(below(results, "structures")).is_file()


def read_manifest_so_far(results: Path) -> dict[str, Any]:
    """Return the manifest of a finished campaign, or one of the tables that are there.

    Parameters
    ----------
    results : folder of results, or of a release

    Returns
    -------
    dict
        ``unfinished``, if it has not finished: a line for each kind of table of which some are missing.

    Raises
    ------
    UserError
        If there is no campaign, or not even its table of structures.
    """
    if has_finished(results):
        return read_campaign_manifest(results)
    selection, labels = below(results, "selection"), below(results, "labels", batch=0).parent
    batches = _label_batches(selection) if _is_there(selection) else 0
    first = next((path for path in sorted(labels.glob("[0-9]*.parquet")) if _is_there(path)), None)
    counted = read_entry(first).counts if first else {}
    levels = tuple(name.removeprefix("labelled_") for name in counted if name.startswith("labelled_"))
    layout = Results(results, batches, levels)
    there, missing = [], Counter[str]()
    for path in (path for name, paths in layout.files.items() if name != "manifest" for path in paths):
        if _is_there(path):
            there.append(path)
        else:
            missing[_kind(path.relative_to(results))] += 1
    if not batches:
        missing["labels"] += 1
    if not levels:
        missing["dataset"] += 1
    if not missing:
        missing["manifest"] += 1
    here = Counter(_kind(path.relative_to(results)) for path in there)
    configuration = _configuration(results.parent / CONFIG)
    named = configuration.get("campaign")
    return {
        "campaign": (named.get("name") if isinstance(named, dict) else None) or results.resolve().parent.name,
        "levels": list(levels),
        "label_batches": batches,
        "configuration": configuration,
        "files": [
            {**in_manifest(read_entry(path)), "file": path.relative_to(results).as_posix()} for path in there
        ],
        UNFINISHED: [
            f"{name}: {here[name]} of {here[name] + count}" if here[name] else f"{name}: none yet"
            for name, count in missing.items()
            if "failures" not in name
        ],
    }


def _is_there(table: Path) -> bool:
    """Return whether a table was written to its end: its entry comes last."""
    return table.is_file() and entry_path(table).is_file()


def _configuration(path: Path) -> dict[str, Any]:
    """Return what config.yaml says, unchecked; empty without one, or where it is none."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _label_batches(selection: Path) -> int:
    return int(pc.max(pq.read_table(selection, columns=["batch"]).column(0)).as_py() or 0) + 1


def _kind(path: Path) -> str:
    """Return the name that a table has in the layout."""
    found = output_of(f"{RESULTS}/{path.as_posix()}")
    return found.name if found else path.as_posix()
