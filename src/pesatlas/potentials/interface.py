"""What a potential is to the rest of the project: many structures in, energies, forces and stresses out."""

from dataclasses import dataclass
from typing import Protocol

import torch

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
"""Rows and columns of the components xx yy zz yz xz xy of a stress (3, 3)."""


@dataclass
class Batch:
    """Structures evaluated together; atoms of structure 0 first, then of structure 1, ...

    Attributes
    ----------
    numbers : (N,) int64, atomic numbers
    positions : (N, 3) float64, Å, Cartesian, wrapped or not
    cells : (B, 3, 3) float64, Å, rows are lattice vectors; periodic in all directions
    n_atoms : (B,) int64
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    n_atoms: torch.Tensor


@dataclass
class Evaluation:
    """What a potential says of a ``Batch``, detached, float64, on the batch's device.

    Attributes
    ----------
    energies : (B,) eV
    forces : (N, 3) eV/Å
    stresses : (B, 3, 3) eV/Å³, tension positive, symmetric
    """

    energies: torch.Tensor
    forces: torch.Tensor
    stresses: torch.Tensor


class Potential(Protocol):
    """A loaded potential on a device."""

    name: str
    """Kind and name, as written into every row, e.g. ``chgnet/0.3.0``."""
    weights_hash: str
    """sha256 over the weights."""
    elements: frozenset[int]
    """Atomic numbers it knows."""
    device: torch.device

    def evaluate(self, batch: Batch) -> Evaluation:
        """Energies, forces and stresses of all structures of ``batch``."""
        ...
