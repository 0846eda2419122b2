"""Fill the caches of sources that need a network; later steps need none."""

import hashlib
from functools import cache
from pathlib import Path

from pesatlas.config import plugins
from pesatlas.config.section import digest
from pesatlas.config.structures import Structures
from pesatlas.structures.sources.files import expand

SOURCES = "pesatlas.structures.sources"
FILES_OF_SOURCES = "a file of structures.sources"
"""Name in entries of tables for the files of all sources that they were made of."""


def fetch_structures(settings: Structures) -> None:
    """Let every source that has a ``fetch`` fill its cache.

    Raises
    ------
    UserError
        If a source cannot be fetched; the message says what to do.
    """
    for options in settings.sources:
        fetch = getattr(plugins.find(SOURCES, options.kind), "fetch", None)
        if fetch is not None:
            fetch(options)


def sources_fingerprint(settings: Structures) -> str:
    """Return a hash of the files of sources: names, sizes and times.

    A campaign may have 100,000 of them: too many to be inputs of a rule, one by one. Caches of databases are
    not among them: they appear in the course of the first run, which would look like a change to the second.
    """
    return _state(_inputs(settings))


def content_of_sources(settings: Structures) -> str:
    """Return a hash of the files of sources that does not change when all are copied."""
    files = _inputs(settings)
    return _content(tuple(files), _state(files))


def _inputs(settings: Structures) -> list[Path]:
    files: list[Path] = []
    for options in settings.sources:
        inputs = getattr(plugins.find(SOURCES, options.kind), "inputs", None)
        files += inputs(options) if inputs else []
    return files


def files_fingerprint(paths: list[str]) -> str:
    """Return the same of files, folders and globs.

    Raises
    ------
    UserError
        If there is nothing to read in one.
    """
    return _state([path for text in paths for path in expand(text)])


@cache
def _content(files: tuple[Path, ...], _: str) -> str:
    found = []
    for path in files:
        with path.open("rb") as handle:
            found.append([str(path), hashlib.file_digest(handle, "sha256").hexdigest()])
    return digest(found)


def _state(files: list[Path]) -> str:
    about = [(str(path), path.stat()) for path in files]
    return digest([[name, found.st_size, found.st_mtime_ns] for name, found in about])
