"""Potentials whose thermodynamics are known exactly, and one crystal of them, for tests of the dynamics."""

import numpy as np
import torch

from pesatlas.potentials.potential import Batch, Evaluation
from pesatlas.testing.analytic import Analytic, LennardJones

__all__ = ["Analytic", "ElasticCrystal", "IdealGas", "LennardJones"]


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

    U = K (V - V0)^2 / (2 V0) + G V0 |C - 1|^2 / 2 + k/2 sum |r - s h|^2, with C the metric of the cell
    relative to a cube of the same volume. Cubes of n atoms of V0 = n * volume_per_atom with sites on the
    first n points of a fixed list.
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
