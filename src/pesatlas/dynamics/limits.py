"""Limits beyond which a trajectory has left physics, checked for all trajectories of a group at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.md_state import State
from pesatlas.dynamics.shortest_distances import shortest_distances
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

_STANDARD_DEVIATIONS = 5.0


@dataclass(frozen=True)
class Limits:
    """Limits of one trajectory.

    Attributes
    ----------
    volume_ratio : volume relative to the start, either way
    jump_A : a distance that no atom goes in one step; LAMMPS loses such atoms
    distance_A : two atoms are never closer; checked every ``distance_every`` steps
    distance_every : 0 leaves distances to who takes the frames
    temperature_ratio : kinetic temperature relative to the target, beyond natural fluctuations
    lowest_K : a target below counts as this one, K
    """

    volume_ratio: float = 2.0
    jump_A: float = 1.0
    distance_A: float = 0.5
    distance_every: int = 10
    temperature_ratio: float = 5.0
    lowest_K: float = 0.0


class GroupLimits:
    """Limits of trajectories that advance together.

    Attributes
    ----------
    volume_ratio, temperature_ratio, lowest_K, jump_A : (B,) as ``Limits`` has them
    each : the limits of each trajectory
    has_jumps : whether any trajectory limits how far an atom goes
    """

    def __init__(
        self, each: Sequence[Limits], device: torch.device, values: "torch.Tensor | None" = None
    ) -> None:
        self.each = each
        if values is None:
            values = torch.tensor(
                [[one.volume_ratio, one.temperature_ratio, one.lowest_K, one.jump_A] for one in each],
                dtype=torch.float64,
                device=device,
            ).T
        self._values = values
        self.volume_ratio, self.temperature_ratio, self.lowest_K, self.jump_A = values.unbind()
        self.has_jumps = any(one.jump_A < np.inf for one in each)

    def keep(self, places: torch.Tensor, numbers: np.ndarray) -> Self:
        """Return those of the trajectories at these places, which the host has as ``numbers``."""
        each = [self.each[i] for i in numbers]
        return type(self)(each, places.device, self._values.index_select(1, places))

    def __add__(self, other: Self) -> Self:
        """Put the trajectories of ``other`` after these."""
        values = torch.cat([self._values, other._values], 1)
        return type(self)([*self.each, *other.each], values.device, values)

    def due(self, steps: Sequence[int]) -> list[int]:
        """Return the trajectories whose distances are to be checked after so many steps of each."""
        return [i for i, one in enumerate(self.each) if _is_due(one, steps[i])]

    def until_due(self, steps: Sequence[int]) -> float:
        """Return after how many more steps distances are to be checked."""
        often = [(one.distance_every, step) for one, step in zip(self.each, steps, strict=True)]
        return min((every - step % every for every, step in often if every), default=np.inf)


def _is_due(limits: Limits, step: int) -> bool:
    return bool(limits.distance_every) and step % limits.distance_every == 0


@dataclass(frozen=True, eq=False)
class _Motion:
    """Numbers (B,) that limits are about, and where they are broken, but for distances."""

    ratios: torch.Tensor
    jumps: torch.Tensor
    temperatures: torch.Tensor
    hottest: torch.Tensor
    finite: torch.Tensor
    broken: dict[FailureReason, torch.Tensor]


def _motion(
    moved: State, start_volumes: torch.Tensor, limits: GroupLimits, timestep_fs: torch.Tensor | float
) -> _Motion:
    ratios = moved.volumes / start_volumes
    finite = torch.isfinite(ratios) & torch.isfinite(
        moved.per_structure(moved.positions.sum(1) + moved.velocities.sum(1))
    )
    target = torch.maximum(moved.temperature, limits.lowest_K)
    hottest = limits.temperature_ratio * target * moved.unusual_heat(_STANDARD_DEVIATIONS)
    temperatures = moved.kinetic_temperature()
    jumps = _jumps(moved, timestep_fs) if limits.has_jumps else torch.zeros_like(ratios)
    # an end that is listed earlier tells more of the cause
    broken = {
        FailureReason.NOT_FINITE: ~finite,
        FailureReason.LOST_ATOMS: jumps > limits.jump_A,
        FailureReason.EXPLODED_VOLUME: (ratios > limits.volume_ratio) | (ratios < 1 / limits.volume_ratio),
        FailureReason.EXPLODED_DISTANCE: torch.zeros_like(finite),
        FailureReason.EXPLODED_TEMPERATURE: temperatures > hottest,
    }
    return _Motion(ratios, jumps, temperatures, hottest, finite, broken)


def within_limits(
    moved: State, start_volumes: torch.Tensor, limits: GroupLimits, timestep_fs: torch.Tensor | float
) -> torch.Tensor:
    """Return (B,) whether each moved structure keeps its limits, but for distances; nobody waits for it.

    Parameters are those of ``check_motion``.
    """
    return ~torch.stack(list(_motion(moved, start_volumes, limits, timestep_fs).broken.values())).any(0)


def distances_kept(moved: State, steps: Sequence[int], limits: GroupLimits) -> bool:
    """Return whether no two atoms are too close in a structure in which distances are due."""
    due = limits.due(steps)
    if not due:
        return True
    found = shortest_distances(moved.batch).cpu().numpy()
    return all(found[i] >= limits.each[i].distance_A for i in due)


def check_motion(
    moved: State,
    steps: Sequence[int],
    start_volumes: torch.Tensor,
    limits: GroupLimits,
    timestep_fs: torch.Tensor | float,
) -> dict[int, Failure]:
    """Check moved structures before the potential evaluates them.

    Return what is wrong, by index in the group.

    Parameters
    ----------
    steps : steps done by each
    start_volumes : (B,) Å³
    timestep_fs : of all, or (B,) of each, fs
    """
    seen = _motion(moved, start_volumes, limits, timestep_fs)
    broken = seen.broken
    distances = _distances(moved, limits.due(steps), seen.finite)
    close = [i for i, distance in distances.items() if distance < limits.each[i].distance_A]
    broken[FailureReason.EXPLODED_DISTANCE][close] = True
    found = {}
    for i in torch.stack(list(broken.values())).any(0).nonzero().flatten().tolist():
        reason = next(reason for reason, mask in broken.items() if mask[i])
        own = limits.each[i]
        at = f"at step {steps[i]}"
        detail = {
            FailureReason.NOT_FINITE: f"cell, positions or velocities are not finite {at}",
            FailureReason.LOST_ATOMS: (
                f"an atom went {float(seen.jumps[i]):.3g} Å {at} (limit {own.jump_A:g} Å)"
            ),
            FailureReason.EXPLODED_VOLUME: (
                f"the volume is {float(seen.ratios[i]):.3g} times that of the start {at} (limit "
                f"{own.volume_ratio:g})"
            ),
            FailureReason.EXPLODED_DISTANCE: (
                f"two atoms are {distances.get(i, np.nan):.3g} Å apart {at} (limit {own.distance_A:g} Å)"
            ),
            FailureReason.EXPLODED_TEMPERATURE: (
                f"{float(seen.temperatures[i]):.4g} K {at} (limit {float(seen.hottest[i]):.4g} K)"
            ),
        }
        found[i] = Failure(reason, detail[reason])
    return found


def check_evaluated(state: State, steps: Sequence[int]) -> dict[int, Failure]:
    """Check predictions of the potential; return problems by index in the group."""
    return {
        i: Failure(FailureReason.NOT_FINITE, f"energy, forces or stress are not finite at step {steps[i]}")
        for i in (~state.make_sense()).nonzero().flatten().tolist()
    }


def _jumps(moved: State, timestep_fs: torch.Tensor | float) -> torch.Tensor:
    """Return how far (B,) the fastest atom of each structure goes in a step, Å.

    By velocity: a strained cell takes atoms with it, far from its origin by any distance.
    """
    speeds = torch.zeros_like(moved.kinetic)
    return timestep_fs * speeds.scatter_reduce(0, moved.owner, moved.velocities.norm(dim=1), "amax")


def _distances(moved: State, due: Sequence[int], finite: torch.Tensor) -> dict[int, float]:
    """Return the shortest distance (Å) of structures in which it is due, by index in the group."""
    if not due:
        return {}
    sound = finite.tolist()
    cells, positions = moved.cells.cpu().numpy(), moved.positions.cpu().numpy()
    counts, starts = moved.layout.counts, moved.layout.starts
    return {i: min_distance(cells[i], positions[starts[i] : starts[i] + counts[i]]) for i in due if sound[i]}
