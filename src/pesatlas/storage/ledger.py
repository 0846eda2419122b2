"""Durable results inside a batch: an append-only file of keyed records (see ``records``) with one writer.

A record is on the disk before ``append`` returns. Damage in the middle of the file costs the records that it
hit. What is behind the last sound record (a torn write of a power cut or kill -9) is cut off when the file is
next opened for writing, kept beside it as ``.torn``, and ignored by readers; a write that fails (full disk)
is taken back. The lock is the operating system's: it ends with its owner.

**The newest record of a key counts.** Time is ``at``: nanoseconds of the writer's clock, but always later
than that of every record before it in the same file, and of every record of its key that the writer knows of.
So a record that replaces another is newer, whatever the clocks of their two machines say. Records of early
versions have no time: 0, older than any other. Of equal times the later in the file counts, and between files
(see ``store``) the later by the file's name.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pesatlas.storage.atomic import sync
from pesatlas.storage.records import LATEST, Damage, Record, encode, read_payload, records
from pesatlas.storage.sharing import open_shared, writing

log = logging.getLogger(__name__)

_WAIT_MESSAGE_S = 60.0
TORN = ".torn"
"""End of the name of the file with a ledger's cut-off tails."""


class Lock:
    """An exclusive lock on a file, released by the operating system when its owner dies.

    Entering it waits.
    """

    def __init__(self, path: Path, poll_s: float = 0.5) -> None:
        self.path = path
        self.poll_s = poll_s

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting; say whether it was."""
        with writing(self.path):
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


class Ledger:
    """One append-only file with one writer, as a context manager. Appending waits for the disk.

    Parameters
    ----------
    path : the file
    appended : called with each record once it is on the disk
    newest : called with a key; returns the time of the newest record of it in other files, 0 if there is none
    """

    def __init__(
        self,
        path: Path,
        appended: Callable[[Record], None] | None = None,
        newest: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self.path = path
        self._appended = appended
        self._newest = newest

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(Lock(self.path.with_name(f"{self.path.name}.lock")))
            with writing(self.path):
                self._descriptor = open_shared(self.path)
                stack.callback(os.close, self._descriptor)
                sync(self.path.parent)
                self._read()
            self._stack = stack.pop_all()
        return self

    def _read(self) -> None:
        self._index: dict[str, Record] = {}
        self._end = self._at = 0
        damages: list[Damage] = []
        with self.path.open("rb") as handle:
            for record in records(handle, damaged=damages.append, verify=True):
                self._end = record.offset + record.size
                self._at = max(self._at, record.at)
                if record.key not in self._index or record.at >= self._index[record.key].at:
                    self._index[record.key] = record
            handle.seek(self._end)
            tail = handle.read()
        for damage in damages:
            if damage.start < self._end and damage.key not in self._index:
                log.warning("%s: %s", self.path, damage)
        if tail:
            self._cut(tail)

    def _cut(self, tail: bytes) -> None:
        """Move what follows the last sound record out of the way.

        Kept aside, for it may be more than a torn write.
        """
        aside = self.path.with_name(f"{self.path.name}{TORN}")
        log.warning(
            "%s: cut off an incomplete end of %d bytes (kept in %s): its results are calculated again when "
            "they are needed",
            self.path,
            len(tail),
            aside.name,
        )
        with os.fdopen(open_shared(aside), "r+b") as handle:
            handle.seek(0, os.SEEK_END)
            handle.write(tail)
            handle.flush()
            os.fsync(handle.fileno())
        os.ftruncate(self._descriptor, self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def append(self, key: str, payload: bytes, after: int = 0) -> int:
        """Write one record durably.

        It replaces every earlier one of the same key that is known; return its time.

        Parameters
        ----------
        after : a time that the record's is to be later than, beside those that are known here

        Raises
        ------
        UserError
            If it can't be written (full disk, quota, file limit). The file is then as it was before.
        """
        at = min(max(time.time_ns(), 1 + max(self._at, self._newest(key), after)), LATEST)
        content = encode(key, payload, at)
        with writing(self.path):
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
        return at

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
