"""Potentials whose thermodynamics are known exactly, and one crystal of them, for tests of the dynamics."""

import hashlib
import itertools

import numpy as np
import torch
from vesin import NeighborList

from pesatlas.potentials.interface import Batch, Evaluation


class Analytic:
    """Base: energies by a formula in ``energies_of``, forces and stresses by differentiating it."""

    elements = frozenset(range(1, 95))
    device = torch.device("cpu")

    name = "analytic"

    def __init__(self):
        self.evaluated = 0

    @property
    def weights_hash(self):
        return hashlib.sha256(self.name.encode()).hexdigest()

    def evaluate(self, batch: Batch) -> Evaluation:
        self.evaluated += len(batch.n_atoms)
        owner = torch.repeat_interleave(torch.arange(len(batch.n_atoms)), batch.n_atoms)
        strain = torch.zeros_like(batch.cells, requires_grad=True)
        positions = batch.positions.clone().requires_grad_()
        deform = torch.eye(3, dtype=torch.float64) + 0.5 * (strain + strain.mT)
        moved = (positions[:, :, None] * deform[owner]).sum(1)
        energies = self.energies_of(moved, batch.cells @ deform, owner, batch)
        dr, de = torch.autograd.grad(energies.sum(), (positions, strain), materialize_grads=True)
        return Evaluation(energies.detach(), -dr, de / torch.linalg.det(batch.cells).abs()[:, None, None])


class IdealGas(Analytic):
    """No interaction."""

    name = "analytic/ideal-gas"

    def evaluate(self, batch: Batch) -> Evaluation:
        self.evaluated += len(batch.n_atoms)
        return Evaluation(
            *(torch.zeros_like(x) for x in (batch.cells[:, 0, 0], batch.positions, batch.cells))
        )


class ElasticCrystal(Analytic):
    """Atoms on springs to sites that move with the cell; an energy quadratic in volume, and one in shape.

    U = K (V - V0)^2 / (2 V0) + G V0 |C - 1|^2 / 2 + k/2 sum |r - s h|^2, with C the metric of the cell relative to a cube
    of the same volume. Cubes of n atoms of V0 = n * volume_per_atom with sites on the first n points of a fixed list.
    """

    name = "analytic/elastic"

    def __init__(self, bulk=0.5, shear=0.3, spring=2.0, volume_per_atom=12.0):
        super().__init__()
        self.bulk, self.shear, self.spring, self.volume_per_atom = bulk, shear, spring, volume_per_atom
        self.sites = torch.as_tensor(np.random.default_rng(3).random((64, 3)))
        self.sites[0] = 0

    def crystal(self, n):
        """Numbers, cell and positions of the minimum."""
        cell = np.eye(3) * (n * self.volume_per_atom) ** (1 / 3)
        return np.full(n, 14, dtype=np.uint8), cell, self.sites[:n].numpy() @ cell

    def energies_of(self, positions, cells, owner, batch):
        start = batch.n_atoms * self.volume_per_atom
        volumes = torch.linalg.det(cells)
        shape = cells / volumes.abs()[:, None, None] ** (1 / 3)
        metric = shape @ shape.mT - torch.eye(3, dtype=torch.float64)
        first = torch.cumsum(batch.n_atoms, 0) - batch.n_atoms
        sites = self.sites[torch.arange(len(owner)) - first[owner]]
        shift = positions - (sites[:, :, None] * cells[owner]).sum(1)
        springs = torch.zeros_like(volumes).index_add(0, owner, 0.5 * self.spring * shift.square().sum(1))
        return (
            0.5 * self.bulk * (volumes - start) ** 2 / start
            + 0.5 * self.shear * start * metric.square().sum((1, 2))
            + springs
        )


class LennardJones(Analytic):
    """Argon, cut off smoothly at 2.5 sigma."""

    name = "analytic/argon"
    epsilon, sigma, cutoff = 0.0104, 3.4, 8.5

    def crystal(self, repeat=1, length=5.3):
        """Numbers, cell and positions of an fcc crystal."""
        corners = np.stack(np.meshgrid(*[range(repeat)] * 3, indexing="ij"), -1).reshape(-1, 3)
        basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        positions = (corners[:, None] + basis).reshape(-1, 3) * length
        return np.full(len(positions), 18, dtype=np.uint8), np.eye(3) * repeat * length, positions

    def energies_of(self, positions, cells, owner, batch):
        pieces = []
        ends = [0, *batch.n_atoms.cumsum(0).tolist()]
        for b, (start, stop) in enumerate(itertools.pairwise(ends)):
            mine, cell = positions[start:stop], cells[b]
            points, box = mine.detach().numpy(), cell.detach().numpy()
            points = points - np.floor(points @ np.linalg.inv(box)) @ box
            wrap = torch.as_tensor(np.rint((points - mine.detach().numpy()) @ np.linalg.inv(box)))
            neighbours = NeighborList(cutoff=self.cutoff, full_list=False, n_threads=1)
            i, j, shifts = neighbours.compute(points=points, box=box, periodic=True, quantities="ijS")
            i, j = torch.as_tensor(i.astype(int)), torch.as_tensor(j.astype(int))
            shifts = torch.as_tensor(shifts, dtype=torch.float64) + wrap[j] - wrap[i]
            squared = (mine[j] - mine[i] + shifts @ cell).square().sum(1)
            x = (self.sigma**2 / squared) ** 3
            smooth = (1 - squared / self.cutoff**2).clamp(min=0) ** 2
            pieces.append((4 * self.epsilon * (x * x - x) * smooth).sum())
        return torch.stack(pieces)
