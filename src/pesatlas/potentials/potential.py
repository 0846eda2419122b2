"""The interface of a potential: many structures in; energies, forces and stresses out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from pesatlas.atoms.elements import symbol_of
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

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


def batch_of_rows(rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
    """Concatenate rows of a table with geometries into a batch on ``device``."""

    def joined(name: str) -> torch.Tensor:
        return torch.tensor(np.concatenate([np.asarray(row[name]) for row in rows]), device=device)

    return Batch(
        numbers=joined("numbers").to(torch.int64),
        positions=joined("positions_A").reshape(-1, 3),
        cells=joined("cell_A").reshape(-1, 3, 3),
        n_atoms=torch.tensor([row["n_atoms"] for row in rows], device=device),
    )


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


def unknown_elements(potential: Potential, numbers: Iterable[int]) -> Failure | None:
    """Say which elements of a structure a potential does not know, if there are any."""
    unknown = sorted({symbol_of(z) for z in map(int, numbers) if z not in potential.elements})
    if not unknown:
        return None
    detail = f"{potential.name} does not know {', '.join(unknown)}"
    return Failure(FailureReason.UNSUPPORTED_ELEMENT, detail)
