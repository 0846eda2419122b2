"""Releases: immutable copies of a dataset with checksums, and changes since an earlier one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from pesatlas import __version__
from pesatlas.campaign.dataset_state import CARD, CITATION, CRATE, PAGE, REPORT
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import FAILURES, below, folder_of, is_file_of, within
from pesatlas.campaign.strain_test import tests_of_level, write_strain_test
from pesatlas.dataset.changes import compare
from pesatlas.dataset.changes import page as changes_page
from pesatlas.dataset.checksums import SUMS
from pesatlas.dataset.export import RECORD
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.runtime.progress import Progress
from pesatlas.storage.atomic import sync, write_text
from pesatlas.tables.manifest import entry_path, sha256_of

ABOUT, CHANGES = "release.json", "CHANGES.md"

KEPT = (
    f"{folder_of('dataset')}/",
    f"{folder_of('quarantine')}/",
    f"{FAILURES}/",
    within("structures"),
    within("selection"),
    within("atoms"),
)
"""Tables of a release: what the dataset is, and what explains it.

Frames and features of the whole pool are not.
"""

_BESIDE = (CARD, PAGE, CITATION, CRATE, REPORT)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_READ_ONLY = 0o444


def release(results: Path, version: str, folder: Path, since: Path | None = None) -> Path:
    """Copy the dataset below ``results`` to ``folder/version``, for good; return that folder.

    Parameters
    ----------
    version : its name, e.g. ``2026.1``
    since : an earlier release, for what is new; the latest one below ``folder`` if it is not given

    Raises
    ------
    UserError
        If there is such a release already, the name is none, or the campaign is not finished or not sound.
    """
    if not _VERSION.fullmatch(version):
        raise UserError(
            f"'{version}' is not a valid name for a release. Use letters, digits, '.', '-' and '_', e.g. "
            "2026.1."
        )
    target = folder / version
    if target.exists():
        raise UserError(
            f"{target} exists already, and a release never changes. Give the new one another name."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder for releases with --to.")
    problems = verify(results)
    if problems:
        raise UserError(
            f"{results} fails verification, so it is not released:\n  " + "\n  ".join(problems[:20])
        )
    earlier = since or latest(folder)
    building = folder / f".{version}.building"
    shutil.rmtree(building, ignore_errors=True)
    manifest = read_campaign_manifest(results)
    manifest["files"] = [entry for entry in manifest["files"] if entry["file"].startswith(KEPT)]
    names = [name for entry in manifest["files"] for name in (entry["file"], _entry(entry["file"]))]
    names += [name for name in _BESIDE if (results / name).is_file()]
    tests = [test for level in manifest["levels"] for test in tests_of_level(results, manifest, level)]
    for record in sorted(results.glob(within("export", format="*"))):
        names += _export(results, record, manifest)
    progress = Progress("files copied", len(names))
    for name in names:
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results / name, building / name)
        progress.step()
    for test in tests:
        # how a program is started is of one machine, and may name its folders
        write_strain_test(building, test.model_copy(update={"command": None}))
    _cite(building / CITATION, version)
    write_text(below(building, "manifest"), json.dumps(manifest, indent=1) + "\n")
    about: dict[str, Any] = {
        "version": version,
        "campaign": manifest["campaign"],
        "code_version": __version__,
    }
    if earlier is not None:
        changes = compare(earlier, building)
        about |= {"since": json.loads((earlier / ABOUT).read_text())["version"], "changes": changes}
        write_text(building / CHANGES, changes_page(changes, about["since"], version))
    write_text(building / ABOUT, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    _tail_checksum(building)
    building.rename(target)
    sync(folder)
    return target


def latest(folder: Path) -> Path | None:
    """Return the release that was made last; None if there is none.

    One that another was compared with is older than that; only of those left does the time of the file
    decide, for it is of the clock of some machine, or of a copy.
    """
    made = [path.parent for path in folder.glob(f"*/{ABOUT}") if not path.parent.name.startswith(".")]
    about = {path: json.loads((path / ABOUT).read_text(encoding="utf-8")) for path in made}
    older = {each.get("since") for each in about.values()}
    last = [path for path in made if about[path]["version"] not in older] or made
    return max(last, key=lambda path: (path / ABOUT).stat().st_mtime_ns, default=None)


def _entry(name: str) -> str:
    return entry_path(Path(name)).as_posix()


def _export(results: Path, record: Path, manifest: dict[str, Any]) -> list[str]:
    """Return the files of an export, if it is of this dataset."""
    about = json.loads(record.read_text(encoding="utf-8"))
    now = {
        level: entry["sha256"]
        for entry in manifest["files"]
        for level in manifest["levels"]
        if is_file_of(entry["file"], "dataset", level=level)
    }
    if about.get("made_from") != now:
        raise UserError(
            f"{record.parent} was exported from another state of the dataset. Export it again (`pesatlas "
            f"run`, or `pesatlas export {about['format']}`), or remove it."
        )
    inside = record.parent.relative_to(results)
    return [(inside / name).as_posix() for name in (RECORD, *(file["file"] for file in about["files"]))]


def _cite(path: Path, version: str) -> None:
    """Write the version of the release into its citation, if it has one."""
    if path.is_file():
        cited = {**yaml.safe_load(path.read_text(encoding="utf-8")), "version": version}
        write_text(path, yaml.safe_dump(cited, sort_keys=False, allow_unicode=True))


def _tail_checksum(folder: Path) -> None:
    """Write the checksums of everything, and take away the right to write."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    # as `sha256sum --check` reads it
    write_text(folder / SUMS, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(_READ_ONLY)
            sync(path)
