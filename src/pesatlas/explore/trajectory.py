"""What there is to compute: trajectories and equilibrium crystals, each with a key made of all that decides it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_masses

from pesatlas.config.explore import Explore
from pesatlas.config.section import digest
from pesatlas.dynamics.noise import initial_velocities
from pesatlas.dynamics.npt import VERSION
from pesatlas.dynamics.state import State, initial_state
from pesatlas.geometry import geometry_digest
from pesatlas.potentials.interface import Potential
from pesatlas.tables import read_table
from pesatlas.units import EV_PER_A3_TO_GPA

EQUILIBRIUM = "equilibrium"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A crystal at a condition: one trajectory to run, or (``equilibrium``) the crystal as given to evaluate.

    Attributes
    ----------
    key : hash of what decides the frames; the same wherever they are computed
    structure_id, variant, domain, condition, source : as in the tables; no part of the key
    numbers : (n,) uint8
    cell : (3, 3) Å
    positions : (n, 3) Å
    temperature_K, pressure_GPa : targets
    """

    key: str
    structure_id: str
    variant: str
    domain: str
    condition: str
    source: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    temperature_K: float
    pressure_GPa: float

    @property
    def name(self) -> str:
        """Everything of a ``snapshot_id`` but the step."""
        return f"{self.structure_id}:{self.variant}:{self.condition}"

    @property
    def is_equilibrium(self) -> bool:
        """Whether this is the crystal as given."""
        return self.condition == EQUILIBRIUM

    @property
    def random_key(self) -> int:
        """128 bits that decide the trajectory's random numbers."""
        return int(self.key, 16)

    def start(self, device: torch.device) -> State:
        """Make the state at step 0."""
        velocities = initial_velocities(self.random_key, atomic_masses[self.numbers], self.temperature_K)
        pressure = self.pressure_GPa / EV_PER_A3_TO_GPA
        return initial_state(
            self.numbers,
            self.cell,
            self.positions,
            velocities,
            temperature=self.temperature_K,
            pressure=pressure,
            device=device,
        )


def read_trajectories(
    structures: Path, batch: int, settings: Explore, seed: int, potential: Potential
) -> tuple[list[Trajectory], int]:
    """Return what is to be computed for ``batch`` of the table ``structures``, and how many of its rows belong to it."""
    rows = read_table(structures, "structures", filters=[("batch", "=", batch)]).to_pylist()
    made = {
        "potential": [potential.name, potential.weights_hash, settings.potential.identity()],
        "dynamics": [VERSION, settings.dynamics_identity(), seed],
    }
    return [each for row in rows for each in _of_row(row, made)], len(rows)


def _of_row(row: dict[str, Any], made: dict[str, Any]) -> Iterator[Trajectory]:
    numbers = np.array(row["numbers"], dtype=np.uint8)
    cell = np.array(row["cell_A"]).reshape(3, 3)
    positions = np.array(row["positions_A"]).reshape(-1, 3)
    start = geometry_digest(numbers, cell, positions)
    same = {name: row[name] for name in ("structure_id", "variant", "domain", "source")}
    same |= {"numbers": numbers, "cell": cell, "positions": positions}
    if row["variant"] == "unit":
        key = digest(EQUILIBRIUM, start, made["potential"], length=32)
        yield Trajectory(key=key, condition=EQUILIBRIUM, temperature_K=0.0, pressure_GPa=0.0, **same)
    for each in row["conditions"]:
        key = digest("trajectory", start, each["temperature_K"], each["pressure_GPa"], made, length=32)
        yield Trajectory(key=key, **each, **same)
