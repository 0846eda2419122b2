"""Durable results inside a batch: an append-only file of keyed records with one writer.

A record is one line of JSON (key, length, crc32, time) followed by its payload and a newline. It is on the disk before
``append`` returns. A torn tail (power cut, kill -9) is cut off when the file is next opened for writing and ignored by readers;
a write that fails (full disk) is taken back. The lock is the operating system's: it ends with its owner.

**The newest record of a key counts.** Time is ``at``, nanoseconds of the writer's clock when the record was appended, later than
that of every record before it in the same file. Records of early versions have none: 0, older than any other. Of equal times the
later in the file counts, and between files (see ``store``) the later by the file's name.
"""

import fcntl
import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from pesatlas.errors import UserError
from pesatlas.tables.atomic import sync

log = logging.getLogger(__name__)

_WAIT_MESSAGE_S = 60.0
_MODE = 0o664
"""Never writable by everyone, whatever the umask; two users of one group may share a store if it says so."""
_LATEST = 2**63


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says when ``path`` can't be written into an error for people."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror}). Nothing stored before is lost, and the file is in order. Make room"
            " (free space, a larger quota or file limit; or the right to write there), then run the same command again."
        ) from error


def open_shared(path: Path) -> int:
    """Open or create a file for reading and writing, in a folder that is made if need be; return its descriptor."""
    path.parent.mkdir(mode=0o775, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)


class Lock:
    """An exclusive lock on a file, released by the operating system when its owner dies. Entering it waits."""

    def __init__(self, path: Path, poll_s: float = 0.5) -> None:
        self.path = path
        self.poll_s = poll_s

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting; say whether it was."""
        with _writing(self.path):
            self._descriptor = open_shared(self.path)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            return False
        except BaseException:
            os.close(self._descriptor)
            raise
        return True

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        waited, said = 0.0, -_WAIT_MESSAGE_S
        while not self.acquire():
            if waited - said >= _WAIT_MESSAGE_S:
                log.info("waiting for another job that works on %s", self.path)
                said = waited
            time.sleep(self.poll_s)
            waited += self.poll_s
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Record(NamedTuple):
    """Where a record is: its key, its time (ns), and the bytes it takes from ``offset`` on, header and newline included."""

    key: str
    at: int
    offset: int
    size: int


def encode(key: str, payload: bytes, at: int) -> bytes:
    """Return the bytes of one record."""
    header = {"key": key, "bytes": len(payload), "crc": zlib.crc32(payload), "at": at}
    return json.dumps(header).encode() + b"\n" + payload + b"\n"


def _decode(line: bytes) -> tuple[str, int, int, int] | None:
    """Return (key, payload length, crc, time) of a header, or None if the line is none."""
    try:
        header = json.loads(line)
        key, length, crc, at = header["key"], header["bytes"], header["crc"], header.get("at", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    numbers = all(isinstance(n, int) and 0 <= n < _LATEST for n in (length, crc, at))
    return (key, length, crc, at) if line.endswith(b"\n") and isinstance(key, str) and numbers else None


def records(handle: BinaryIO, start: int = 0) -> Iterator[Record]:
    """Yield every whole record from ``start`` on; stop at a torn tail.

    Payloads are skipped, not read: their checksums are verified by whoever reads them.
    """
    size = os.fstat(handle.fileno()).st_size
    position = start
    while True:
        handle.seek(position)
        line = handle.readline()
        header = _decode(line)
        if header is None:
            return
        key, length, _, at = header
        end = position + len(line) + length + 1
        if end > size:
            return
        yield Record(key, at, position, end - position)
        position = end


def read_payload(descriptor: int, record: Record) -> bytes | None:
    """Read the payload of one record; None unless it is the record of that key, whole and undamaged."""
    line, _, rest = os.pread(descriptor, record.size, record.offset).partition(b"\n")
    header = _decode(line + b"\n")
    payload = rest[:-1]
    if header is None or len(line) + len(rest) + 1 != record.size or not rest.endswith(b"\n"):
        return None
    key, length, crc, _ = header
    return payload if (key, length, crc) == (record.key, len(payload), zlib.crc32(payload)) else None


class Ledger:
    """One append-only file with one writer, as a context manager. Appending waits for the disk.

    Parameters
    ----------
    path : the file
    appended : called with each record once it is on the disk
    """

    def __init__(self, path: Path, appended: Callable[[Record], None] | None = None) -> None:
        self.path = path
        self._appended = appended

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(Lock(self.path.with_name(f"{self.path.name}.lock")))
            with _writing(self.path):
                self._descriptor = open_shared(self.path)
                stack.callback(os.close, self._descriptor)
                sync(self.path.parent)
                self._read()
            self._stack = stack.pop_all()
        return self

    def _read(self) -> None:
        self._index: dict[str, Record] = {}
        self._end = self._at = 0
        with self.path.open("rb") as handle:
            for record in records(handle):
                self._end = record.offset + record.size
                self._at = max(self._at, record.at)
                if read_payload(self._descriptor, record) is None:
                    log.warning(
                        "%s: the record of %s is damaged and will be made again", self.path, record.key
                    )
                elif record.key not in self._index or record.at >= self._index[record.key].at:
                    self._index[record.key] = record
            handle.seek(self._end)
            tail = handle.read()
        if tail:
            self._cut(tail)

    def _cut(self, tail: bytes) -> None:
        """Move what follows the last whole record out of the way; kept aside, for it may be more than a torn write."""
        aside = self.path.with_name(f"{self.path.name}.torn")
        log.warning("%s: cut off a torn tail of %d bytes (kept in %s)", self.path, len(tail), aside.name)
        with os.fdopen(open_shared(aside), "r+b") as handle:
            handle.seek(0, os.SEEK_END)
            handle.write(tail)
        os.ftruncate(self._descriptor, self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def append(self, key: str, payload: bytes) -> None:
        """Write one record durably. It replaces every earlier one of the same key.

        Raises
        ------
        UserError
            If it can't be written (full disk, quota, file limit). The file is then as it was before.
        """
        at = max(time.time_ns(), self._at + 1)
        content = encode(key, payload, at)
        with _writing(self.path):
            try:
                self._write(content)
            except BaseException:
                # what was written in part must not stand before the next record
                os.ftruncate(self._descriptor, self._end)
                raise
        record = Record(key, at, self._end, len(content))
        self._index[key] = record
        self._end += len(content)
        self._at = at
        if self._appended:
            self._appended(record)

    def _write(self, content: bytes) -> None:
        # unbuffered: a buffer that could not be written would be written again when the file is closed
        rest, position = memoryview(content), self._end
        while rest:
            count = os.pwrite(self._descriptor, rest, position)
            rest, position = rest[count:], position + count
        os.fsync(self._descriptor)

    def get(self, key: str) -> bytes | None:
        """Return the payload of ``key``, or None."""
        record = self._index.get(key)
        return read_payload(self._descriptor, record) if record else None

    def __contains__(self, key: object) -> bool:
        return key in self._index
