"""Checks of folders: permissions, free space, working locks."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pesatlas.monitor.check import Check
from pesatlas.monitor.format import size

_ROOM_BYTES = 2e9
_ROOM_FILES = 20_000

_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as handle:
    fcntl.flock(handle, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""
_TRY = """
import fcntl, sys
with open(sys.argv[1], "r+b") as handle:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("refused")
    else:
        print("taken")
"""


def check_folder(what: str, folder: Path, *, private: bool) -> Iterator[Check]:
    """Check ``folder`` or its parent: writable, free space, and, if ``private``, not writable by all."""
    there = _nearest(folder)
    name = f"{what} {folder}"
    if not os.access(there, os.W_OK | os.X_OK):
        yield Check(False, f"{name}: {there} can't be written", f"chmod u+w {there}, or name another folder")
        return
    mode = folder.stat().st_mode if folder.exists() else 0
    if private and mode & stat.S_IWOTH:
        yield Check(False, f"{name} can be written by everybody", f"chmod o-w {folder}")
    disk = shutil.disk_usage(there)
    inodes = os.statvfs(there)
    # some file systems count no inodes
    few = inodes.f_files > 0 and inodes.f_favail < _ROOM_FILES
    if disk.free < _ROOM_BYTES or few:
        left = f"{size(disk.free)} and {inodes.f_favail} files" if few else size(disk.free)
        yield Check(
            False, f"{name}: only {left} free", "make room; `pesatlas plan` estimates how much is needed"
        )
    else:
        yield Check(True, f"{name} can be written, {size(disk.free)} free")


def check_locks(what: str, folder: Path) -> Check:
    """Check that locks in ``folder`` or its parent are exclusive, and free when their holder is killed."""
    there = _nearest(folder)
    name = f"locks in the {what} {folder}"
    remedy = (
        "put it on a file system with working flock (on NFS: mounted without nolock and local_lock; on "
        "Lustre: with -o flock); without locks two jobs may write the same file"
    )
    try:
        with tempfile.TemporaryDirectory(prefix=".pesatlas-doctor-", dir=there) as scratch:
            file = Path(scratch) / "lock"
            file.touch()
            wrong = _try_locks(file)
    except OSError as error:
        return Check(False, f"{name} can't be tried: {error}", remedy)
    return Check(False, f"{name} do not work: {wrong}", remedy) if wrong else Check(True, f"{name} work")


def _try_locks(file: Path) -> str:
    """Test a lock with two processes; return the problem."""
    holder = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout is None or holder.stdout.readline() != "held\n":
            holder.kill()
            return holder.communicate()[1].strip().splitlines()[-1]
        if _try(file) != "refused":
            return "a second process was granted a lock that the first one held"
    finally:
        holder.kill()
        holder.communicate()
    return "" if _try(file) == "taken" else "the lock of a process that was killed is still held"


def _try(file: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TRY, str(file)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _nearest(folder: Path) -> Path:
    """Return ``folder``, or what is there of the way to it."""
    path = folder.absolute()
    while not path.exists():
        path = path.parent
    return path
