"""Molecular dynamics of a group of trajectories: one step after the other, without those that left physics.

Exploration and benchmarks both run on it. Which trajectories share a group, when frames are taken and when a
checkpoint is written is for its callers to say; the target temperature and the limits are those of each
trajectory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic

import torch

from pesatlas.dynamics.group import Group, Moving, Running, start_group
from pesatlas.dynamics.limits import check_evaluated, check_motion, distances_kept, within_limits
from pesatlas.dynamics.md_state import State
from pesatlas.dynamics.memory import Capacity
from pesatlas.dynamics.npt import NpT
from pesatlas.potentials import device as devices
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Potential
from pesatlas.tables.failures import Failure

_STRIDE = 10
"""Steps between two looks at a device that runs ahead: each waits for it; an end costs the steps again."""


class Driver(Generic[Moving]):
    """Advances groups of trajectories.

    Parameters
    ----------
    npt : the integrator
    potential : drives the dynamics
    ended : takes each trajectory that left physics, or that the potential could not evaluate, and why
    capacity : learns what fits into memory; None where all of a group stay together
    """

    def __init__(
        self,
        npt: NpT,
        potential: Potential,
        ended: Callable[[Running[Moving], Failure], None],
        capacity: Capacity | None = None,
    ) -> None:
        self._npt = npt
        self._potential = potential
        self._ended = ended
        self._capacity = capacity

    def start(self, trajectories: Sequence[Moving]) -> Group[Moving]:
        """Return trajectories at their starts, evaluated."""
        group = start_group(trajectories, self._potential.device)
        return self._evaluate(group, lambda old, new: old.evaluated(new))

    @property
    def stride(self) -> int:
        """Steps that are best taken together."""
        return _STRIDE if devices.runs_ahead(self._potential.device) else 1

    def advance(self, group: Group[Moving], steps: int = 1) -> Group[Moving]:
        """Take steps with all trajectories; return those that go on.

        What ends in one of them has ended after that step, as if they had been taken one by one: where the
        host would have to wait in each step, several are taken at once and looked at together; if anything
        is wrong in them, they are taken again, one by one.
        """
        left = steps
        while left and group.runs:
            many = int(min(left, self.stride, group.limits.until_due(group.steps)))
            left -= many
            if many == 1 or not self._run_ahead(group, many):
                for _ in range(many):
                    group = self._step(group) if group.runs else group
        return group

    def _run_ahead(self, group: Group[Moving], steps: int) -> bool:
        """Take steps at once; return whether nothing is wrong, else the group is where it was."""
        device, first = self._potential.device, group.steps
        noise, aims = torch.as_tensor(group.noise.ahead(first, steps), device=device), group.aims(steps)
        timesteps = group.timesteps(self._npt)
        lengths = self._npt.timestep_fs if timesteps is None else timesteps.fs
        state, good = group.state, torch.ones(len(first), dtype=torch.bool, device=device)
        for k in range(steps):
            aimed = state if aims is None else replace(state, temperature=aims[k])
            moved = self._npt.move(aimed, noise[k], group.cell_limits, timesteps)
            good &= within_limits(moved, group.start_volumes, group.limits, lengths)
            evaluation, failures, too_large = evaluate(self._potential, moved.batch)
            if failures or too_large:
                return False
            state = self._npt.complete(moved, evaluation, timesteps)
            good &= state.make_sense()
            if evaluation.sound is not None:
                good &= evaluation.sound
        after = [step + steps for step in first]
        group.noise.prepare(after, steps)
        if not (bool(good.all()) and distances_kept(state, after, group.limits)):
            group.forget_sizes()
            return False
        for run in group.runs:
            run.step += steps
        group.state = state
        if self._capacity and self._capacity.learns:
            self._capacity.observe(group.pairs)
        return True

    def _step(self, group: Group[Moving]) -> Group[Moving]:
        noise = torch.as_tensor(group.noise.at(group.steps), device=self._potential.device)
        aims, timesteps = group.aims(1), group.timesteps(self._npt)
        for run in group.runs:
            run.step += 1
        aimed = group.state if aims is None else replace(group.state, temperature=aims[0])
        group.state = self._npt.move(aimed, noise, group.cell_limits, timesteps)
        lengths = self._npt.timestep_fs if timesteps is None else timesteps.fs
        group = self.drop(
            group, check_motion(group.state, group.steps, group.start_volumes, group.limits, lengths)
        )
        return self._evaluate(group, partial(self._npt.complete, timesteps=group.timesteps(self._npt)))

    def drop(
        self, group: Group[Moving], failures: Mapping[int, Failure], done: Iterable[int] = ()
    ) -> Group[Moving]:
        """Return the group without failed members, which are reported, and the finished ones, by index."""
        for i, failure in failures.items():
            self._ended(group.runs[i], failure)
        gone = {*failures, *done}
        return group.without(gone) if gone else group

    def _evaluate(self, group: Group[Moving], use: Callable[..., State]) -> Group[Moving]:
        """Evaluate all; return those of which the potential predicted something finite."""
        if not group.runs:
            return group
        evaluation, failures, too_large = evaluate(self._potential, group.state.batch)
        if evaluation.sound is not None and not bool(evaluation.sound):
            group.forget_sizes()
            evaluation, failures, too_large = evaluate(self._potential, group.state.batch)
        if self._capacity and too_large and not failures:
            # with a failure, one cell was too much by itself, which says nothing of the others
            self._capacity.shrink(group.atoms, group.pairs)
        elif self._capacity and not too_large and self._capacity.learns:
            self._capacity.observe(group.pairs)
        group.state = use(group.state, evaluation)
        return self.drop(group, check_evaluated(group.state, group.steps) | failures)
