"""A potential that is evaluated by a worker in another environment."""

import numpy as np
import torch

from pesatlas.potentials.external.client import Client, Floats, Structures, WorkerDiedError
from pesatlas.potentials.external.identify import elements_of_loaded
from pesatlas.potentials.external.options import WorkerOptions
from pesatlas.potentials.identity import Identity
from pesatlas.potentials.potential import Batch, Evaluation

_MAX_DENSITY = 1.0
"""Atoms/Å³, as for potentials of this process: denser cells are wreckage."""


class ExternalPotential:
    """A calculator of ASE, or a model of torch-sim, in a worker.

    What a model of rounding leaves of the sum of forces is taken out, so that no centre of mass drifts; what
    is wreckage (coordinates that are not finite, overlapping atoms) is not sent, and gets NaN.
    """

    def __init__(self, options: WorkerOptions, identity: Identity, device: torch.device) -> None:
        self.name = identity.name
        self.weights_hash = identity.weights_hash
        self.device = device
        self.client = Client(options, str(device))
        self.elements = elements_of_loaded(options, self.client)

    def evaluate(self, batch: Batch) -> Evaluation:
        """Energies, forces and stresses of all structures of ``batch``; raises as ``Client.evaluate``."""
        n_atoms, numbers, positions, cells = (
            each.detach().cpu().numpy()
            for each in (batch.n_atoms, batch.numbers, batch.positions, batch.cells)
        )
        sound = searchable(n_atoms, positions, cells)
        atoms = np.repeat(sound, n_atoms)
        energies = np.full(len(n_atoms), np.nan)
        forces, stresses = np.full(positions.shape, np.nan), np.full(cells.shape, np.nan)
        if sound.any():
            asked = Structures(n_atoms[sound], numbers[atoms], positions[atoms], cells[sound])
            energies[sound], found, stress = self._asked(asked)
            forces[atoms] = _without_net_force(found, n_atoms[sound])
            stresses[sound] = 0.5 * (stress + stress.transpose(0, 2, 1))
        return Evaluation(
            *(torch.from_numpy(values).to(self.device) for values in (energies, forces, stresses))
        )

    def _asked(self, structures: Structures) -> tuple[Floats, Floats, Floats]:
        try:
            return self.client.evaluate(structures)
        except WorkerDiedError:
            # of several, halving finds the culprit; one alone is asked twice, for a worker may die of itself
            if len(structures.n_atoms) > 1:
                raise
            return self.client.evaluate(structures)


def searchable(n_atoms: np.ndarray, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Whether each structure (B,) has finite coordinates, and a cell that is not full of atoms."""
    finite = np.isfinite(cells).all((1, 2))
    finite &= np.add.reduceat(~np.isfinite(positions).all(1), np.cumsum(n_atoms) - n_atoms) == 0
    volumes = np.abs(np.linalg.det(np.where(finite[:, None, None], cells, 0.0)))
    return finite & (n_atoms < _MAX_DENSITY * volumes)


def _without_net_force(forces: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    net = np.add.reduceat(forces, np.cumsum(n_atoms) - n_atoms)
    return forces - np.repeat(net / n_atoms[:, None], n_atoms, axis=0)
