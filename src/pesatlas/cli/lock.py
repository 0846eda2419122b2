"""The lock of a campaign's folder: one `pesatlas run` at a time, and which one holds it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.monitor.controlling_process import (
    LOCK_FILE,
    ControllingProcess,
    controller_text,
    read_controller,
)

_PATIENCE_S = 10.0
"""Time for which the lock of a process that was killed, or just ends, may still be held.

Snakemake ends a moment after its parent.
"""
_LOOK_S = 0.1
_ROOM = 1024
"""Bytes in its file, always as many: whoever reads it while it is written finds no half of it."""


class Lock:
    """The lock while it is held, and the record of its holder."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._path, self._descriptor = folder / LOCK_FILE, descriptor
        self.controller = ControllingProcess(socket.gethostname(), os.getpid(), time.time(), alive=True)
        """Host, process and start of this holder: no other has the same."""
        self._said: dict[str, str | float] = {
            "host": self.controller.host,
            "pid": self.controller.pid,
            "since": self.controller.since,
        }

    def fileno(self) -> int:
        """Return the file descriptor; a process that is given it holds the lock too."""
        return self._descriptor

    def note(self, **facts: str | float) -> None:
        """Add to the record of the holder."""
        self._said |= facts
        with suppress(OSError):  # a full disk stops nobody from holding the lock
            os.pwrite(self._descriptor, json.dumps(self._said).ljust(_ROOM).encode(), 0)
            os.ftruncate(self._descriptor, _ROOM)
            os.fsync(self._descriptor)  # other machines see it on a network file system

    def is_lost(self) -> bool:
        """Return whether the lock's file was removed or replaced.

        Then others may hold a lock of that name, and this one protects nothing.
        """
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True
        except OSError:
            return False  # a network file system that does not answer

    def forget(self) -> None:
        """Remove the record of the holder."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)


@contextmanager
def campaign_lock(folder: Path) -> Iterator[Lock]:
    """Hold the lock of the campaign in ``folder``, and say in its file who does, for those who only look.

    The lock is the operating system's: it ends with the process that holds it, or with the last one that was
    given the file descriptor of the lock that this yields.

    Raises
    ------
    UserError
        If another `pesatlas run` of this folder is alive.
    """
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(folder, descriptor)
        lock = Lock(folder, descriptor)
        lock.note()
        try:
            yield lock
        finally:
            lock.forget()
    finally:
        os.close(descriptor)


def _acquire(folder: Path, descriptor: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            controller = read_controller(folder)
            ends = controller is None or controller.alive is False or controller.orphaned
            if not ends or time.monotonic() > deadline:
                raise UserError(refusal(folder, controller)) from None
            time.sleep(_LOOK_S)
        else:
            return


def is_free(folder: Path) -> bool:
    """Return whether the lock of ``folder`` is free.

    It is taken for a moment: not to be asked while a run may be starting.
    """
    with (folder / LOCK_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def refusal(folder: Path, controller: ControllingProcess | None) -> str:
    """Return why the folder is not free, and what can be done."""
    where = folder.resolve()
    if controller is None or (controller.alive is False and not controller.orphaned):
        return (
            f"another `pesatlas run` works in {where}: the lock {LOCK_FILE} is held by a process that its "
            f"file does not name. `fuser -v {LOCK_FILE}` on the machine of that process shows it; end it, "
            "then try again."
        )
    text = f"another `pesatlas run` works in {where}: {controller_text(controller)}."
    if controller.alive is None:
        return (
            f"{text} Wait for it; or `pesatlas stop` ends it from here, and `pesatlas run --take-over` ends "
            f"it and continues. If {controller.host} is gone for good and its lock is held nevertheless, "
            f"move the file of the lock away: mv {LOCK_FILE} {LOCK_FILE}.old"
        )
    return (
        f"{text} Wait for it; or `pesatlas stop` ends it (quietly; at once: `--now`), and `pesatlas run "
        "--take-over` ends it and continues."
    )
