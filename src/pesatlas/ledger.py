"""Durable results inside a batch: an append-only file of keyed records, and a store made of such files.

A record is one line of JSON (key, length, crc32) followed by its payload and a newline. It is on the disk before
``append`` returns. A torn tail (power cut, kill -9, full disk) is cut off when the file is next opened for writing and
ignored by readers. The lock is the operating system's: it ends with its owner.
"""

import fcntl
import json
import logging
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pesatlas.errors import UserError

log = logging.getLogger(__name__)

_WAIT_MESSAGE_S = 60.0


class Lock:
    """An exclusive lock on a file, waited for, released by the operating system when its owner dies."""

    def __init__(self, path: Path, poll_s: float = 0.5) -> None:
        self.path = path
        self.poll_s = poll_s

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self.path.open("a+b")
        waited, said = 0.0, -_WAIT_MESSAGE_S
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waited - said >= _WAIT_MESSAGE_S:
                    log.info("waiting for another job that works on %s", self.path)
                    said = waited
                time.sleep(self.poll_s)
                waited += self.poll_s
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()


def records(handle: BinaryIO, start: int = 0) -> Iterator[tuple[str, int, int, int]]:
    """Yield (key, payload offset, length, crc) of every whole record from ``start`` on; stop at a torn tail.

    Payloads are skipped, not read: their checksums are verified by whoever reads them.
    """
    size = os.fstat(handle.fileno()).st_size
    position = start
    while True:
        handle.seek(position)
        line = handle.readline()
        try:
            header = json.loads(line)
            key, length, crc = header["key"], header["bytes"], header["crc"]
        except (ValueError, KeyError, TypeError):
            return
        offset = position + len(line)
        end = offset + length + 1
        if not line.endswith(b"\n") or end > size:
            return
        yield key, offset, length, crc
        position = end


def read_payload(handle: BinaryIO, offset: int, length: int, crc: int) -> bytes | None:
    """Read one payload; None if it does not match its checksum."""
    handle.seek(offset)
    payload = handle.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == crc else None


class Ledger:
    """One append-only file with one writer, as a context manager. Appending waits for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock(path.with_name(f"{path.name}.lock"))

    def __enter__(self) -> Self:
        self._lock.__enter__()
        self._handle = self.path.open("a+b")
        self._index: dict[str, tuple[int, int, int]] = {}
        end = 0
        for key, offset, length, crc in records(self._handle):
            end = offset + length + 1
            if read_payload(self._handle, offset, length, crc) is None:
                log.warning("%s: the record of %s is damaged and will be made again", self.path, key)
            else:
                self._index[key] = (offset, length, crc)
        self._cut_tail(end)
        return self

    def _cut_tail(self, end: int) -> None:
        """Move what follows the last whole record out of the way; kept aside, for it may be more than a torn write."""
        self._handle.seek(end)
        tail = self._handle.read()
        if tail:
            aside = self.path.with_name(f"{self.path.name}.torn")
            log.warning("%s: cut off a torn tail of %d bytes (kept in %s)", self.path, len(tail), aside.name)
            with aside.open("ab") as handle:
                handle.write(tail)
            self._handle.truncate(end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()
        self._lock.__exit__(kind, error, trace)

    def append(self, key: str, payload: bytes) -> None:
        """Write one record durably. A later record of the same key replaces the earlier one."""
        crc = zlib.crc32(payload)
        header = json.dumps({"key": key, "bytes": len(payload), "crc": crc}).encode() + b"\n"
        self._handle.seek(0, os.SEEK_END)
        offset = self._handle.tell() + len(header)
        self._handle.write(header + payload + b"\n")
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._index[key] = (offset, len(payload), crc)

    def get(self, key: str) -> bytes | None:
        """Return the payload of ``key``, or None."""
        place = self._index.get(key)
        return read_payload(self._handle, *place) if place else None

    def __contains__(self, key: object) -> bool:
        return key in self._index


class Store:
    """Results addressed by content, in a folder of ledgers that campaigns may share.

    Each writer appends to a segment of its own (``writer``); ``get`` looks in all of them. Which segment holds a key is of
    no consequence: the key is a hash of everything that decides the result.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, int, int, int]] = {}
        self._read_to: dict[Path, int] = {}

    def writer(self, segment: str) -> Ledger:
        """Return the ledger of ``segment`` (letters, digits, ``-`` and ``_``) for writing; it has one writer at a time."""
        if not segment.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"segment name {segment!r}")
        return Ledger(self.folder / f"{segment}.ledger")

    def refresh(self) -> None:
        """Take notice of what others have written since the last look."""
        for path in sorted(self.folder.glob("*.ledger")):
            with path.open("rb") as handle:
                for key, offset, length, crc in records(handle, self._read_to.get(path, 0)):
                    self._places[key] = (path, offset, length, crc)
                    self._read_to[path] = offset + length + 1

    def get(self, key: str) -> bytes | None:
        """Return the payload of ``key`` as known at the last ``refresh``, or None.

        Raises
        ------
        UserError
            If the record is there but does not match its checksum.
        """
        place = self._places.get(key)
        if place is None:
            return None
        path, offset, length, crc = place
        with path.open("rb") as handle:
            payload = read_payload(handle, offset, length, crc)
        if payload is None:
            raise UserError(
                f"{path}: the record of {key} is damaged. Move the file away and run again; what it held is computed again."
            )
        return payload

    def keys(self) -> set[str]:
        """Keys known at the last ``refresh``."""
        return set(self._places)
