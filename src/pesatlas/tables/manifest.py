"""Manifest entry beside every table file: rows, bytes, sha256, and counts of its stage."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pesatlas.errors import UserError
from pesatlas.storage.atomic import write_text


@dataclass(frozen=True)
class Entry:
    """Facts about one file of a table or of arrays.

    ``counts`` is what conservation is checked with downstream.

    Attributes
    ----------
    made_with : settings of the campaign that decide what is in it, by their keys; empty if not known
    made_of : beginning of the sha256 of each table that it was made of, by the path from the folder of the
        campaign; the state of other files by what they are called
    """

    file: str
    table: str
    schema_version: int
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    counts: dict[str, int] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)
    made_of: dict[str, str] = field(default_factory=dict)


SUFFIX = ".manifest.json"
"""Ending of the manifest entry of a table, after the table's name."""


def entry_path(path: Path) -> Path:
    """Return the path of the manifest entry of the table file ``path``."""
    return path.with_name(f"{path.name}{SUFFIX}")


_SHORT = 16
_job: dict[str, Any] = {}


@contextmanager
def made_by_job(made_with: Mapping[str, Any], inputs: Iterable[str]) -> Iterator[None]:
    """Record these settings, and the state of ``inputs``, in every manifest entry written inside."""
    made_of = {name: state for name in inputs if (state := table_fingerprint(Path(name)))}
    _job.update(made_with=dict(made_with), made_of=made_of)
    try:
        yield
    finally:
        _job.clear()


def made_of_files(name: str, state: str) -> None:
    """Record the state of files that are no tables in every entry that the job writes from now on."""
    if _job:
        _job["made_of"][name] = state


def table_fingerprint(path: Path) -> str | None:
    """Return the state of table ``path`` for ``Entry.made_of``; None if it has no entry."""
    try:
        return str(json.loads(entry_path(path).read_bytes())["sha256"])[:_SHORT]
    except (OSError, ValueError, KeyError):
        return None


def write_entry(path: Path, entry: Entry) -> None:
    """Write the entry of ``path`` atomically, with what the job is known to make it with."""
    entry = replace(entry, **_job)
    write_text(entry_path(path), json.dumps(asdict(entry), indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none or it is none, for those who leave it to others to say so."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def in_manifest(entry: Entry) -> dict[str, Any]:
    """Return the record of a file in the manifest of a campaign.

    Of a thousand, what they were made with would be most of it.
    """
    return {name: value for name, value in asdict(entry).items() if name not in {"made_with", "made_of"}}


def read_entry(path: Path) -> Entry:
    """Read the entry of ``path``.

    Raises
    ------
    UserError
        If there is none, which means that the file was not written by this campaign or not to its end.
    """
    where = entry_path(path)
    if not where.is_file():
        raise UserError(
            f"{path} has no manifest entry ({where.name}): it was not written to its end. Delete {path} and "
            "run again."
        )
    try:
        return Entry(**json.loads(where.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{where} is damaged ({error}). Delete it and {path}, and run again.") from None


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_entry(path: Path) -> Entry:
    """Check that ``path`` is byte for byte what its entry says.

    Raises
    ------
    UserError
        If it differs; the message says how.
    """
    entry = read_entry(path)
    if not path.is_file():
        raise UserError(
            f"{path} does not exist, although {entry_path(path).name} describes it. Run again to make it."
        )
    size = path.stat().st_size
    if size != entry.bytes:
        raise UserError(
            f"{path}: {size} bytes, its manifest says {entry.bytes}: truncated or changed. Delete it and "
            "run again."
        )
    if sha256_of(path) != entry.sha256:
        raise UserError(
            f"{path}: its content differs from its manifest's sha256: changed after it was written. Delete "
            "it and run again."
        )
    return entry


_checked: dict[Path, tuple[int, int, int]] = {}
_REMEMBERED_FROM_BYTES = 1 << 20
"""Smaller files are checked each time.

The clock of a file system is too coarse to tell two of their versions apart.
"""


def check_content(path: Path) -> None:
    """Check that a table is what its entry says, whenever one is read.

    Those that have none are taken as they are.

    A large file is read once in each process for this, unless it changes.

    Raises
    ------
    UserError
        If it differs; the message says how to have it made again.
    """
    if not entry_path(path).is_file():
        return
    found = path.stat()
    identity = (found.st_ino, found.st_mtime_ns, found.st_size)
    if _checked.get(path) != identity:
        check_entry(path)
        if found.st_size >= _REMEMBERED_FROM_BYTES:
            _checked[path] = identity
