"""Turn exceptions into messages with a remedy; re-raise bugs."""

import errno

from pesatlas.errors import UserError
from pesatlas.runtime.extras import missing_extra

_NO_RIGHT = "Name another place, or ask for the right"
_FULL = "Make room and run the same command again: finished work is kept"
_REMEDIES = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "Name a place that can be written to",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENOTDIR: "A part of it is a file. Correct the path",
    errno.EISDIR: "Name a file",
    errno.ENOENT: "Correct the path",
    errno.EEXIST: "Name another path, or move the existing file away",
    errno.ESTALE: "Do it again",
    errno.EIO: "Run the same command again; if it fails again, tell the administrator of the disk",
}


def message_for_people(error: Exception) -> str | None:
    """Return problem, place and remedy of an exception; None for a bug of this program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}. {_REMEDIES[error.errno]}."
        if _REMEDIES[error.errno] == _FULL:  # writing to an open file names none
            return f"{error.strerror}. {_FULL}."
    if type(error).__module__.startswith("pyarrow"):
        return f"a table cannot be read ({error}). `pesatlas verify` with its folder of results names it."
    return missing_extra(error)
