"""Batched molecular dynamics with a temperature ramp, until each structure ends or turns unphysical."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_masses

from pesatlas.dynamics.checkpoint_file import UNREADABLE, read_checkpoint, state_of, write_checkpoint
from pesatlas.dynamics.driver import Driver
from pesatlas.dynamics.ends import LEFT_PHYSICS, SURVIVED, current_name
from pesatlas.dynamics.group import Group, Running
from pesatlas.dynamics.limits import Limits
from pesatlas.dynamics.md_state import State, initial_state
from pesatlas.dynamics.noise import initial_velocities
from pesatlas.dynamics.npt import NpT
from pesatlas.dynamics.relax import Start
from pesatlas.potentials.potential import Potential
from pesatlas.tables.failures import Failure
from pesatlas.tables.schemas import FailureReason

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0


@dataclass(frozen=True)
class Run:
    """A trajectory to run.

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
    """A trajectory that has ended.

    Attributes
    ----------
    failure : why it did not survive; None if it did
    steps : done by then
    temperature_K : target at that step
    frames : (frames, n, 3) positions, Å
    """

    failure: Failure | None
    steps: int
    temperature_K: float
    frames: np.ndarray

    @property
    def outcome(self) -> str | None:
        """End of the dynamics, as a word.

        None if it was no end of the dynamics: memory ran out, a program crashed.
        """
        if self.failure is None:
            return SURVIVED
        return self.failure.reason.value if self.failure.reason in LEFT_PHYSICS else None


@dataclass(frozen=True)
class Plan:
    """Integrator, length, temperatures and limits of runs.

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


@dataclass(frozen=True, eq=False)
class _Planned:
    """A run with its plan, as the driver takes it; ``index`` is its place among the runs."""

    index: int
    run: Run
    plan: Plan
    cell_motion: str = "all"
    same_compressibility: bool = True
    is_ramped: bool = True

    @property
    def random_key(self) -> int:
        return int(self.run.key, 16)

    @property
    def numbers(self) -> np.ndarray:
        return self.run.start.numbers

    @property
    def cell(self) -> np.ndarray:
        return self.run.start.cell

    @property
    def timestep_fs(self) -> float:
        return self.plan.npt.timestep_fs

    @property
    def compressibility_per_GPa(self) -> float:  # noqa: N802 - a unit
        return self.plan.npt.compressibility_per_GPa

    @property
    def limits(self) -> Limits:
        return self.plan.limits

    def temperature_at(self, step: int) -> float:
        """Return the target (K) of a step: that of where it begins."""
        return self.plan.temperature(step - 1)

    def start(self, device: torch.device) -> State:
        numbers, kelvin = self.numbers, self.run.temperature_K
        return initial_state(
            numbers,
            self.cell,
            self.run.start.positions,
            initial_velocities(self.random_key, atomic_masses[numbers], kelvin),
            temperature=kelvin,
            pressure=0.0,
            device=device,
        )


def run_batch(potential: Potential, runs: Sequence[Run], plan: Plan, checkpoint: Path) -> list[Ended]:
    """Advance runs together until all have ended.

    A killed job goes on from its checkpoint, bit for bit on a CPU.

    Parameters
    ----------
    potential : Potential
    runs : runs that share a batch; the same ones give the same result
    plan : Plan
    checkpoint : file for what is under way, removed by the caller once results are kept
    """
    batch = _Batch(potential, runs, plan, checkpoint)
    batch.run()
    return batch.result()


class _Batch:
    """Runs that advance together: those that have not ended, and what became of the others."""

    _group: Group[_Planned]

    def __init__(self, potential: Potential, runs: Sequence[Run], plan: Plan, checkpoint: Path) -> None:
        self._device = potential.device
        self._planned = [_Planned(i, run, plan) for i, run in enumerate(runs)]
        self._plan = plan
        self._path = checkpoint
        self._driver = Driver[_Planned](plan.npt, potential, self._end)
        self._ended: dict[int, tuple[Running[_Planned], Failure]] = {}

    def run(self) -> None:
        """Take all steps, from the checkpoint on if there is one."""
        if not self._load():
            self._group = self._driver.start(self._planned)
        saved = time.monotonic()
        while self._group.runs and self._group.runs[0].step < self._plan.steps:
            self._group = self._driver.advance(self._group, self._until_looked_at())
            self._watch()
            if time.monotonic() - saved > CHECKPOINT_S:
                self._save()
                saved = time.monotonic()

    def _until_looked_at(self) -> int:
        """Return how many steps may be taken at once."""
        step, every = self._group.runs[0].step, self._plan.watch_every
        left = self._plan.steps - step
        return min(self._driver.stride, left, every - step % every if every else left)

    def result(self) -> list[Ended]:
        """Return what became of each, in their order; those that go on have survived."""
        survived = {run.trajectory.index: (run, None) for run in self._group.runs}
        every: dict[int, tuple[Running[_Planned], Failure | None]] = {**self._ended, **survived}
        return [
            Ended(
                failure,
                run.step,
                self._plan.temperature(run.step),
                np.array(run.frames).reshape(-1, *run.trajectory.run.start.positions.shape),
            )
            for run, failure in (every[each.index] for each in self._planned)
        ]

    def _end(self, run: Running[_Planned], failure: Failure) -> None:
        self._ended[run.trajectory.index] = run, failure

    def _watch(self) -> None:
        """Keep the positions that are due."""
        runs, every = self._group.runs, self._plan.watch_every
        if not (runs and every) or runs[0].step % every:
            return
        state = self._group.state
        ends = state.n_atoms.cumsum(0).tolist()[:-1]
        for run, positions in zip(runs, np.split(state.positions.cpu().numpy(), ends), strict=True):
            run.frames.append(positions)

    def _save(self) -> None:
        """Write all that is under way; not if a machine failed, which is not to be remembered."""
        if any(failure.reason not in LEFT_PHYSICS for _, failure in self._ended.values()):
            return
        active = self._group.runs
        head = {
            "keys": [each.run.key for each in self._planned],
            "step": active[0].step if active else self._plan.steps,
            "active": [run.trajectory.index for run in active],
            "ended": {i: [failure.reason.value, run.step] for i, (run, failure) in self._ended.items()},
        }
        every = [*active, *(run for run, _ in self._ended.values())]
        frames = {f"frames-{run.trajectory.index}": np.array(run.frames) for run in every}
        write_checkpoint(self._path, head, {"": self._group.state if active else None}, frames)

    def _load(self) -> bool:
        """Go on from what ``_save`` wrote; return whether there was anything of these runs."""
        try:
            head, arrays = read_checkpoint(self._path)
            if head["keys"] != [each.run.key for each in self._planned]:
                return False
            at = dict.fromkeys(head["active"], head["step"])
            at |= {int(i): step for i, (_, step) in head["ended"].items()}
            runs = {
                each.index: Running(each, at[each.index], list(arrays[f"frames-{each.index}"]))
                for each in self._planned
            }
            active = [runs[i] for i in head["active"]]
            self._group = Group(active, state_of(arrays, "", self._device)) if active else Group()
            ends = {int(i): FailureReason(current_name(end)) for i, (end, _) in head["ended"].items()}
        except UNREADABLE:
            return False
        self._ended = {i: (runs[i], Failure(end, "")) for i, end in ends.items()}
        log.info("continuing at step %d of %d", head["step"], self._plan.steps)
        return True
