"""Index of a store's records: sorted arrays in memory, and one file that saves reading all ledgers.

Keys are hashed to 16 bytes. Every record has a place, superseded ones too: when a ledger is taken away, the
newest record of what remains counts. 44 bytes a record, on the disk and in memory.
"""

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from pesatlas.storage.records import Record
from pesatlas.storage.sharing import open_shared

_FORMAT = "pesatlas store index 1"
_COLUMNS = {"high": "<u8", "low": "<u8", "at": "<i8", "offset": "<i8", "size": "<i8", "ledger": "<i4"}
_ROW_BYTES = sum(np.dtype(kind).itemsize for kind in _COLUMNS.values())


@dataclass
class LedgerCoverage:
    """How much of one ledger is accounted for.

    Its number in the places, its inode, the end of the last record, a tail_checksum.
    """

    number: int
    inode: int = 0
    end: int = 0
    tail_checksum: int = 0


class RecordIndex:
    """RecordIndex of records, sorted by the hash of their keys. Not changed once made."""

    def __init__(self, columns: dict[str, np.ndarray] | None = None) -> None:
        self._columns = columns or {name: np.empty(0, kind) for name, kind in _COLUMNS.items()}

    def __len__(self) -> int:
        return len(self._columns["high"])

    @classmethod
    def of(cls, records: Sequence[Record], ledger: int) -> Self:
        """Return the places of records of one ledger, given by its number."""
        hashes = np.frombuffer(b"".join(_hash(record.key) for record in records), "<u8").reshape(-1, 2)
        columns = {
            "high": hashes[:, 0],
            "low": hashes[:, 1],
            "at": [record.at for record in records],
            "offset": [record.offset for record in records],
            "size": [record.size for record in records],
            "ledger": np.full(len(records), ledger),
        }
        order = np.argsort(hashes[:, 0], kind="stable")
        return cls({name: np.array(columns[name], kind)[order] for name, kind in _COLUMNS.items()})

    @classmethod
    def merged(cls, parts: Iterable["RecordIndex"]) -> "RecordIndex":
        """Return all places of ``parts``."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls()
        order = np.argsort(np.concatenate([part._columns["high"] for part in parts]), kind="stable")  # noqa: SLF001 - its own kind
        return cls(
            {name: np.concatenate([part._columns[name] for part in parts])[order] for name in _COLUMNS}  # noqa: SLF001 - as above
        )

    def without(self, ledger: int) -> "RecordIndex":
        """Return the places that are not in ``ledger``."""
        kept = self._columns["ledger"] != ledger
        return (
            self
            if kept.all()
            else RecordIndex({name: column[kept] for name, column in self._columns.items()})
        )

    def find(self, key: str) -> list[tuple[int, int, int, int]]:
        """Return (time, ledger, offset, size) of every record of ``key``."""
        high, low = np.frombuffer(_hash(key), "<u8")
        first = np.searchsorted(self._columns["high"], high)
        last = np.searchsorted(self._columns["high"], high, side="right")
        rows = [row for row in range(first, last) if self._columns["low"][row] == low]
        columns = [self._columns[name] for name in ("at", "ledger", "offset", "size")]
        return [tuple(int(column[row]) for column in columns) for row in rows]  # type: ignore[misc]

    def save(self, path: Path, covers: dict[str, LedgerCoverage]) -> None:
        """Write the index file. Only one process may do so at a time.

        Readers see the old file or the new one.
        """
        covered = [
            (name, cover.number, cover.inode, cover.end, cover.tail_checksum)
            for name, cover in covers.items()
        ]
        table = json.dumps(covered).encode() + b"\n"
        temporary = path.with_name(f"{path.name}.new")
        descriptor = open_shared(temporary)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.truncate()
                handle.write(f"{_FORMAT} {_checksum(table, self._columns):08x}\n".encode() + table)
                for column in self._columns.values():
                    handle.write(column.tobytes())
                handle.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def load(path: Path) -> tuple[RecordIndex, dict[str, LedgerCoverage]]:
    """Read the index file; nothing is known if there is none, or none that this version wrote whole."""
    try:
        with path.open("rb") as handle:
            return _load(handle) or (RecordIndex(), {})
    except OSError:
        return RecordIndex(), {}


def _load(handle: BinaryIO) -> tuple[RecordIndex, dict[str, LedgerCoverage]] | None:
    head, table = handle.readline(), handle.readline()
    count = (os.fstat(handle.fileno()).st_size - handle.tell()) // _ROW_BYTES
    columns = {name: np.fromfile(handle, kind, count) for name, kind in _COLUMNS.items()}
    checksum = _checksum(table, columns)
    if head != f"{_FORMAT} {checksum:08x}\n".encode() or handle.read(1):
        return None
    return RecordIndex(columns), {name: LedgerCoverage(*numbers) for name, *numbers in json.loads(table)}


def _hash(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).digest()


def _checksum(table: bytes, columns: dict[str, np.ndarray]) -> int:
    checksum = zlib.crc32(table)
    for column in columns.values():
        checksum = zlib.crc32(column.tobytes(), checksum)
    return checksum
