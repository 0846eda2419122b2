"""A manifest entry beside every table file: rows, bytes, sha256, and what its stage counted."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.tables.atomic import write_text


@dataclass(frozen=True)
class Entry:
    """What is known of one table file. ``counts`` is what conservation is checked with downstream."""

    file: str
    table: str
    schema_version: int
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    counts: dict[str, int] = field(default_factory=dict)


SUFFIX = ".manifest.json"
"""What the manifest entry of a table is called beyond its name."""


def entry_path(path: Path) -> Path:
    """Where the entry of the table file ``path`` lies."""
    return path.with_name(f"{path.name}{SUFFIX}")


def write_entry(path: Path, entry: Entry) -> None:
    """Write the entry of ``path`` atomically."""
    write_text(entry_path(path), json.dumps(asdict(entry), indent=1, sort_keys=True) + "\n")


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
            f"{path} has no manifest entry ({where.name}): it was not written to its end. Delete {path} and run again."
        )
    return Entry(**json.loads(where.read_text(encoding="utf-8")))


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
    size = path.stat().st_size
    if size != entry.bytes:
        raise UserError(
            f"{path}: {size} bytes, its manifest says {entry.bytes}: truncated or changed. Delete it and run again."
        )
    if sha256_of(path) != entry.sha256:
        raise UserError(
            f"{path}: its content differs from its manifest's sha256: changed after it was written. Delete it and run again."
        )
    return entry
