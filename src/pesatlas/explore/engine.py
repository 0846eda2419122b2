"""The loop: trajectories advance in batches, leave when they end or fail, and others take their places."""

import logging
import time
from collections import deque
from collections.abc import Collection, Mapping

import numpy as np
import torch

from pesatlas.config.explore import Explore
from pesatlas.dynamics.driver import Driver
from pesatlas.dynamics.group import Group, Running
from pesatlas.dynamics.memory import Capacity, load_of
from pesatlas.dynamics.npt import NpT
from pesatlas.explore.checkpoint import Checkpoint, Progress
from pesatlas.explore.frame_checks import check_frame, check_start, with_cause
from pesatlas.explore.saturation import Saturation
from pesatlas.explore.stored_frames import take_frames
from pesatlas.explore.trajectory import Commit, Trajectory
from pesatlas.potentials.potential import Potential
from pesatlas.runtime.progress import report
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)


class Engine:
    """Run trajectories to their ends.

    Which trajectories share a batch at which step follows from their order and the capacity alone, and is
    restored from the checkpoint: a potential's last bits may depend on what it evaluates together.

    Parameters
    ----------
    settings : section ``explore``
    potential : drives the dynamics
    checkpoint : where to save
    commit : takes what has ended
    saturation : says which trajectories end early; None if none do
    """

    def __init__(
        self,
        settings: Explore,
        potential: Potential,
        checkpoint: Checkpoint,
        commit: Commit,
        saturation: Saturation | None = None,
    ) -> None:
        self._settings = settings
        self._saturation = saturation
        self._checkpoint = checkpoint
        self._commit = commit
        npt = NpT(
            settings.longest_timestep_fs,
            settings.thermostat_tau_fs,
            settings.barostat_tau_fs,
            settings.compressibility_per_GPa,
        )
        self._capacity = Capacity(potential.device, settings.max_atoms_in_memory)
        self._driver = Driver(npt, potential, self._end, self._capacity)
        self._failed = 0

    def run(self, trajectories: Mapping[str, Trajectory], missing: Collection[str]) -> None:
        """Go on from the checkpoint.

        Without one, run those of ``trajectories`` (by key) whose keys are ``missing``.

        What was to be computed is decided once, at the start: a resumed job that left out what was finished
        since would evaluate other structures together than the job it goes on for.
        """
        progress = self._checkpoint.load(trajectories)
        if progress is None:
            # large cells first: they decide what fits, and the small ones fill the gaps at the end
            new = [each for key, each in trajectories.items() if key in missing]
            progress = Progress(queue=deque(sorted(new, key=lambda each: (-len(each.numbers), each.key))))
            self._checkpoint.save(progress)
        meter = Meter(progress, self._settings, len(trajectories))
        saved = time.monotonic()
        while progress.waiting:
            if self._has_frames(progress.active):
                progress.active.forget_sizes()
                self._fill(progress)
            if progress.active.runs:
                steps = min(self._driver.stride, _until_frame(progress.active))
                meter.count(progress.active.atoms * steps)
                group = self._keep_frames(self._driver.advance(progress.active, steps))
                progress.active, progress.paused = self._shed(group, progress.paused)
            due = time.monotonic() - saved >= self._settings.checkpoint_interval_s
            if due and self._has_frames(progress.active):
                self._checkpoint.save(progress)
                saved = time.monotonic()
            meter.report(progress, self._failed)
        meter.write_progress(progress, self._failed)
        self._checkpoint.save(progress)

    def _has_frames(self, active: Group[Trajectory]) -> bool:
        """Return whether trajectories may join now, and a checkpoint be written.

        Where steps are taken together, only when frames have been kept: so all have their frames at the same
        steps, and what is kept from step to step, but not in a checkpoint, begins anew there.
        """
        if self._driver.stride == 1 or not active.runs:
            return True
        return any(run.step % run.trajectory.frame_steps == 0 for run in active.runs)

    def _fill(self, progress: Progress) -> None:
        """Admit waiting trajectories while there is room; interrupted ones come first."""
        if not (progress.paused.runs or progress.queue):
            return
        atoms, pairs = progress.active.atoms, progress.active.pairs
        back: list[int] = []
        for i, run in enumerate(progress.paused.runs):
            more = (
                len(run.trajectory.numbers),
                load_of(progress.paused.state.n_atoms[i : i + 1], progress.paused.state.volumes[i : i + 1]),
            )
            if (atoms or back) and not self._capacity.fits(atoms + more[0], pairs + more[1]):
                break
            back.append(i)
            atoms, pairs = atoms + more[0], pairs + more[1]
        if back:
            entering, progress.paused = progress.paused.split(back)
            progress.active += entering
        if not progress.paused.runs:
            self._start(progress, atoms, pairs)

    def _start(self, progress: Progress, atoms: int, pairs: float) -> None:
        entering: list[Trajectory] = []
        while progress.queue:
            first = progress.queue[0]
            failure = check_start(first.cell, first.positions, first.abort)
            if failure:
                self._failed += 1
                self._commit(progress.queue.popleft(), [], failure)
                continue
            more = len(first.numbers), _load(first)
            if atoms and not self._capacity.fits(atoms + more[0], pairs + more[1]):
                break
            entering.append(progress.queue.popleft())
            atoms, pairs = atoms + more[0], pairs + more[1]
        if entering:
            progress.active += self._driver.start(entering)

    def _keep_frames(self, group: Group[Trajectory]) -> Group[Trajectory]:
        """Store the frames that are due; remove finished and rejected trajectories."""
        failures: dict[int, Failure] = {}
        done = []
        due = {i: run.step for i, run in enumerate(group.runs) if run.step % run.trajectory.frame_steps == 0}
        for i, frame in (take_frames(group.state, due) if due else {}).items():
            run = group.runs[i]
            failure = check_frame(frame, run.trajectory.abort)
            if failure:
                failures[i] = failure
                continue
            run.frames.append(frame)
            if self._saturation:
                self._saturation.begin(frame)
            if run.step == run.trajectory.steps or (self._saturation and self._saturation.is_over(run)):
                self._ended(run, None)
                done.append(i)
        return self._driver.drop(group, failures, done)

    def _ended(self, run: Running[Trajectory], failure: Failure | None) -> None:
        if self._saturation:
            self._saturation.finish(run)
        self._commit(run.trajectory, run.frames, failure)

    def _end(self, run: Running[Trajectory], found: Failure) -> None:
        """Commit a trajectory that failed."""
        failure = with_cause(found, run.trajectory.numbers, run.trajectory.timestep_fs)
        log.warning("%s failed: %s, %s", run.trajectory.name, failure.reason.value, failure.detail)
        self._ended(run, failure)
        self._failed += 1

    def _shed(
        self, group: Group[Trajectory], paused: Group[Trajectory]
    ) -> tuple[Group[Trajectory], Group[Trajectory]]:
        """Pause the last trajectories if there are more than fit into memory."""
        if len(group.runs) <= 1 or self._capacity.fits(group.atoms, group.pairs):
            return group, paused
        count = len(group.runs)
        while count > 1:
            count -= 1
            staying, leaving = group.split(range(count))
            if self._capacity.fits(staying.atoms, staying.pairs):
                break
        return staying, leaving + paused


class Meter:
    """Speed, and the time that is left, in the log and in the file of progress.

    Parameters
    ----------
    progress : what is to be done now
    settings : section ``explore``
    total : trajectories of the batch; those that are not in ``progress`` were done before
    """

    def __init__(self, progress: Progress, settings: Explore, total: int) -> None:
        self._all = progress.waiting
        self._total = total
        self._settings = settings
        self._begun = self._said = time.monotonic()
        self._work = 0
        self.write_progress(progress, 0)

    def count(self, work: int) -> None:
        """Take note of so many steps times atoms."""
        self._work += work

    def report(self, progress: Progress, failed: int) -> None:
        """Write a line if the last one was long enough ago."""
        now = time.monotonic()
        if now - self._said < self._settings.progress_interval_s:
            return
        self._said = now
        rate = self._rate()
        log.info(
            "%d of %d trajectories done, %d advance with %d atoms, %.0f steps·atoms/s, %s left",
            self._all - progress.waiting,
            self._all,
            len(progress.active.runs),
            progress.active.atoms,
            rate,
            _duration(self._left(progress) / rate) if rate else "unknown time",
        )
        self.write_progress(progress, failed)

    def write_progress(self, progress: Progress, failed: int) -> None:
        """Write the progress file for ``pesatlas status``."""
        rate = self._rate()
        report(
            "trajectories",
            self._total - progress.waiting,
            self._total,
            failed=failed,
            left_s=self._left(progress) / rate if rate else None,
            speed=rate or None,
            now=True,
        )

    def _rate(self) -> float:
        """Return steps times atoms per second since the start."""
        return self._work / max(time.monotonic() - self._begun, 1e-6)

    def _left(self, progress: Progress) -> int:
        runs = [*progress.active.runs, *progress.paused.runs]
        under_way = sum(len(run.trajectory.numbers) * (run.trajectory.steps - run.step) for run in runs)
        return under_way + sum(each.steps * len(each.numbers) for each in progress.queue)


def _until_frame(group: Group[Trajectory]) -> int:
    """Return after how many steps the next frame is due."""
    return min(run.trajectory.frame_steps - run.step % run.trajectory.frame_steps for run in group.runs)


def _load(trajectory: Trajectory) -> float:
    volume = float(np.linalg.det(trajectory.cell))
    return load_of(torch.tensor([len(trajectory.numbers)]), torch.tensor([volume], dtype=torch.float64))


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours} h {m:02d} min" if hours else f"{m} min {s:02d} s"
