"""A batch of cells to explore, small enough to run to its end again and again.

Run as a program, it explores one.
"""

import sys
from pathlib import Path

import numpy as np

from known_thermodynamics import LennardJones
from pesatlas.config.explore import Explore
from pesatlas.explore.explore_batch import Endings, explore_batch
from pesatlas.explore.saturation import Saturation
from pesatlas.storage.store import Store
from pesatlas.structures.crystal import Condition
from pesatlas.tables import read_table, write_table

SHORT = {
    "timestep_fs": 4.0,
    "length_ps": 0.32,
    "frame_interval_ps": 0.04,
    "compressibility_per_GPa": 0.3,
    "max_atoms_in_memory": 24,
}


class Gregarious(LennardJones):
    """A potential whose last bits depend on what it evaluates together, as those of real models do."""

    def evaluate(self, batch):
        evaluation = super().evaluate(batch)
        evaluation.forces *= 1 + 1e-13 * len(batch.numbers)
        return evaluation


def structure_row(name, crystal, *, variant="unit", conditions=((60.0, 0.0),), batch=0):
    """One row of the table ``structures``."""
    numbers, cell, positions = crystal
    return {
        "structure_id": name,
        "variant": variant,
        "domain": "bulk",
        "n_atoms": len(numbers),
        "numbers": list(numbers),
        "cell_A": np.ravel(cell).tolist(),
        "positions_A": np.ravel(positions).tolist(),
        "formula": "Ar",
        "conditions": [
            c.as_row()
            if isinstance(c, Condition)
            else {"condition": f"{c[0]:g}K-{c[1]:g}GPa", "temperature_K": c[0], "pressure_GPa": c[1]}
            for c in conditions
        ],
        "batch": batch,
        "warnings": [],
        "source": "test",
        "code_version": "0",
    }


def argon_rows():
    """Five cells of argon of 1, 4 and 8 atoms, nine trajectories: more than fit together."""
    potential = LennardJones()
    numbers, cell, positions = potential.crystal(1, 5.3)
    primitive = (numbers[:1], np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * 5.3, positions[:1])
    double = (np.tile(numbers, 2), cell * [[2], [1], [1]], np.concatenate([positions, positions + cell[0]]))
    return [
        structure_row("a1", (numbers, cell, positions), conditions=((60.0, 0.0), (30.0, 0.1))),
        structure_row("a2", potential.crystal(1, 5.4), conditions=((60.0, 0.0), (30.0, 0.1))),
        structure_row("a1", double, variant="supercell-2x1x1", conditions=((60.0, 0.0), (40.0, 0.0))),
        structure_row("p1", primitive, conditions=((60.0, 0.0),)),
        structure_row("a3", potential.crystal(1, 5.5), conditions=((80.0, 0.0), (20.0, 0.0))),
    ]


SATURATED = {
    "length_ps": 0.48,
    "frame_interval_ps": 0.016,
    "stop": {"kind": "saturated", "min_length_ps": 0.16, "atoms": 0.006, "structures": 0.005},
}
"""Settings with which some trajectories of argon end early, and some do not."""


class Shells:
    """An encoder that counts neighbours within soft shells.

    Its numbers depend on how many frames it is shown together, more than those of real ones do.
    """

    name, weights_hash = "shells/1", "5" * 64
    structure_dim = atom_dim = 5
    elements = frozenset({10, 18, 36})
    _images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), -1).reshape(-1, 3)

    def __init__(self, lives=10**9):
        self.lives = lives
        self.asked = 0

    def encode(self, frames):
        self.asked += len(frames)
        found = []
        for numbers, positions, cell in frames:
            self.lives -= 1
            if self.lives < 0:
                raise Interrupted
            apart = positions[:, None, None] - positions[None, :, None] - self._images @ cell
            distances = np.linalg.norm(apart, axis=-1)
            shells = [np.exp(-((distances - r) ** 2)).sum((1, 2)) for r in (2.5, 3.5, 4.5, 5.5)]
            found.append(np.stack([*shells, numbers / 10], axis=1) * (1 + 1e-3 * len(frames)))
        means = np.stack([atoms.mean(0) for atoms in found])
        return means.astype(np.float32), np.concatenate(found).astype(np.float32)


def explore(
    folder,
    potential=None,
    rows=None,
    *,
    batch=0,
    seed=1,
    store="store",
    out="out",
    encoder=None,
    **settings,
):
    """Explore ``rows`` in ``folder``; return the tables snapshots and failures.

    With an encoder, trajectories end when they are saturated: see ``to_saturation``.
    """
    folder = Path(folder)
    section = Explore(**{**SHORT, **settings})
    by = Saturation(section, encoder) if encoder else None
    structures = folder / out / "structures.parquet"
    write_table(structures, "structures", argon_rows() if rows is None else rows, "test")
    snapshots, failures = folder / out / f"{batch:05d}.parquet", folder / out / f"failed-{batch:05d}.parquet"
    explore_batch(
        section,
        seed,
        potential or Gregarious(),
        Store(folder / store),
        batch=batch,
        structures=structures,
        snapshots=snapshots,
        failures=failures,
        work=folder / "work",
        endings=by
        and Endings(by, folder / out / f"ends-{batch:05d}.parquet", folder / out / "features.parquet"),
    )
    return read_table(snapshots, "snapshots"), read_table(failures, "failures")


def to_saturation(folder, *args, out="out", **kwargs):
    """Explore as ``explore`` does, to saturation; return snapshots, how trajectories ended, and features."""
    kwargs = {"encoder": Shells(), **SATURATED, **kwargs}
    snapshots, _ = explore(folder, *args, out=out, **kwargs)
    found = Path(folder) / out
    return (
        snapshots,
        read_table(found / "ends-00000.parquet", "trajectories"),
        read_table(found / "features.parquet", "features"),
    )


class Interrupted(BaseException):
    """A kill, as seen from inside."""


class Mortal(Gregarious):
    """Dies at its n-th evaluation."""

    def __init__(self, lives):
        super().__init__()
        self.lives = lives

    def evaluate(self, batch):
        self.lives -= 1
        if self.lives < 0:
            raise Interrupted
        return super().evaluate(batch)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    explore(sys.argv[1], Gregarious(), checkpoint_interval_s=0.02)
