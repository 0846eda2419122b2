"""Analytic potentials, and an evaluator for them."""

import hashlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from vesin import NeighborList

from pesatlas.benchmark.benchmarked import BenchmarkedPotential
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.config.benchmark import PROPERTIES
from pesatlas.config.plugins import find
from pesatlas.potentials.potential import Batch, Evaluation


class Analytic:
    """Base: energies by a formula in ``energies_of``, forces and stresses by differentiating it."""

    elements = frozenset(range(1, 95))
    device = torch.device("cpu")

    name = "analytic"

    def __init__(self) -> None:
        self.evaluated = 0

    @property
    def weights_hash(self) -> str:
        """Hash of its name."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def energies_of(
        self, positions: torch.Tensor, cells: torch.Tensor, owner: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Return the energies of all structures; ``owner`` is the structure of each atom."""
        raise NotImplementedError

    def evaluate(self, batch: Batch) -> Evaluation:
        """Energies, forces and stresses."""
        self.evaluated += len(batch.n_atoms)
        owner = torch.repeat_interleave(torch.arange(len(batch.n_atoms)), batch.n_atoms)
        strain = torch.zeros_like(batch.cells, requires_grad=True)
        positions = batch.positions.clone().requires_grad_()
        deform = torch.eye(3, dtype=torch.float64) + 0.5 * (strain + strain.mT)
        moved = (positions[:, :, None] * deform[owner]).sum(1)
        energies = self.energies_of(moved, batch.cells @ deform, owner, batch)
        dr, de = torch.autograd.grad(energies.sum(), (positions, strain), materialize_grads=True)
        return Evaluation(energies.detach(), -dr, de / torch.linalg.det(batch.cells).abs()[:, None, None])


class LennardJones(Analytic):
    """Argon, cut off smoothly at 2.5 sigma."""

    name = "analytic/argon"
    epsilon, sigma, cutoff = 0.0104, 3.4, 8.5

    def crystal(
        self, repeat: int = 1, length: float = 5.3
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Numbers, cell and positions of an fcc crystal."""
        corners = np.stack(np.meshgrid(*[range(repeat)] * 3, indexing="ij"), -1).reshape(-1, 3)
        basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        positions = (corners[:, None] + basis).reshape(-1, 3) * length
        return np.full(len(positions), 18, dtype=np.uint8), np.eye(3) * repeat * length, positions

    def energies_of(
        self, positions: torch.Tensor, cells: torch.Tensor, owner: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Sum over pairs, one structure after the other."""
        del owner
        pieces = []
        ends = [0, *batch.n_atoms.cumsum(0).tolist()]
        for b, (start, stop) in enumerate(itertools.pairwise(ends)):
            mine, cell = positions[start:stop], cells[b]
            points, box = mine.detach().numpy(), cell.detach().numpy()
            points = points - np.floor(points @ np.linalg.inv(box)) @ box
            wrap = torch.as_tensor(np.rint((points - mine.detach().numpy()) @ np.linalg.inv(box)))
            neighbours = NeighborList(cutoff=self.cutoff, full_list=False, n_threads=1)
            found = neighbours.compute(points=points, box=box, periodic=True, quantities="ijS")
            i, j = (torch.as_tensor(each.astype(int)) for each in found[:2])
            shifts = torch.as_tensor(found[2], dtype=torch.float64) + wrap[j] - wrap[i]
            squared = (mine[j] - mine[i] + shifts @ cell).square().sum(1)
            x = (self.sigma**2 / squared) ** 3
            smooth = (1 - squared / self.cutoff**2).clamp(min=0) ** 2
            pieces.append((4 * self.epsilon * (x * x - x) * smooth).sum())
        return torch.stack(pieces)


def benchmarked(name: str = "analytic", **settings: Any) -> BenchmarkedPotential:
    """Return an analytic potential to benchmark."""
    return BenchmarkedPotential(
        name, SimpleNamespace(identity=lambda: {"kind": "analytic"}), corrected=False, **settings
    )


def measured(
    potential: Any,
    kind: str,
    folder: Path,
    *,
    atoms_per_chunk: int = 64,
    share: slice = slice(None),
    sources: Sources | None = None,
    who: BenchmarkedPotential | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return rows of scores of ``potential``, from the files of ``folder``."""
    from pesatlas.benchmark.measure import Workspace, measure

    return measure(
        who or benchmarked(),
        potential,
        find(PROPERTIES, kind).Options(**options),
        sources or Sources(folder),
        Workspace(folder / "store", folder / "work", atoms_per_chunk),
        share=share,
    )


def entry(name: str, crystal: Any, **references: Any) -> dict[str, Any]:
    """Return an entry as matcalc has them."""
    from pymatgen.core import Structure

    numbers, cell, positions = crystal
    structure = Structure(cell, numbers.tolist(), positions, coords_are_cartesian=True)
    return {"material_id": name, "formula": structure.formula, "structure": structure.as_dict(), **references}
