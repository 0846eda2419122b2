"""A potential of ours as an ASE calculator, to compare with what others do with it."""

import torch
from ase.calculators.calculator import Calculator, all_changes

from pesatlas.dynamics.relax import Start, to_batch
from pesatlas.potentials.potential import VOIGT


class Ase(Calculator):
    """Energy in eV, forces in eV/Å, stress in eV/Å³ with tension positive."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, potential):
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        start = Start(atoms.numbers, atoms.cell[:], atoms.positions)
        found = self.potential.evaluate(to_batch([start], torch.device("cpu")))
        self.results = {
            "energy": float(found.energies[0]),
            "free_energy": float(found.energies[0]),
            "forces": found.forces.numpy(),
            "stress": found.stresses[0].numpy()[VOIGT],
        }
