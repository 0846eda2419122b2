"""Names of crystals: the form of a ``structure_id``, and how text becomes one."""

import hashlib
import re

import numpy as np

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_LONGEST = 64
_HASH = 8


def is_valid(name: str) -> bool:
    """Whether ``name`` can be used in file names, keys and logs as it is."""
    return _VALID.fullmatch(name) is not None


def sanitised(name: str) -> str | None:
    """Return ``name`` if it is valid, else a valid one that ends in a hash of it.

    None if nothing of it is usable.
    """
    if is_valid(name):
        return name
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", name)
    stem = re.sub(r"^[^A-Za-z0-9]+", "", stem).rstrip("-")
    return with_suffix(stem, hashlib.sha256(name.encode()).hexdigest()[:_HASH]) if stem else None


def with_suffix(name: str, suffix: str) -> str:
    """Append ``-suffix``, shortening the name where the whole would be too long."""
    return f"{name[: _LONGEST - 1 - len(suffix)]}-{suffix}"


def geometry_hash(numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> str:
    """Short hash of a geometry as it was read, to 1e-6 Å; equal input gives equal hashes."""
    # adding 0.0 turns -0.0 into 0.0
    parts = [
        np.asarray(numbers, dtype="<i8"),
        *(np.round(x, 6).astype("<f8") + 0.0 for x in (cell, positions)),
    ]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[
        :_HASH
    ]
