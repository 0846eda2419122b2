"""The interface of a potential: many structures in; energies, forces and stresses out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch

from pesatlas.atoms.elements import symbol_of
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
"""Rows and columns of the components xx yy zz yz xz xy of a stress (3, 3)."""


class Layout:
    """The places of the atoms of each structure, as the host knows them: it need not ask the device.

    Parameters
    ----------
    counts : (B,) int64, atoms of each structure
    device : where the structures are
    steady : whether the same structures will be evaluated many times: what was found out of their sizes is
        kept then, and may prove too small later (``Evaluation.sound``)

    Attributes
    ----------
    kept : what is kept, by what it is for
    """

    def __init__(self, counts: np.ndarray, device: torch.device, *, steady: bool = False) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.device = device
        self.steady = steady
        self.kept: dict[Any, Any] = {}

    @property
    def atoms(self) -> int:
        """Atoms in all."""
        return int(self.counts.sum())

    @cached_property
    def owner(self) -> torch.Tensor:
        """(N,) structure of each atom."""
        return repeat_places(self.counts, self.device)

    @cached_property
    def degrees_of_freedom(self) -> torch.Tensor:
        """(B,) kinetic degrees of freedom, 3n-3, of atoms whose centre of mass is at rest."""
        return torch.as_tensor(3.0 * self.counts - 3, device=self.device)

    def atoms_of(self, structures: np.ndarray) -> np.ndarray:
        """Return the places of the atoms of some structures, one structure after the other."""
        counts = self.counts[structures]
        begins = np.cumsum(counts) - counts
        return np.arange(counts.sum()) + np.repeat(self.starts[structures] - begins, counts)


def repeat_places(counts: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return each place 0, 1, ... as often as ``counts`` says, on ``device``."""
    return torch.repeat_interleave(
        torch.arange(len(counts), device=device),
        torch.as_tensor(counts, device=device),
        output_size=int(counts.sum()),
    )


@dataclass
class Batch:
    """Structures evaluated together; atoms of structure 0 first, then of structure 1, ...

    Attributes
    ----------
    numbers : (N,) int64, atomic numbers
    positions : (N, 3) float64, Å, Cartesian, wrapped or not
    cells : (B, 3, 3) float64, Å, rows are lattice vectors; periodic in all directions
    n_atoms : (B,) int64
    known : what the host knows of ``n_atoms``; None: it has to look
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    cells: torch.Tensor
    n_atoms: torch.Tensor
    known: Layout | None = None

    @property
    def layout(self) -> Layout:
        """The places of the atoms of each structure."""
        if self.known is None:
            self.known = Layout(self.n_atoms.cpu().numpy(), self.positions.device)
        return self.known


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
    """Predictions of a potential for a ``Batch``, detached, float64, on the batch's device.

    Attributes
    ----------
    energies : (B,) eV
    forces : (N, 3) eV/Å
    stresses : (B, 3, 3) eV/Å³, tension positive, symmetric
    sound : () bool, on the device: false if more was needed than a steady ``Layout`` had kept room for, and
        everything else means nothing; None where it cannot happen
    """

    energies: torch.Tensor
    forces: torch.Tensor
    stresses: torch.Tensor
    sound: "torch.Tensor | None" = None


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
    """Return the failure of a structure with elements unknown to a potential, if any."""
    unknown = sorted({symbol_of(z) for z in map(int, numbers) if z not in potential.elements})
    if not unknown:
        return None
    detail = f"{potential.name} does not know {', '.join(unknown)}"
    return Failure(FailureReason.UNSUPPORTED_ELEMENT, detail)
