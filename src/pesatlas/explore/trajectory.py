"""Trajectories and static cells to compute, each with a key of everything that decides its result."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from ase.data import atomic_masses

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.config.explore import Abort, Explore
from pesatlas.config.explore_stop import Fixed
from pesatlas.config.section import digest
from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.limits import Limits
from pesatlas.dynamics.md_state import State, initial_state
from pesatlas.dynamics.noise import initial_velocities
from pesatlas.dynamics.npt import VERSION
from pesatlas.explore.stored_frames import Frame
from pesatlas.potentials.potential import Potential
from pesatlas.tables import read_table
from pesatlas.tables.failures import Failure

PATHS_VERSION = 1
"""Raise it when the same two states would give another path: stored paths are then computed anew."""

EQUILIBRIUM = "equilibrium"
_LOWEST_LIMIT_K = 300.0
"""A target below counts as this one where a temperature is compared with its limit."""


_OF_THE_KEY = (
    "cell_motion",
    "ramp",
    "length_ps",
    "compressibility_per_GPa",
    "max_volume_ratio",
    "max_temperature_factor",
    "min_distance_A",
)
"""Settings of a condition that a domain may have. In the key only if it has: ``bulk`` keeps its keys."""
_ENSEMBLES = {
    "all": "NpT",
    "isotropic": "NpT-isotropic",
    "in_plane": "NpT-in_plane",
    "none": "NVT",
}


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A cell at a condition: a trajectory, a path, or (``static``) a cell to evaluate unmoved.

    Attributes
    ----------
    key : hash of what decides the frames; the same wherever they are computed
    noise : hash that decides the random numbers: the key, but for what ends it early, so that a trajectory
        that ends early is the beginning of one that does not
    structure_id, variant, domain, condition, source : as in the tables; no part of the key
    numbers : (n,) uint8
    cell : (3, 3) Å
    positions : (n, 3) Å
    temperature_K, pressure_GPa : targets
    static : whether it does not move
    path_end : (n, 3) Å, the state to which to find a path; None: there is dynamics, or nothing
    images : of the path, both states included
    timestep_fs : time step, fs
    frame_steps : steps between two frames
    steps : length
    ramp : (temperature at the start, temperature at the end, steps) of what comes before ``temperature_K``
    cell_motion : what the barostat may do: all, isotropic, in_plane, none
    compressibility_per_GPa : for the pace of the barostat
    same_compressibility : whether that is the one of section ``explore``
    abort : when it has left physics
    """

    key: str
    noise: str
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
    static: bool
    path_end: np.ndarray | None
    images: int
    timestep_fs: float
    frame_steps: int
    steps: int
    ramp: tuple[tuple[float, float, int], ...]
    cell_motion: str
    compressibility_per_GPa: float
    same_compressibility: bool
    abort: Abort

    @property
    def name(self) -> str:
        """Everything of a ``snapshot_id`` but the step."""
        return f"{self.structure_id}:{self.variant}:{self.condition}"

    @property
    def is_equilibrium(self) -> bool:
        """Whether this is the crystal as given."""
        return self.condition == EQUILIBRIUM

    @property
    def ensemble(self) -> str:
        """Ensemble of its frames, as in the tables."""
        return _ENSEMBLES[self.cell_motion] if self.moves else "none"

    @property
    def moves(self) -> bool:
        """Whether there is dynamics."""
        return not self.static and self.path_end is None

    @property
    def is_ramped(self) -> bool:
        """Whether the target temperature changes."""
        return bool(self.ramp)

    @property
    def ramp_steps(self) -> int:
        """Steps before the target temperature stays what it is."""
        return sum(steps for _, _, steps in self.ramp)

    @property
    def limits(self) -> Limits:
        """Limits beyond which it is unphysical; distances are checked in its frames."""
        return Limits(
            volume_ratio=self.abort.max_volume_ratio,
            jump_A=np.inf,
            distance_A=self.abort.min_distance_A,
            distance_every=0,
            temperature_ratio=self.abort.max_temperature_factor,
            lowest_K=_LOWEST_LIMIT_K,
        )

    @property
    def random_key(self) -> int:
        """128 bits that decide the trajectory's random numbers."""
        return int(self.noise, 16)

    def temperature_at(self, step: int) -> float:
        """Return the target temperature (K) of a step."""
        for start, end, steps in self.ramp:
            if step <= steps:
                return start + (end - start) * step / steps
            step -= steps
        return self.temperature_K

    def start(self, device: torch.device) -> State:
        """Make the state at step 0."""
        temperature = self.temperature_at(0)
        velocities = initial_velocities(self.random_key, atomic_masses[self.numbers], temperature)
        pressure = self.pressure_GPa / EV_PER_A3_TO_GPA
        return initial_state(
            self.numbers,
            self.cell,
            self.positions,
            velocities,
            temperature=temperature,
            pressure=pressure,
            device=device,
        )


Commit = Callable[[Trajectory, list[Frame], Failure | None], None]
"""Called once for each trajectory that has ended, with its good frames; durable when it returns."""


def read_trajectories(
    structures: Path,
    batch: int,
    settings: Explore,
    seed: int,
    potential: Potential,
    stopped_by: Sequence[Any] = (),
) -> tuple[list[Trajectory], int]:
    """Return trajectories and static cells of ``batch`` in the table ``structures``, and its row count.

    ``stopped_by`` says which rule and whose features end trajectories early; empty if none do.
    """
    rows = read_table(structures, "structures", filters=[("batch", "=", batch)]).to_pylist()
    made_by = [potential.name, potential.weights_hash, settings.potential.identity()]
    found: list[Trajectory] = []
    for row in rows:
        own = settings.of(row["numbers"])
        made = {
            "potential": made_by,
            "dynamics": [VERSION, own.dynamics_identity(), seed, *stopped_by],
            "noise": [VERSION, own.model_copy(update={"stop": Fixed()}).dynamics_identity(), seed],
        }
        found += _of_row(row, own, made)
    return found, len(rows)


def _of_row(row: dict[str, Any], settings: Explore, made: dict[str, Any]) -> Iterator[Trajectory]:
    numbers = np.array(row["numbers"], dtype=np.uint8)
    cell = np.array(row["cell_A"]).reshape(3, 3)
    positions = np.array(row["positions_A"]).reshape(-1, 3)
    start = geometry_digest(numbers, cell, positions)
    same = {name: row[name] for name in ("structure_id", "variant", "domain", "source")}
    same |= {"numbers": numbers, "cell": cell, "positions": positions}
    still = digest(EQUILIBRIUM, start, made["potential"], length=32)
    if row["variant"] == "unit":
        given = {"condition": EQUILIBRIUM, "temperature_K": 0.0, "pressure_GPa": 0.0, "static": True}
        yield Trajectory(key=still, noise=still, **same, **_physics(given, settings))
    for each in row["conditions"]:
        physics = _physics(each, settings)
        if each.get("path"):
            states = [start, geometry_digest(numbers, cell, physics["path_end"])]
            found = [states, physics["images"], physics["abort"].min_distance_A, made["potential"]]
            key = digest("path", PATHS_VERSION, *found, length=32)
            yield Trajectory(key=key, noise=key, **same, **physics)
            continue
        said = {name: each[name] for name in _OF_THE_KEY if each.get(name) is not None}
        key, noise = (
            digest(
                "trajectory",
                start,
                each["temperature_K"],
                each["pressure_GPa"],
                {"potential": made["potential"], "dynamics": made[what]},
                *([said] if said else []),
                length=32,
            )
            for what in ("dynamics", "noise")
        )
        if each.get("static"):
            key = noise = still
        yield Trajectory(key=key, noise=noise, **same, **physics)


def _physics(condition: dict[str, Any], settings: Explore) -> dict[str, Any]:
    """Return what a condition says, completed by section ``explore``.

    Times are rounded to whole frames and steps.
    """
    of_abort = {name: condition[name] for name in Abort.model_fields if condition.get(name) is not None}
    ramp = condition.get("ramp") or ()
    compressibility = condition.get("compressibility_per_GPa")
    path = condition.get("path") or {}
    return {
        "condition": condition["condition"],
        "temperature_K": condition["temperature_K"],
        "pressure_GPa": condition["pressure_GPa"],
        "static": bool(condition.get("static")),
        "path_end": np.reshape(path["end_A"], (-1, 3)) if path else None,
        "images": path.get("images", 0),
        "timestep_fs": settings.longest_timestep_fs,
        "frame_steps": settings.frame_steps,
        "steps": settings.steps_of([part["length_ps"] for part in ramp], condition.get("length_ps")),
        "ramp": tuple(
            (part["start_K"], part["end_K"], settings.ramp_steps(part["length_ps"])) for part in ramp
        ),
        "cell_motion": condition.get("cell_motion") or "all",
        "compressibility_per_GPa": compressibility or settings.compressibility_per_GPa,
        "same_compressibility": compressibility is None,
        "abort": settings.abort.model_copy(update=of_abort),
    }


def displacement_ratios(trajectory: Trajectory, frames: pa.Table) -> list[float]:
    """Return, for each frame, how far atoms are from where they started, over the shortest distance there.

    Root mean square in scaled coordinates, so that a strain of the cell does not count, in the cell of the
    frame, and without the drift of the centre of mass. Crystals melt where the vibrations reach 0.1 to 0.15
    (F. A. Lindemann, Phys. Z. 11, 609 (1910)).
    """
    scaled = trajectory.positions @ np.linalg.inv(trajectory.cell)
    nearest = min_distance(trajectory.cell, trajectory.positions)
    masses = atomic_masses[trajectory.numbers][:, None]
    found = []
    for flat, cell in zip(frames["positions_A"].to_pylist(), frames["cell_A"].to_pylist(), strict=True):
        now = np.reshape(cell, (3, 3))
        moved = np.reshape(flat, (-1, 3)) - scaled @ now
        moved -= (masses * moved).sum(0) / masses.sum()
        found.append(float(np.sqrt((moved**2).sum(1).mean()) / nearest))
    return found
