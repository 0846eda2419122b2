"""Write a dataset in formats for training."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pesatlas import __version__
from pesatlas.campaign.account import accounts
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.dataset_state import identifier
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import Results, file_name
from pesatlas.campaign.splits import SPLITS, empty_sentence, moved_remarks
from pesatlas.config import plugins
from pesatlas.config.dataset import EXPORTERS
from pesatlas.dataset.dataset_rows import Source
from pesatlas.errors import UserError
from pesatlas.runtime.templates import render
from pesatlas.storage.atomic import write_text
from pesatlas.tables.manifest import read_entry, read_json, sha256_of

log = logging.getLogger(__name__)

RECORD, README = file_name("export"), "README.md"
_TEMPLATE = Path(__file__).with_name("export.md.j2")
MARK = ".pesatlas-export"
"""Says that a folder may be replaced; the record cannot, for Snakemake takes it away before a rerun."""


@dataclass(frozen=True)
class File:
    """A file of an export."""

    file: str
    bytes: int
    sha256: str


def formats() -> list[str]:
    """Names of the formats; those of other distributions come last."""
    return plugins.known(EXPORTERS)


def export_dataset(results: Path, kind: str, folder: Path, *, verdicts: Sequence[str]) -> list[Path]:
    """Write the dataset of every level below ``results`` into ``folder``, with a record of what was written.

    ``export.json``.

    A README says what is in it, and what has to be known to train on it: splits that are empty, and what the
    format leaves out. What is in the folder is replaced; the record comes last, so that an export without one
    is not whole.

    Parameters
    ----------
    kind : a format
    verdicts : rows with these are exported: ``accepted``, ``flagged``

    Raises
    ------
    UserError
        If there is no such format, no finished campaign, or a folder that is no export.
    """
    module = plugins.find(EXPORTERS, kind)
    manifest = read_campaign_manifest(results)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder to write to.")
    if folder.exists() and any(folder.iterdir()) and not _is_ours(folder, kind):
        raise UserError(
            f"{folder} contains files that are not an export in the format {kind}. Name another folder, or "
            "remove this one."
        )
    shutil.rmtree(folder, ignore_errors=True)
    # before anything else: what is killed half-way is known as ours
    write_text(folder / MARK, kind)
    files: list[Path] = []
    rows: dict[str, dict[str, int]] = {}
    remarks = moved_remarks(manifest)
    sources = sources_of(results, manifest, verdicts)
    for source in sources:
        files += module.export(source, folder)
        counts = Counter(row["split"] for row in source.rows(["split"]))
        rows[source.level] = dict(sorted(counts.items()))
        log.info("%s at %s: %s", kind, source.level, rows[source.level])
        empty = [split for split in SPLITS if not counts[split]]
        remarks += [empty_sentence(source.level, empty)] if empty else []
        if hasattr(module, "remarks"):
            remarks += [f"{source.level}: {remark}" for remark in module.remarks(source)]
    account = [f"{each.level}: {each.sentence(verdicts)}" for each in accounts(results, manifest)]
    if not any(sum(counts.values()) for counts in rows.values()):
        remarks.append("this export has no rows: no label has a verdict that it takes")
    for remark in remarks:
        log.warning("%s", remark)
    files.append(_write_readme(folder, kind, sources, rows, remarks, account))
    record = {
        "format": kind,
        "campaign": manifest["campaign"],
        "code_version": __version__,
        "caveats": caveats(manifest),
        "verdicts": list(verdicts),
        "rows": rows,
        "account": account,
        "remarks": remarks,
        "identifier": identifier(manifest),
        "made_from": {source.level: read_entry(source.path).sha256 for source in sources},
        "files": [
            asdict(File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path)))
            for path in dict.fromkeys(files)
        ],
    }
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return files


def remove_export(folder: Path) -> list[Path]:
    """Remove an export: the files listed in its record, if unchanged.

    Return the files that stay, for they are not ours.

    The record goes last, so that what is stopped half-way is done by doing it again.
    """
    record = read_json(folder / RECORD)
    for each in record.get("files", []):
        path = folder / each["file"]
        if path.is_file() and sha256_of(path) == each["sha256"]:
            path.unlink()
    if record:
        (folder / MARK).unlink(missing_ok=True)
        (folder / RECORD).unlink()
    for inside in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(inside.iterdir()):
            inside.rmdir()
    left = sorted(path for path in folder.rglob("*") if not path.is_dir())
    if not left:
        folder.rmdir()
    return left


def sources_of(results: Path, manifest: dict[str, Any], verdicts: Sequence[str]) -> list[Source]:
    """Return the dataset of each level, as exporters want it."""
    layout = Results(results, manifest["label_batches"], tuple(manifest["levels"]))
    atoms = manifest.get("references", {}).get("atoms_eV", {})
    return [
        Source(
            layout.path("dataset", level=level),
            level,
            tuple(verdicts),
            manifest["campaign"],
            atoms.get(level, {}),
            manifest["code_version"],
            tuple(caveats(manifest)),
        )
        for level in layout.levels
    ]


def _write_readme(
    folder: Path,
    kind: str,
    sources: Sequence[Source],
    rows: dict[str, dict[str, int]],
    remarks: Sequence[str],
    account: Sequence[str],
) -> Path:
    """Write what the export holds and what to know of it.

    Below what the format's own README says, if it has one.
    """
    path = folder / README
    values = {
        "own": path.read_text(encoding="utf-8") if path.is_file() else "",
        "kind": kind,
        "source": sources[0],
        "rows": rows,
        "splits": SPLITS,
        "remarks": remarks,
        "account": account,
    }
    write_text(path, render(_TEMPLATE, values))
    return path


def _is_ours(folder: Path, kind: str) -> bool:
    mark = folder / MARK
    marked = mark.is_file() and mark.read_bytes() == kind.encode()
    return marked or read_json(folder / RECORD).get("format") == kind
