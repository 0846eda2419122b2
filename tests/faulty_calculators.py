"""Loaders that tests give to a worker: calculators that do what potentials do on bad days."""

import os
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

GOLD = 79


def argon(depth=0.0104):
    """Lennard-Jones for argon, as ASE has it."""
    return LennardJones(sigma=3.4, epsilon=depth, rc=8.5, smooth=True)


class Faulty(Calculator):
    """EMT that has a fault wherever there is gold.

    Parameters
    ----------
    fault : which
    log : file that each start of the calculator, and each structure, adds a line to
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, fault, log=None):
        super().__init__()
        self._fault, self._log = fault, log
        self._write("start")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self._write(str(atoms.symbols))
        model = EMT()
        model.calculate(atoms, ["energy", "forces", "stress"], all_changes)
        self.results = dict(model.results)
        if GOLD in atoms.numbers:
            getattr(self, f"_{self._fault}")()

    def descriptors(self, atoms):
        """Distances to the four nearest neighbours, of this atom's number."""
        self._write(f"describe {atoms.symbols}")
        if GOLD in atoms.numbers:
            getattr(self, f"_{self._fault}")()
        return descriptors(self, atoms)

    def _write(self, line):
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{line}\n")

    def _dies(self):
        sys.stderr.write("gold is too heavy")
        sys.stderr.flush()
        os._exit(3)

    def _is_killed(self):
        os.kill(os.getpid(), 9)

    def _hangs(self):
        time.sleep(1000)

    def _raises(self):
        raise ValueError("gold is not understood")

    def _runs_out_of_memory(self):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 TiB")

    def _gives_nothing(self):
        self.results["stress"] = None

    def _gives_wrong_shapes(self):
        self.results["forces"] = self.results["forces"][:, :2]

    def _gives_text(self):
        self.results["energy"] = self.results["free_energy"] = "low"

    def _gives_nan(self):
        self.results["energy"] = self.results["free_energy"] = np.nan
        self.results["forces"] = self.results["forces"] * np.nan

    def _dies_once(self):
        mark = Path(f"{self._log}.died")
        if not mark.exists():
            mark.touch()
            os._exit(3)


def not_a_calculator():
    """Return something else."""
    return 7


def knows_its_elements():
    """Return a calculator that says what it knows."""
    model = EMT()
    model.elements = ["Cu", "Al"]
    return model


def dies_at_loading():
    """End the process."""
    sys.stderr.write("no licence found")
    sys.stderr.flush()
    os._exit(1)


def reads(path):
    """Return a calculator that has read a file."""
    with Path(path).open("rb") as file:
        file.read()
    return EMT()


def descriptors(calculator, atoms, cutoff=6.0, width=8):
    """Describe each atom: smooth functions of the distances to its neighbours, and of their numbers."""
    from ase.neighborlist import neighbor_list

    i, j, distances = neighbor_list("ijd", atoms, cutoff)
    found = np.zeros((len(atoms), width + 1))
    found[:, width] = atoms.numbers / 100
    fade = (1 - (distances / cutoff) ** 2) ** 3
    for k in range(width):
        centre = 1.5 + 0.5 * k
        np.add.at(found[:, k], i, fade * np.exp(-((distances - centre) ** 2) / 0.5) * atoms.numbers[j] / 50)
    return found


def other_descriptors(calculator, atoms):
    """Describe each atom within a longer distance."""
    return descriptors(calculator, atoms, cutoff=7.0)


def flat_descriptors(calculator, atoms):
    """Give one number an atom, where a vector is expected."""
    return atoms.numbers
