"""Errors of outputs that labels cannot be read from, and the failures that they are."""

from pathlib import Path

from pesatlas.label.backend import Failed
from pesatlas.tables import FailureReason


class BadOutputError(Exception):
    """A file cannot be understood; trying again would give the same."""


class TornError(BadOutputError):
    """A file ends before its end: the program was stopped, or the file was not copied as a whole."""


def failure_of(error: FileNotFoundError | BadOutputError, program: str) -> Failed:
    """Return the failure of a calculation by ``program`` (VASP, pw.x) whose outputs gave this error."""
    if isinstance(error, FileNotFoundError):
        return Failed(FailureReason.CRASHED, f"{program} wrote no {Path(error.filename).name}")
    if isinstance(error, TornError):
        return Failed(FailureReason.CRASHED, f"truncated output: {error}")
    return Failed(FailureReason.BAD_OUTPUT, str(error))
