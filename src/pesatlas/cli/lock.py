"""One at a time in a campaign's folder: the lock that `pesatlas run` holds, and who holds it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.monitor.head import LOCK_FILE


@contextmanager
def campaign_lock(folder: Path) -> Iterator[int]:
    """Hold the lock of the campaign in ``folder``, and say in its file who does, for those who only look.

    The lock is the operating system's: it ends with the process that holds it, or with the last one that was given the file
    descriptor that this yields.

    Raises
    ------
    UserError
        If another `pesatlas run` of this folder is alive.
    """
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another `pesatlas run` works in {folder.resolve()}. Wait for it, or stop it (Ctrl-C in its terminal)."
            ) from None
        lock.truncate(0)
        with suppress(OSError):  # a full disk stops nobody from holding the lock
            lock.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}))
            lock.flush()
        try:
            yield lock.fileno()
        finally:
            lock.truncate(0)
