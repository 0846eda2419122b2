"""Geometry hashes for cache keys, canonical atom order, supercells."""

import hashlib
from collections.abc import Sequence

import numpy as np

_DECIMALS = 8
_PER_ANGSTROM = 10.0**_DECIMALS


def geometry_digest(numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> str:
    """Hash of a finite geometry, lengths to 1e-8 Å: 32 hexadecimal digits. The order of atoms counts.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    cell, positions : of any shape, Å
    """
    whole = hashlib.blake2b(np.asarray(numbers).astype("<u1").tobytes(), digest_size=16)
    for lengths in (cell, positions):
        whole.update(np.rint(np.asarray(lengths) * _PER_ANGSTROM).astype("<i8").tobytes())
    return whole.hexdigest()


def repeated(
    numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray, times: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put copies of a whole cell one after the other, so that atom ``i`` of copy ``c`` is atom ``c * n + i``.

    Parameters
    ----------
    numbers : (n,); cell : (3, 3) Å, rows are lattice vectors; positions : (n, 3) Å
    times : how often along each lattice vector

    Returns
    -------
    numbers, cell, positions : of the supercell
    """
    shifts = np.array(list(np.ndindex(*times))) @ cell
    places = (shifts[:, None, :] + positions[None, :, :]).reshape(-1, 3)
    return np.tile(numbers, len(shifts)), cell * np.array(times)[:, None], places


def canonical_order(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the permutation that sorts atoms by element and position (1e-8 Å).

    The same for any order of the same atoms.

    Calculations are made in this order: atom ``i`` of a calculation is atom ``order[i]`` of its row.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    positions : (n, 3) Å
    """
    rounded = np.round(positions, _DECIMALS)
    return np.lexsort((rounded[:, 2], rounded[:, 1], rounded[:, 0], numbers))
