"""The interface of an encoder: frames in, vectors out."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Frame(NamedTuple):
    """One periodic structure.

    Attributes
    ----------
    numbers : (n,) integers, atomic numbers
    positions : (n, 3) float64, Å, Cartesian, wrapped or not
    cell : (3, 3) float64, Å, rows are lattice vectors
    """

    numbers: NDArray[np.integer]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]


class Encoder(Protocol):
    """A loaded encoder on a device. Its vectors do not change when a frame is shifted, turned or repeated."""

    name: str
    """Kind and name, e.g. ``chgnet/0.3.0``."""
    weights_hash: str
    """sha256 over the weights."""
    structure_dim: int
    """Length D of a structure's vector."""
    atom_dim: int
    """Length d of an atom's vector."""
    elements: frozenset[int]
    """Atomic numbers it knows."""

    def encode(self, frames: list[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the structures (B, D) and of all their atoms (N, d), in the order of ``frames``."""
        ...
