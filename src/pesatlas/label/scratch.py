"""Scratch folders on a node's own disk for calculations, removed when the job ends."""

import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = "pesatlas-"


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Make a folder that only this user may enter, and remove it at the end.

    It lies below ``parent``; None: below the system's folder for temporary files.

    A job that is killed cannot clean up: what such jobs left is removed by the next one on the node. A lock,
    which ends with its owner, tells those folders from the ones in use.
    """
    root = Path(tempfile.gettempdir()) if parent is None else parent
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"{_PREFIX}*"):
        _remove_unless_in_use(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        new = folder / ".new"
        with new.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new.replace(_lock_file(folder))  # nobody else sees it before it is locked
            yield folder


def _lock_file(folder: Path) -> Path:
    return folder / ".in-use"


def _remove_unless_in_use(folder: Path) -> None:
    try:
        with _lock_file(folder).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            log.info("removed %s, which a killed job left", folder)
    except OSError:
        return  # in use, somebody else's, or just being made
