"""Batched molecular dynamics with a temperature ramp, until each structure ends or turns unphysical."""

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
from pesatlas.dynamics.md_state import State, initial_state, join
from pesatlas.dynamics.noise import Noise, initial_velocities
from pesatlas.dynamics.npt import NpT
from pesatlas.dynamics.relax import Start
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Evaluation, Potential
from pesatlas.storage.atomic import atomic_path
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
_STANDARD_DEVIATIONS = 5.0


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
    temperatures_K : target at the start and at the end, K; in a straight line between
    limits : Limits
    watch_every : steps between positions that are kept; 0 keeps none
    """

    npt: NpT
    steps: int
    temperatures_K: tuple[float, float]
    limits: Limits
    watch_every: int = 0

    def temperature(self, step: int) -> float:
        """Return the target at a step, K."""
        first, last = self.temperatures_K
        return first + (last - first) * step / self.steps


def run_together(potential: Potential, runs: Sequence[Run], plan: Plan, checkpoint: Path) -> list[Ended]:
    """Advance runs together until all have ended; a killed job goes on from its checkpoint, bit for bit on a CPU.

    Parameters
    ----------
    potential : Potential
    runs : runs that share a batch; the same ones give the same result
    plan : Plan
    checkpoint : file for what is under way, removed by the caller once results are kept
    """
    group = _Together(potential, runs, plan)
    if not group.load(checkpoint):
        group.start()
    saved = time.monotonic()
    while group.active and group.step < plan.steps:
        group.advance()
        if time.monotonic() - saved > CHECKPOINT_S:
            group.save(checkpoint)
            saved = time.monotonic()
    return group.result()


class _Together:
    """Runs that advance together: the state of those that have not ended, and what became of the others."""

    _state: State
    _noise: Noise
    _ends: list[int]

    def __init__(self, potential: Potential, runs: Sequence[Run], plan: Plan) -> None:
        self._potential = potential
        self._runs = runs
        self._plan = plan
        self._volumes = np.array([abs(np.linalg.det(run.start.cell)) for run in runs])
        self._frames: list[list[np.ndarray]] = [[] for _ in runs]
        self._ended: dict[int, tuple[End | Failure, int]] = {}
        self.active = list(range(len(runs)))
        self.step = 0

    def start(self) -> None:
        """Put all at their starts."""
        self._set(join([_start(run, self._potential.device) for run in self._runs]))
        self._evaluate(lambda old, new: old.evaluated(new))

    def advance(self) -> None:
        """Take one step, and let go whoever left physics in it."""
        drive = torch.as_tensor(self._noise.at([self.step] * len(self.active)), device=self._potential.device)
        target = torch.full_like(self._state.temperature, self._plan.temperature(self.step))
        self._state = self._plan.npt.move(replace(self._state, temperature=target), drive)
        self.step += 1
        self._look()
        if self.active:
            self._evaluate(self._plan.npt.complete)
        if self._plan.watch_every and self.step % self._plan.watch_every == 0:
            positions = self._state.positions.cpu().numpy()
            for k, i in enumerate(self.active):
                self._frames[i].append(positions[self._ends[k] : self._ends[k + 1]])

    def result(self) -> list[Ended]:
        """Return what became of each; those that go on have survived."""
        survived = dict.fromkeys(self.active, (End.SURVIVED, self.step))
        ended = self._ended | survived
        results = []
        for i, run in enumerate(self._runs):
            end, steps = ended[i]
            frames = np.array(self._frames[i]).reshape(-1, *run.start.positions.shape)
            results.append(Ended(end, steps, self._plan.temperature(steps), frames))
        return results

    def _set(self, state: State) -> None:
        self._state = state
        keys = [int(self._runs[i].key, 16) for i in self.active]
        self._noise = Noise(keys, [int(x) for x in state.degrees_of_freedom])
        self._ends = [0, *state.n_atoms.cumsum(0).tolist()]

    def _let_go(self, found: dict[int, End | Failure]) -> None:
        """Take those that have ended, by place, out of the state."""
        if not found:
            return
        self._ended |= {self.active[k]: (why, self.step) for k, why in found.items()}
        staying = torch.tensor(
            [k not in found for k in range(len(self.active))], device=self._state.cells.device
        )
        self.active = [i for k, i in enumerate(self.active) if k not in found]
        self._set(self._state.keep(staying))

    def _look(self) -> None:
        """Look at moved structures before the potential does."""
        limits, state = self._plan.limits, self._state
        ratios = state.volumes / torch.as_tensor(self._volumes[self.active], device=state.cells.device)
        # by velocity: a strained cell takes atoms with it, far from its origin by any distance
        speeds = torch.zeros_like(ratios).scatter_reduce(0, state.owner, state.velocities.norm(dim=1), "amax")
        jumps = self._plan.npt.timestep_fs * speeds
        finite = torch.isfinite(ratios + jumps) & torch.isfinite(state.per_structure(state.velocities.sum(1)))
        room = state.unusual_heat(_STANDARD_DEVIATIONS)
        hot = state.kinetic_temperature() > limits.temperature_ratio * state.temperature * room
        close = (
            self._too_close(finite) if self.step % limits.distance_every == 0 else torch.zeros_like(finite)
        )
        far = (ratios > limits.volume_ratio) | (ratios < 1 / limits.volume_ratio)
        found: dict[int, End | Failure] = {}
        # the last word counts: what is listed later says more of why
        for broken, why in (
            (hot, End.HOT),
            (close, End.CLOSE),
            (far, End.VOLUME),
            (jumps > limits.jump_A, End.LOST),
            (~finite, End.NOT_FINITE),
        ):
            found |= dict.fromkeys(broken.nonzero().flatten().tolist(), why)
        self._let_go(found)

    def _too_close(self, finite: torch.Tensor) -> torch.Tensor:
        cells, positions = self._state.cells.cpu().numpy(), self._state.positions.cpu().numpy()
        shortest = [
            min_distance(cells[k], positions[self._ends[k] : self._ends[k + 1]]) if finite[k] else np.inf
            for k in range(len(self.active))
        ]
        return torch.as_tensor(np.array(shortest) < self._plan.limits.distance_A, device=finite.device)

    def _evaluate(self, use: Callable[[State, Evaluation], State]) -> None:
        evaluation, failures, _ = evaluate(self._potential, self._state.batch)
        self._state = use(self._state, evaluation)
        self._let_go({**dict.fromkeys(self._state.without_sense(), End.NOT_FINITE), **failures})

    def save(self, path: Path) -> None:
        """Write all that is under way; not if a machine failed, which is not to be remembered."""
        ended = {i: [why.value, at] for i, (why, at) in self._ended.items() if isinstance(why, End)}
        if len(ended) < len(self._ended):
            return
        keys = [run.key for run in self._runs]
        head = {"keys": keys, "step": self.step, "active": self.active, "ended": ended}
        frames = {f"frames-{i}": np.array(each) for i, each in enumerate(self._frames)}
        arrays = self._state.arrays() | frames
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, head=np.asarray(json.dumps(head)), **arrays)

    def load(self, path: Path) -> bool:
        """Go on from what ``save`` wrote; say whether there was anything of these runs."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            head = json.loads(str(arrays["head"]))
            if head["keys"] != [run.key for run in self._runs]:
                return False
            frames = [list(arrays[f"frames-{i}"]) for i in range(len(self._runs))]
            state = State.from_arrays(arrays, self._potential.device)
        except (FileNotFoundError, ValueError, KeyError, OSError, zipfile.BadZipFile):
            return False
        self.step, self.active, self._frames = head["step"], head["active"], frames
        self._ended = {int(i): (End(why), at) for i, (why, at) in head["ended"].items()}
        self._set(state)
        log.info("going on at step %d of %d", self.step, self._plan.steps)
        return True


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
