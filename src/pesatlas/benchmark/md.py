"""Dynamics of many structures at once, with a temperature that changes by step, until each ends or leaves physics."""

import json
import logging
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_masses

from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.noise import Noise, initial_velocities
from pesatlas.dynamics.npt import NpT
from pesatlas.dynamics.relax import Start
from pesatlas.dynamics.state import State, initial_state, join
from pesatlas.potentials.halving import evaluate
from pesatlas.potentials.interface import Potential
from pesatlas.tables.atomic import atomic_path
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
_ROOM = 5.0


class End(StrEnum):
    """How a trajectory ended."""

    SURVIVED = "survived"
    VOLUME = "exploded_volume"
    LOST = "lost_atoms"
    CLOSE = "atoms_too_close"
    HOT = "exploded_temperature"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class Limits:
    """When a trajectory has left physics.

    Attributes
    ----------
    volume_ratio : volume relative to the start, either way
    jump_A : a distance that no atom goes in one step; LAMMPS loses such atoms
    distance_A : two atoms are never closer; looked at every ``distance_every`` steps
    temperature_ratio : kinetic temperature relative to the target, beyond natural fluctuations
    """

    volume_ratio: float = 2.0
    jump_A: float = 1.0
    distance_A: float = 0.5
    distance_every: int = 10
    temperature_ratio: float = 5.0


@dataclass(frozen=True)
class Run:
    """What is to be run.

    Attributes
    ----------
    key : 128 bits, hexadecimal: decides its random numbers
    start : Start
    temperature_K : at the start
    """

    key: str
    start: Start
    temperature_K: float


@dataclass(frozen=True, eq=False)
class Ended:
    """What became of a run: how it ended, after how many steps, at which target temperature; what was watched (frames, n, 3) in Å."""

    end: End | Failure
    steps: int
    temperature_K: float
    frames: np.ndarray


@dataclass(frozen=True)
class Plan:
    """How runs advance.

    Attributes
    ----------
    npt : the integrator
    steps : after so many a run has survived
    temperature : target in K at a step
    limits : Limits
    watch_every : steps between positions that are kept; 0 keeps none
    """

    npt: NpT
    steps: int
    temperature: Callable[[int], float]
    limits: Limits
    watch_every: int = 0


def run_together(
    potential: Potential,
    runs: Sequence[Run],
    plan: Plan,
    checkpoint: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Ended]:
    """Advance runs together until all have ended; a killed job goes on from its checkpoint, bit for bit on a CPU.

    Parameters
    ----------
    potential : Potential
    runs : runs that share a batch; the same ones give the same result
    plan : Plan
    checkpoint : file for what is under way, removed by the caller once results are kept
    progress : told the step, now and then
    """
    there = _load(checkpoint, [run.key for run in runs], potential.device)
    step, active, ended, frames, state = there or (0, list(range(len(runs))), {}, [[] for _ in runs], None)
    if state is None:
        state = join([_start(run, potential.device) for run in runs])
        state, active = _evaluated(potential, state, active, ended, plan, 0, lambda old, new: old.evaluated(new))
    volumes = np.array([abs(np.linalg.det(run.start.cell)) for run in runs])
    noise = _noise(runs, active, state)
    saved = time.monotonic()
    while active and step < plan.steps:
        drive = torch.as_tensor(noise.at([step] * len(active)), device=potential.device)
        target = plan.temperature(step)
        state = replace(state, temperature=torch.full_like(state.temperature, target))
        before = state.positions
        state = plan.npt.move(state, drive)
        step += 1
        count = len(active)
        state, active = _look(state, before, active, volumes, ended, plan, step)
        if active:
            state, active = _evaluated(potential, state, active, ended, plan, step, plan.npt.complete)
        if len(active) < count:
            noise = _noise(runs, active, state)
        if plan.watch_every and step % plan.watch_every == 0:
            _watch(state, active, frames)
        if time.monotonic() - saved > CHECKPOINT_S:
            _save(checkpoint, runs, step, active, ended, frames, state)
            saved = time.monotonic()
            progress(step)
    for i in active:
        ended[i] = (End.SURVIVED, step)
    return [
        Ended(*ended[i], plan.temperature(ended[i][1]), np.array(frames[i]).reshape(-1, *run.start.positions.shape))
        for i, run in enumerate(runs)
    ]


_Ends = dict[int, tuple[End | Failure, int]]


def _start(run: Run, device: torch.device) -> State:
    start = run.start
    velocities = initial_velocities(int(run.key, 16), atomic_masses[start.numbers], run.temperature_K)
    return initial_state(
        start.numbers,
        start.cell,
        start.positions,
        velocities,
        temperature=run.temperature_K,
        pressure=0.0,
        device=device,
    )


def _noise(runs: Sequence[Run], active: list[int], state: State) -> Noise:
    return Noise([int(runs[i].key, 16) for i in active], [int(x) for x in state.degrees_of_freedom])


def _let_go(
    state: State, active: list[int], found: dict[int, End | Failure], ended: _Ends, step: int
) -> tuple[State, list[int]]:
    """Take those that have ended, by place, out of the state."""
    if not found:
        return state, active
    ended |= {active[k]: (why, step) for k, why in found.items()}
    staying = torch.tensor([k not in found for k in range(len(active))], device=state.cells.device)
    return state.keep(staying), [i for k, i in enumerate(active) if k not in found]


def _look(
    state: State,
    before: torch.Tensor,
    active: list[int],
    volumes: np.ndarray,
    ended: _Ends,
    plan: Plan,
    step: int,
) -> tuple[State, list[int]]:
    """Look at moved structures before the potential does."""
    limits = plan.limits
    ratios = state.volumes / torch.as_tensor(volumes[active], device=state.cells.device)
    jumps = torch.zeros_like(ratios).scatter_reduce(
        0, state.owner, (state.positions - before).norm(dim=1), "amax"
    )
    finite = torch.isfinite(ratios) & torch.isfinite(state.per_structure(state.positions.sum(1))) & torch.isfinite(jumps)
    room = 1 + _ROOM * torch.sqrt(2 / state.degrees_of_freedom)
    hot = state.kinetic_temperature() > limits.temperature_ratio * state.temperature * room
    found: dict[int, End | Failure] = {}
    for k in range(len(active)):
        if not finite[k]:
            found[k] = End.NOT_FINITE
        elif not 1 / limits.volume_ratio <= float(ratios[k]) <= limits.volume_ratio:
            found[k] = End.VOLUME
        elif float(jumps[k]) > limits.jump_A:
            found[k] = End.LOST
        elif hot[k]:
            found[k] = End.HOT
    if step % limits.distance_every == 0:
        ends = [0, *state.n_atoms.cumsum(0).tolist()]
        cells, positions = state.cells.cpu().numpy(), state.positions.cpu().numpy()
        for k in set(range(len(active))) - found.keys():
            if min_distance(cells[k], positions[ends[k] : ends[k + 1]]) < limits.distance_A:
                found[k] = End.CLOSE
    return _let_go(state, active, found, ended, step)


def _evaluated(
    potential: Potential,
    state: State,
    active: list[int],
    ended: _Ends,
    plan: Plan,  # noqa: ARG001 - as the others
    step: int,
    use: Callable[..., State],
) -> tuple[State, list[int]]:
    evaluation, failures, _ = evaluate(potential, state.batch)
    state = use(state, evaluation)
    total = state.energies + state.stresses.sum((1, 2)) + state.per_structure(state.forces.sum(1))
    found: dict[int, End | Failure] = {
        k: End.NOT_FINITE for k in (~torch.isfinite(total)).nonzero().flatten().tolist()
    }
    return _let_go(state, active, found | failures, ended, step)


def _watch(state: State, active: list[int], frames: list[list[np.ndarray]]) -> None:
    ends = [0, *state.n_atoms.cumsum(0).tolist()]
    positions = state.positions.cpu().numpy()
    for k, i in enumerate(active):
        frames[i].append(positions[ends[k] : ends[k + 1]])


def _save(
    path: Path,
    runs: Sequence[Run],
    step: int,
    active: list[int],
    ended: _Ends,
    frames: list[list[np.ndarray]],
    state: State,
) -> None:
    head = {
        "keys": [run.key for run in runs],
        "step": step,
        "active": active,
        "ended": {i: [why.value, at] for i, (why, at) in ended.items() if isinstance(why, End)},
    }
    if len(head["ended"]) < len(ended):
        return  # what a machine did is not to be remembered: begin again
    arrays = state.arrays() | {f"frames-{i}": np.array(each) for i, each in enumerate(frames)}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, head=np.asarray(json.dumps(head)), **arrays)


def _load(
    path: Path, keys: list[str], device: torch.device
) -> tuple[int, list[int], _Ends, list[list[np.ndarray]], State | None] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            if head["keys"] != keys:
                return None
            frames = [list(file[f"frames-{i}"]) for i in range(len(keys))]
            state = State.from_arrays(dict(file), device)
    except (FileNotFoundError, ValueError, KeyError, OSError, zipfile.BadZipFile):
        return None
    log.info("going on at step %d", head["step"])
    ended: _Ends = {int(i): (End(why), at) for i, (why, at) in head["ended"].items()}
    return head["step"], head["active"], ended, frames, state
