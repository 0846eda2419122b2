"""Files shared by a Unix group: permissions, and messages where they are wrong.

A folder with the setgid bit that its group may write to is shared: what is made in it stays with the group,
and the group may write to it too, whatever the umask. Nothing is ever writable by everyone.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pesatlas.errors import UserError

_FILE = 0o664
_FOLDER = 0o775
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def open_shared(path: Path) -> int:
    """Open or create a file for reading and writing, in a folder that is made if need be.

    Return its descriptor.
    """
    make_folder(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, _FILE)
    except FileExistsError:
        return os.open(path, flags, _FILE)
    if _is_shared(path.parent):
        os.fchmod(descriptor, _FILE)
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=_FOLDER, exist_ok=True)
    if _is_shared(path.parent):
        with suppress(PermissionError):  # somebody else was faster, and did it
            path.chmod(_FOLDER | stat.S_ISGID)


def _is_shared(folder: Path) -> bool:
    mode = folder.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says when ``path`` can't be written into an error for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise UserError(_refusal(path, error, os.W_OK)) from error
        remedy = "Run the same command again; if it fails again, tell the administrator of the disk."
        if error.errno in _FULL:
            remedy = "Make room (free space, a larger quota or file limit), then run the same command again."
        raise UserError(
            f"{path} could not be written ({error.strerror}). Nothing stored before is lost, and the file "
            f"is intact. {remedy}"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to read ``path`` into an error for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise UserError(_refusal(path, error, os.R_OK)) from error
        raise


def _refusal(path: Path, error: OSError, access: int) -> str:
    """Return owner and mode of the obstacle, and the ways to share a store."""
    what = "written" if access == os.W_OK else "read"
    obstacle = _obstacle(path, access)
    said = f"{path} may not be {what} ({error.strerror})"
    with suppress(OSError):
        found = obstacle.stat()
        said += (
            f": {obstacle} belongs to {_user(found.st_uid)}, group {_group(found.st_gid)}, mode "
            f"{stat.filemode(found.st_mode)}, and this is {_user(os.geteuid())}"
        )
    return (
        f"{said}. If a store is to be shared, there are two ways. Writing together: its owner runs once "
        "`chgrp -R GROUP STORE; chmod -R g+rwX STORE; find STORE -type d -exec chmod g+s {} +`, with a "
        "group of which all are members; new files then belong to the group. Or only reading it: its owner "
        "runs `chmod -R g+rX STORE`; set campaign.store to a folder of your own, and campaign.read_stores "
        "to theirs."
    )


def _obstacle(path: Path, access: int) -> Path:
    """Return what is in the way.

    A folder that may not be entered, the file, or the folder in which it can't be made.
    """
    nearest = Path(path.anchor or ".")
    for part in (*reversed(path.parents), path):
        try:
            found = part.stat()
        except OSError:
            break
        nearest = part
        if stat.S_ISDIR(found.st_mode) and not _may(part, os.X_OK):
            return part
    if nearest == path and _may(path, access) and not stat.S_ISDIR(path.stat().st_mode):
        return path.parent
    return nearest


def _may(path: Path, access: int) -> bool:
    return os.access(path, access, effective_ids=os.access in os.supports_effective_ids)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"number {number}"
