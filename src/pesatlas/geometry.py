"""When two geometries are the same one, for every key that is made of a geometry."""

import hashlib

import numpy as np

_PER_ANGSTROM = 1e8


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
