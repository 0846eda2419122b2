"""Atomic file writes: temporary name, fsync, rename.

A process locks its temporary file while it writes. One that nobody holds was left by a process that was
killed: whoever writes the same file next removes it.
"""

import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Asked for once, before there are threads: the only way to read it is to change it.
_UMASK = os.umask(0o022)
os.umask(_UMASK)
_MODE = 0o664 & ~_UMASK
"""mkstemp makes files private.

Results are shared within a group as the umask allows, and never written by everyone.
"""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it becomes ``path``, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        _remove_if_left(left)
    descriptor, temporary = _locked_temporary(path)
    try:
        yield temporary
        temporary.chmod(_MODE)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _locked_temporary(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside ``path`` and lock it.

    Return its descriptor, which holds the lock, and its path.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with suppress(OSError):  # a file system without locks: then nobody can lock it to remove it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # another process found it before it was locked


def _remove_if_left(temporary: Path) -> None:
    """Remove a temporary file unless a process writes it, it is somebody else's, or it cannot be known."""
    try:
        descriptor = os.open(temporary, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
