"""Running trajectories of exploration and benchmarks that share one state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class _Settings:
    """Settings of the trajectories of a group that no step changes, where the state is.

    Attributes
    ----------
    start_volumes : (B,) Å³
    noise : their random numbers
    limits : limits beyond which they are unphysical
    cell_limits : freedom of their cells; None where all have that of the integrator
    """

    start_volumes: torch.Tensor
    noise: Noise
    limits: GroupLimits
    cell_limits: CellLimits | None

    @classmethod
    def of(cls, trajectories: Sequence[Dynamics], state: State) -> Self:
        device = state.cells.device
        cells = torch.as_tensor(np.stack([each.cell for each in trajectories]).astype(float))
        plain = all(each.cell_motion == "all" and each.same_compressibility for each in trajectories)
        return cls(
            torch.linalg.det(cells).abs().to(device),
            Noise(
                [each.random_key for each in trajectories],
                np.maximum(3 * state.layout.counts - 3, 0).tolist(),
            ),
            GroupLimits([each.limits for each in trajectories], device),
            None if plain else _cell_limits(trajectories, device),
        )

    def keep(self, places: np.ndarray) -> Self:
        there = torch.as_tensor(places, device=self.start_volumes.device)
        return type(self)(
            self.start_volumes[there],
            self.noise.keep(places),
            self.limits.keep(there, places),
            self.cell_limits.keep(there) if self.cell_limits else None,
        )


class Group(Generic[Moving]):
    """Trajectories and their common state, in the same order; it may be empty (``state`` is None then)."""

    def __init__(
        self,
        runs: Sequence[Running[Moving]] = (),
        state: State | None = None,
        settings: _Settings | None = None,
    ) -> None:
        self.runs = list(runs)
        self._state = state
        self._timesteps: Timesteps | None = None
        self._equal_timesteps = False
        if state is not None:
            state.layout.steady = True
            self._settings = settings or _Settings.of([run.trajectory for run in self.runs], state)
            self._ramped = [i for i, run in enumerate(self.runs) if run.trajectory.is_ramped]

    @property
    def state(self) -> State:
        """The common state of a group that is not empty."""
        if self._state is None:
            raise ValueError("an empty group has no state")
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    @property
    def start_volumes(self) -> torch.Tensor:
        """(B,) volumes at the start, Å³."""
        return self._settings.start_volumes

    @property
    def noise(self) -> Noise:
        """Their random numbers."""
        return self._settings.noise

    @property
    def limits(self) -> GroupLimits:
        """Limits beyond which they are unphysical."""
        return self._settings.limits

    @property
    def cell_limits(self) -> CellLimits | None:
        """Freedom of their cells; None where all are free, and as compressible as the integrator has it."""
        return self._settings.cell_limits

    def aims(self, count: int) -> "torch.Tensor | None":
        """Return the target temperatures (count, B) of the next steps; None where no target changes."""
        if not self._ramped:
            return None
        targets = np.tile([run.trajectory.temperature_at(run.step + 1) for run in self.runs], (count, 1))
        for i in self._ramped:
            run = self.runs[i]
            targets[:, i] = [run.trajectory.temperature_at(run.step + 1 + k) for k in range(count)]
        return torch.as_tensor(targets, device=self.state.cells.device)

    def timesteps(self, npt: NpT) -> Timesteps | None:
        """Return the time step of each trajectory; None where all have that of the integrator."""
        if self._timesteps is None and not self._equal_timesteps:
            own = [run.trajectory.timestep_fs for run in self.runs]
            self._equal_timesteps = all(step == npt.timestep_fs for step in own)
            if not self._equal_timesteps:
                self._timesteps = Timesteps.of(own, npt.thermostat_tau_fs, self.state.cells.device)
        return self._timesteps

    def forget_sizes(self) -> None:
        """Let the next evaluation look at the sizes of things again, as that of a new group would."""
        if self.runs:
            self.state.layout.kept.clear()

    @property
    def steps(self) -> list[int]:
        """Steps done by each trajectory."""
        return [run.step for run in self.runs]

    @property
    def atoms(self) -> int:
        """Atoms in all."""
        return self.state.layout.atoms if self.runs else 0

    @property
    def pairs(self) -> float:
        """Estimated pairs of neighbours in all."""
        return load_of(self.state.n_atoms, self.state.volumes) if self.runs else 0.0

    def split(self, first: Iterable[int]) -> tuple[Self, Self]:
        """Return the trajectories at these places, and the others, both in their order."""
        chosen = np.zeros(len(self.runs), dtype=bool)
        chosen[list(first)] = True
        return self._part(np.flatnonzero(chosen)), self._part(np.flatnonzero(~chosen))

    def without(self, gone: Iterable[int]) -> Self:
        """Return the trajectories but for those at these places."""
        staying = np.ones(len(self.runs), dtype=bool)
        staying[list(gone)] = False
        return self._part(np.flatnonzero(staying))

    def _part(self, places: np.ndarray) -> Self:
        if not len(places):
            return type(self)()
        if len(places) == len(self.runs):
            return self
        runs = [self.runs[i] for i in places]
        return type(self)(runs, self.state.keep(places), self._settings.keep(places))

    def __add__(self, other: Self) -> Self:
        """Put the trajectories of ``other`` after these."""
        if not (self.runs and other.runs):
            return self if self.runs else other
        one, more = self.cell_limits, other.cell_limits
        if one or more:
            device = self.state.cells.device
            one = one or _cell_limits([run.trajectory for run in self.runs], device)
            more = more or _cell_limits([run.trajectory for run in other.runs], device)
        settings = _Settings(
            torch.cat([self.start_volumes, other.start_volumes]),
            self.noise + other.noise,
            self.limits + other.limits,
            one + more if one and more else None,
        )
        return type(self)(self.runs + other.runs, join([self.state, other.state]), settings)


def start_group(trajectories: Sequence[Moving], device: torch.device) -> Group[Moving]:
    """Put trajectories at their starts; no potential has seen them yet."""
    if not trajectories:
        return Group()
    here = torch.device("cpu")
    state = join([each.start(here) for each in trajectories])
    return Group([Running(each) for each in trajectories], state if device == here else state.to(device))


def _cell_limits(trajectories: Sequence[Dynamics], device: torch.device) -> CellLimits:
    return CellLimits.of(
        [each.cell_motion for each in trajectories],
        [each.compressibility_per_GPa for each in trajectories],
        device,
    )
