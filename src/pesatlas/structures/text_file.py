"""Text files in various encodings, and the failure row of an unreadable entry."""

import codecs
import gzip
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pesatlas.structures.crystal import Read, Rejected
from pesatlas.structures.crystal_names import sanitised
from pesatlas.tables.schemas import FailureReason

LONGEST_DETAIL = 300
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOISE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning, ImportWarning)
"""Warnings of a library to its programmers; they say nothing of a crystal."""


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in ``.gz``."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def read_text(path: Path) -> tuple[str, list[str]]:
    """Return the text of a file, lines ending in a line feed, and what had to be assumed to read it.

    UTF-8 with or without a byte order mark and UTF-16 with one are known; what is neither is read as
    Windows-1252 or Latin-1, which agree on all that a crystal is made of.
    """
    data = read_bytes(path)
    notes = []
    if data.startswith(_UTF16):
        text = data.decode("utf-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            try:
                text = data.decode("cp1252")
                notes.append("the file is not UTF-8; read as Windows-1252")
            except UnicodeDecodeError:
                text = data.decode("latin-1")
                notes.append("the file is not UTF-8; read as Latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def unreadable(name: str, where: str, error: Exception | str) -> Rejected:
    """Return the failure row of an entry that could not be read."""
    what = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error
    return rejected(name, FailureReason.UNREADABLE, f"{where}: {what}")


def rejected(name: str, reason: FailureReason, detail: str) -> Rejected:
    """Return a failure row, its detail on one line of bearable length."""
    return Rejected(sanitised(name) or "unnamed", reason, " ".join(detail.split())[:LONGEST_DETAIL])


class RefusedError(Exception):
    """An entry is no crystal that can be used: the reason, and the words for it."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        """Keep the reason apart from the words."""
        super().__init__(detail)
        self.reason = reason


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what libraries warn of while one entry is read, each sentence once."""
    warned: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield warned
    for each in caught:
        if not issubclass(each.category, _NOISE):
            sentence = " ".join(str(each.message).split())[:LONGEST_DETAIL]
            if sentence and sentence not in warned:
                warned.append(sentence)


def with_warnings(found: Read, warned: list[str], file: str) -> Read:
    """Add warnings to what was read.

    To a crystal with the file's name, to a failure as the end of its detail.
    """
    if not warned:
        return found
    if isinstance(found, Rejected):
        return replace(found, detail=f"{found.detail} (warned: {'; '.join(warned)})"[: 2 * LONGEST_DETAIL])
    new = tuple(f"{file}: {sentence}" for sentence in warned)
    return replace(found, warnings=tuple(dict.fromkeys((*found.warnings, *new))))
