"""Named arrays with a description, as an ``.npz`` written whole and without pickles."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesatlas.errors import UserError
from pesatlas.storage.atomic import atomic_path
from pesatlas.tables.manifest import Entry, sha256_of, write_entry
from pesatlas.tables.schemas import SCHEMA_VERSION

_ABOUT = "about"


def write_arrays(path: Path, about: Mapping[str, str], arrays: Mapping[str, ArrayLike]) -> None:
    """Write ``arrays`` and their description ``about`` atomically; then the manifest entry."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **{_ABOUT: np.asarray(json.dumps(dict(about)))}, **arrays)
        size, sha = temporary.stat().st_size, sha256_of(temporary)
    write_entry(path, Entry(path.name, "arrays", SCHEMA_VERSION, 0, size, sha, ""))


def read_arrays(path: Path, what: str, names: list[str]) -> tuple[dict[str, str], dict[str, NDArray]]:
    """Read the arrays ``names``, and what is said of them.

    Raises
    ------
    UserError
        If the file is missing, damaged or lacks one of them; ``what`` says in the message what it should
        hold.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: the stage that writes it has not run.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file[_ABOUT])), {name: file[name] for name in names}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} does not contain {what} ({error}). Delete it and run again.") from error
