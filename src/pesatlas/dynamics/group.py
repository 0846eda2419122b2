"""Running trajectories of exploration and benchmarks that share one state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch

from pesatlas.dynamics.cell_limits import CellLimits
from pesatlas.dynamics.limits import GroupLimits, Limits
from pesatlas.dynamics.md_state import State, join
from pesatlas.dynamics.memory import load_of
from pesatlas.dynamics.noise import Noise
from pesatlas.dynamics.npt import NpT, Timesteps


class Dynamics(Protocol):
    """Settings of a trajectory, without potential and integrator."""

    @property
    def random_key(self) -> int:
        """128 bits that decide its random numbers."""

    @property
    def numbers(self) -> np.ndarray:
        """(n,) atomic numbers."""

    @property
    def cell(self) -> np.ndarray:
        """(3, 3) Å, at the start."""

    @property
    def timestep_fs(self) -> float:
        """Time step, fs."""

    @property
    def cell_motion(self) -> str:
        """Freedom of the barostat: all, isotropic, in_plane, none."""

    @property
    def compressibility_per_GPa(self) -> float:  # noqa: N802 - a unit
        """For the pace of the barostat, 1/GPa."""

    @property
    def same_compressibility(self) -> bool:
        """Whether that is the one of the integrator."""

    @property
    def is_ramped(self) -> bool:
        """Whether the target temperature changes."""

    @property
    def limits(self) -> Limits:
        """Limits beyond which it is unphysical."""

    def temperature_at(self, step: int) -> float:
        """Return the target (K) of the step that makes ``step`` steps done."""

    def start(self, device: torch.device) -> State:
        """Make the state at step 0."""


Moving = TypeVar("Moving", bound=Dynamics)


@dataclass(eq=False)
class Running(Generic[Moving]):
    """One trajectory under way.

    Attributes
    ----------
    trajectory : what is computed
    step : steps done
    frames : frames so far
    saved : how many of them the checkpoint has as they will stay
    """

    trajectory: Moving
    step: int = 0
    frames: list[Any] = field(default_factory=list)
    saved: int = 0


class Group(Generic[Moving]):
    """Trajectories and their common state, in the same order; it may be empty (``state`` is None then)."""

    def __init__(self, runs: Sequence[Running[Moving]] = (), state: State | None = None) -> None:
        self.runs = list(runs)
        self._state = state
        self._timesteps: Timesteps | None = None
        if state is not None:
            self.start_volumes = torch.tensor(
                [_volume(run) for run in self.runs], dtype=torch.float64, device=state.cells.device
            )
            self.noise = Noise(
                [run.trajectory.random_key for run in self.runs], [int(x) for x in state.degrees_of_freedom]
            )
            self.limits = GroupLimits([run.trajectory.limits for run in self.runs], state.cells.device)
            self.cell_limits = _cell_limits([run.trajectory for run in self.runs], state.cells.device)
            self._ramps = any(run.trajectory.is_ramped for run in self.runs)

    @property
    def state(self) -> State:
        """The common state of a group that is not empty."""
        if self._state is None:
            raise ValueError("an empty group has no state")
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    def aimed(self) -> State:
        """Return the state with the target temperatures of the steps that are being taken."""
        if not self._ramps:
            return self.state
        targets = [run.trajectory.temperature_at(run.step) for run in self.runs]
        return replace(
            self.state, temperature=torch.tensor(targets, dtype=torch.float64, device=self.state.cells.device)
        )

    def timesteps(self, npt: NpT) -> Timesteps | None:
        """Return the time step of each trajectory; None where all have that of the integrator."""
        if self._timesteps is None:
            own = [run.trajectory.timestep_fs for run in self.runs]
            if all(step == npt.timestep_fs for step in own):
                return None
            self._timesteps = Timesteps.of(own, npt.thermostat_tau_fs, self.state.cells.device)
        return self._timesteps

    @property
    def steps(self) -> list[int]:
        """Steps done by each trajectory."""
        return [run.step for run in self.runs]

    @property
    def atoms(self) -> int:
        """Atoms in all."""
        return sum(len(run.trajectory.numbers) for run in self.runs)

    @property
    def pairs(self) -> float:
        """Estimated pairs of neighbours in all."""
        return load_of(self.state.n_atoms, self.state.volumes) if self.runs else 0.0

    def split(self, first: Iterable[int]) -> tuple[Self, Self]:
        """Return the trajectories at these places, and the others, both in their order."""
        chosen = set(first)
        if not self.runs:
            return self, type(self)()
        mask = torch.tensor([i in chosen for i in range(len(self.runs))], device=self.state.cells.device)
        return self._part(mask), self._part(~mask)

    def _part(self, mask: torch.Tensor) -> Self:
        runs = [run for run, wanted in zip(self.runs, mask.tolist(), strict=True) if wanted]
        if not runs:
            return type(self)()
        return self if len(runs) == len(self.runs) else type(self)(runs, self.state.keep(mask))

    def __add__(self, other: Self) -> Self:
        """Put the trajectories of ``other`` after these."""
        if not (self.runs and other.runs):
            return self if self.runs else other
        return type(self)(self.runs + other.runs, join([self.state, other.state]))


def start_group(trajectories: Sequence[Moving], device: torch.device) -> Group[Moving]:
    """Put trajectories at their starts; no potential has seen them yet."""
    if not trajectories:
        return Group()
    return Group(
        [Running(each) for each in trajectories], join([each.start(device) for each in trajectories])
    )


def _cell_limits(trajectories: Sequence[Dynamics], device: torch.device) -> CellLimits | None:
    """Return what the cells may do; None where all are free and as compressible as the integrator has it."""
    if all(each.cell_motion == "all" and each.same_compressibility for each in trajectories):
        return None
    return CellLimits.of(
        [each.cell_motion for each in trajectories],
        [each.compressibility_per_GPa for each in trajectories],
        device,
    )


def _volume(run: Running[Any]) -> float:
    return abs(float(torch.linalg.det(torch.as_tensor(run.trajectory.cell))))
