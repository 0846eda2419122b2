"""A potential that is evaluated by a worker in another environment."""

import numpy as np
import torch

from pesatlas.potentials.external.client import Client, Floats, Structures, WorkerDiedError
from pesatlas.potentials.external.identify import elements_of_loaded
from pesatlas.potentials.external.options import WorkerOptions
from pesatlas.potentials.identity import Identity
from pesatlas.potentials.neighbours import searchable
from pesatlas.potentials.potential import Batch, Evaluation


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
        given = Structures(n_atoms, numbers, positions, cells)
        sound = searchable(n_atoms, positions, cells)
        if sound.all():
            return self._evaluation(*self._evaluated(given))
        atoms = np.repeat(sound, n_atoms)
        energies = np.full(len(n_atoms), np.nan)
        forces, stresses = np.full(positions.shape, np.nan), np.full(cells.shape, np.nan)
        if sound.any():
            asked = Structures(n_atoms[sound], numbers[atoms], positions[atoms], cells[sound])
            energies[sound], forces[atoms], stresses[sound] = self._evaluated(asked)
        return self._evaluation(energies, forces, stresses)

    def _evaluation(self, *values: Floats) -> Evaluation:
        return Evaluation(*(torch.from_numpy(each).to(self.device) for each in values))

    def _evaluated(self, structures: Structures) -> tuple[Floats, Floats, Floats]:
        try:
            energies, forces, stresses = self.client.evaluate(structures)
        except WorkerDiedError:
            # of several, halving finds the culprit; one alone is asked twice, for a worker may die of itself
            if len(structures.n_atoms) > 1:
                raise
            energies, forces, stresses = self.client.evaluate(structures)
        net = np.add.reduceat(forces, np.cumsum(structures.n_atoms) - structures.n_atoms)
        forces -= np.repeat(net / structures.n_atoms[:, None], structures.n_atoms, axis=0)
        return energies, forces, 0.5 * (stresses + stresses.transpose(0, 2, 1))
