"""Crystals from files of the user: single files, folders, globs."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from pesatlas.config.section import Runtime, Section
from pesatlas.errors import UserError
from pesatlas.structures import readers
from pesatlas.structures.crystal import Read
from pesatlas.tables.failures import BESIDE
from pesatlas.tables.manifest import SUFFIX

log = logging.getLogger(__name__)


class Options(Section):
    """Options of the source ``files``."""

    kind: Literal["files"] = Field("files", description="files, folders and globs")
    paths: list[str] = Field(
        min_length=1,
        description="files, folders (with all below them) and globs such as cells/**/*.cif, relative to the "
        "working "
        "directory; "
        f"formats: {readers.FORMATS}",
    )
    licence: str | None = Runtime(
        None,
        min_length=1,
        description="licence of these files, for the dataset's card, e.g. CC-BY-4.0; null: not stated",
    )


def licence(options: Options) -> str:
    """Return the licence of the files, as far as their user says it."""
    return options.licence or "not stated: that of the user's files"


def check(options: Options) -> None:
    """Raise a UserError for a missing path, or a folder or glob without a readable file."""
    for text in options.paths:
        expand(text)


def load(options: Options) -> Iterator[Read]:
    """Yield the crystals of every file, files in alphabetical order; a file named twice is read once."""
    for path in inputs(options):
        yield from readers.read_file(path)


def inputs(options: Options) -> list[Path]:
    """Return the files that will be read, each once, in the order in which they are."""
    return list(dict.fromkeys(path for text in options.paths for path in expand(text)))


def expand(text: str) -> list[Path]:
    """Return the readable files that one entry of ``paths`` means, sorted.

    Raises
    ------
    UserError
        If there are none.
    """
    path = Path(text).expanduser()
    if path.is_file():
        if readers.format_of(path) is None:
            raise UserError(
                f"paths: '{text}' has no known format. Known: {readers.FORMATS}. Rename or convert it."
            )
        return [path]
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_file()]
        what = "is a folder"
    elif any(sign in text for sign in "*?["):
        anchor = Path(path.anchor or ".")
        found = [p for p in anchor.glob(str(path.relative_to(path.anchor))) if p.is_file()]
        what = f"matches {len(found)} files"
    else:
        raise UserError(
            f"paths: '{text}' does not exist (looked from the working directory {Path.cwd()}). Correct the "
            "path."
        )
    # names that start with a dot are hidden, and temporary files of this program among them
    visible = [p for p in found if not any(part.startswith(".") and part != ".." for part in p.parts)]
    tables = [p for p in visible if not p.name.endswith((SUFFIX, BESIDE))]
    files = sorted(p for p in tables if readers.format_of(p) is not None)
    if not files:
        raise UserError(
            f"paths: '{text}' {what}, and none of them has a known format. Known: {readers.FORMATS}. "
            "Correct the path."
        )
    if len(files) < len(found):
        log.info(
            "paths: '%s': %d files read, %d of other kinds left alone",
            text,
            len(files),
            len(found) - len(files),
        )
    return files
