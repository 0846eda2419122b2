"""Named arrays with a description (``.npz``) and single ones (``.npy``), each written whole, no pickles."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pesatlas.errors import UserError
from pesatlas.storage.atomic import atomic_path
from pesatlas.tables.manifest import Entry, check_content, sha256_of, write_entry
from pesatlas.tables.schemas import SCHEMA_VERSION

_ABOUT = "about"


def write_arrays(path: Path, about: Mapping[str, str], arrays: Mapping[str, ArrayLike]) -> None:
    """Write ``arrays`` and their description ``about`` atomically; then the manifest entry."""
    described = {_ABOUT: np.asarray(json.dumps(dict(about))), **arrays}
    _write(path, lambda handle: np.savez(handle, allow_pickle=False, **described))


def write_array(path: Path, array: NDArray) -> None:
    """Write one array as an ``.npy`` atomically, which a reader may map; then the manifest entry."""
    _write(path, lambda handle: np.save(handle, array, allow_pickle=False))


def _write(path: Path, save: Callable[[BinaryIO], None]) -> None:
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            save(handle)
        size, sha = temporary.stat().st_size, sha256_of(temporary)
    write_entry(path, Entry(path.name, "arrays", SCHEMA_VERSION, 0, size, sha, ""))


def map_array(path: Path) -> NDArray:
    """Map an ``.npy`` into memory.

    Raises
    ------
    UserError
        If it is not what its manifest entry says.
    """
    check_content(path)
    array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


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
