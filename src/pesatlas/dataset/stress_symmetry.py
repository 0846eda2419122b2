"""Space groups, and the deviation of a stress from the symmetry of its crystal."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from numpy.typing import NDArray

PRECISION_A = 1e-3
"""Positions that differ by less are the same for a symmetry (Å)."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Symmetry:
    """Symmetry of one geometry.

    Attributes
    ----------
    number, symbol : of the space group; 0 and "" if spglib finds none
    rotations : (m, 3, 3) Cartesian matrices of its point group
    """

    number: int
    symbol: str
    rotations: NDArray[np.float64]


def symmetry_of(numbers: NDArray[np.int_], cell: NDArray, positions: NDArray) -> Symmetry:
    """Return the symmetry of a crystal, found by spglib at ``PRECISION_A``.

    Parameters
    ----------
    numbers : (n,) atomic numbers; atoms with different magnetic moments may be given different numbers
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å, Cartesian
    """
    fractional = positions @ np.linalg.inv(cell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            crystal: Any = (cell, fractional, numbers)  # spglib's types ask for lists, it takes arrays
            found = spglib.get_symmetry_dataset(crystal, symprec=PRECISION_A)
        except spglib.SpglibError:
            found = None
    if found is None:
        return Symmetry(0, "", np.eye(3)[None])
    unique = np.unique(found.rotations, axis=0).astype(float)
    return Symmetry(int(found.number), str(found.international), cell.T @ unique @ np.linalg.inv(cell.T))


def asymmetry(stress: NDArray, rotations: NDArray[np.float64]) -> float:
    """Return the largest change of a component of ``stress`` (6, Voigt) under ``rotations`` (m, 3, 3)."""
    if len(rotations) == 1:
        return 0.0
    tensor = np.empty((3, 3))
    for value, (i, j) in zip(stress, _VOIGT, strict=True):
        tensor[i, j] = tensor[j, i] = value
    return float(np.abs(rotations @ tensor @ np.swapaxes(rotations, 1, 2) - tensor).max())
