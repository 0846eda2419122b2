"""Molecular dynamics of a group of trajectories: one step after the other, without those that left physics.

Exploration and benchmarks both run on it. Which trajectories share a group, when frames are taken and when a
checkpoint is written is for its callers to say; the target temperature and the limits are those of each
trajectory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Generic

import torch

from pesatlas.dynamics.group import Group, Moving, Running, start_group
from pesatlas.dynamics.limits import check_evaluated, check_motion
from pesatlas.dynamics.md_state import State
from pesatlas.dynamics.memory import Capacity
from pesatlas.dynamics.npt import NpT
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Potential
from pesatlas.tables.failures import Failure


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

    def advance(self, group: Group[Moving]) -> Group[Moving]:
        """Take one step with all trajectories; return those that go on."""
        noise = torch.as_tensor(group.noise.at(group.steps), device=self._potential.device)
        for run in group.runs:
            run.step += 1
        timesteps = group.timesteps(self._npt)
        group.state = self._npt.move(group.aimed(), noise, group.cell_limits, timesteps)
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
        return group.split(gone)[1] if gone else group

    def _evaluate(self, group: Group[Moving], use: Callable[..., State]) -> Group[Moving]:
        """Evaluate all; return those of which the potential predicted something finite."""
        if not group.runs:
            return group
        pairs = group.pairs if self._capacity else 0.0
        evaluation, failures, too_large = evaluate(self._potential, group.state.batch)
        if self._capacity and not too_large:
            self._capacity.observe(pairs)
        elif self._capacity and not failures:
            # with a failure, one cell was too much by itself, which says nothing of the others
            self._capacity.shrink(group.atoms, pairs)
        group.state = use(group.state, evaluation)
        return self.drop(group, check_evaluated(group.state, group.steps) | failures)
