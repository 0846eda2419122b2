"""A bench for analytic potentials, files of data, and potentials that break in known ways.

Run as a program, it measures once.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from pesatlas.testing.analytic import LennardJones, benchmarked, entry, measured

__all__ = ["benchmarked", "entry", "measured"]


def write(folder, name, entries):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(entries))
    return name


def argon(folder, lengths=(5.2, 5.25, 5.3, 5.35, 5.4, 5.45)):
    """A file of argon crystals, each with a reference."""
    potential = LennardJones()
    entries = [
        entry(f"ar-{i}", potential.crystal(1, length), bulk_modulus_vrh=2.0 + i, shear_modulus_vrh=1.0)
        for i, length in enumerate(lengths)
    ]
    return write(folder, "argon.json", entries)


class Counting(LennardJones):
    """Argon that ends its process after so many evaluations, as kill -9 does."""

    def __init__(self, most=None):
        super().__init__()
        self.most, self.calls = most, 0

    def evaluate(self, batch):
        self.calls += 1
        if self.most is not None and self.calls > self.most:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(batch)


class Exploding(LennardJones):
    """Pushes the cell outward, so that it grows without end."""

    def evaluate(self, batch):
        found = super().evaluate(batch)
        found.stresses = found.stresses - 3.0 * torch.eye(3, dtype=torch.float64)
        return found


class Kicking(LennardJones):
    """Throws one atom out of the crystal."""

    def evaluate(self, batch):
        found = super().evaluate(batch)
        found.forces[0] += 1e3
        return found


class Collapsing(LennardJones):
    """Pulls the second atom onto the first."""

    def evaluate(self, batch):
        found = super().evaluate(batch)
        apart = batch.positions[0] - batch.positions[1]
        found.forces[:] = 0
        found.forces[1], found.forces[0] = 20 * apart, -20 * apart
        found.stresses[:] = 0
        return found


class Heating(LennardJones):
    """Pushes every atom in the direction it came from: no crystal holds that heat."""

    def evaluate(self, batch):
        found = super().evaluate(batch)
        signs = torch.sign(batch.positions - batch.positions.mean(0)) * torch.tensor([1.0, 1.0, 1.0])
        found.forces += 60 * torch.where(torch.arange(len(signs))[:, None] % 2 == 0, signs, -signs)
        found.stresses[:] = 0
        return found


class Failing(LennardJones):
    """Has nothing finite to say after a while."""

    def evaluate(self, batch):
        found = super().evaluate(batch)
        self.calls = getattr(self, "calls", 0) + 1
        return found if self.calls < 5 else type(found)(found.energies * np.nan, found.forces, found.stresses)


if __name__ == "__main__":
    folder, most, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    potential = Counting(most or None)
    options = json.loads(sys.argv[4])
    rows = measured(potential, kind, folder, atoms_per_chunk=8, file="argon.json", **options)
    sys.stdout.write(json.dumps([rows, potential.calls]))
