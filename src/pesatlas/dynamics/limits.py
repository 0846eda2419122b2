"""Limits beyond which a trajectory has left physics, checked for all trajectories of a group at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.md_state import State
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

    def __init__(self, each: Sequence[Limits], device: torch.device) -> None:
        self.each = each
        self.volume_ratio, self.temperature_ratio, self.lowest_K, self.jump_A = (
            torch.tensor([getattr(one, name) for one in each], dtype=torch.float64, device=device)
            for name in ("volume_ratio", "temperature_ratio", "lowest_K", "jump_A")
        )
        self.has_jumps = any(one.jump_A < np.inf for one in each)


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
    ratios = moved.volumes / start_volumes
    finite = torch.isfinite(ratios) & torch.isfinite(
        moved.per_structure(moved.positions.sum(1) + moved.velocities.sum(1))
    )
    target = torch.maximum(moved.temperature, limits.lowest_K)
    hottest = limits.temperature_ratio * target * moved.unusual_heat(_STANDARD_DEVIATIONS)
    temperatures = moved.kinetic_temperature()
    jumps = _jumps(moved, timestep_fs) if limits.has_jumps else torch.zeros_like(ratios)
    distances = _distances(moved, steps, limits.each, finite)
    close = torch.zeros_like(finite)
    close[[i for i, distance in distances.items() if distance < limits.each[i].distance_A]] = True
    # an end that is listed earlier tells more of the cause
    broken = {
        FailureReason.NOT_FINITE: ~finite,
        FailureReason.LOST_ATOMS: jumps > limits.jump_A,
        FailureReason.EXPLODED_VOLUME: (ratios > limits.volume_ratio) | (ratios < 1 / limits.volume_ratio),
        FailureReason.EXPLODED_DISTANCE: close,
        FailureReason.EXPLODED_TEMPERATURE: temperatures > hottest,
    }
    found = {}
    for i in torch.stack(list(broken.values())).any(0).nonzero().flatten().tolist():
        reason = next(reason for reason, mask in broken.items() if mask[i])
        own = limits.each[i]
        at = f"at step {steps[i]}"
        detail = {
            FailureReason.NOT_FINITE: f"cell, positions or velocities are not finite {at}",
            FailureReason.LOST_ATOMS: f"an atom went {float(jumps[i]):.3g} Å {at} (limit {own.jump_A:g} Å)",
            FailureReason.EXPLODED_VOLUME: (
                f"the volume is {float(ratios[i]):.3g} times that of the start {at} (limit "
                f"{own.volume_ratio:g})"
            ),
            FailureReason.EXPLODED_DISTANCE: (
                f"two atoms are {distances.get(i, np.nan):.3g} Å apart {at} (limit {own.distance_A:g} Å)"
            ),
            FailureReason.EXPLODED_TEMPERATURE: (
                f"{float(temperatures[i]):.4g} K {at} (limit {float(hottest[i]):.4g} K)"
            ),
        }
        found[i] = Failure(reason, detail[reason])
    return found


def check_evaluated(state: State, steps: Sequence[int]) -> dict[int, Failure]:
    """Check what the potential predicted; return what is wrong, by index in the group."""
    return {
        i: Failure(FailureReason.NOT_FINITE, f"energy, forces or stress are not finite at step {steps[i]}")
        for i in state.without_sense()
    }


def _jumps(moved: State, timestep_fs: torch.Tensor | float) -> torch.Tensor:
    """Return how far (B,) the fastest atom of each structure goes in a step, Å.

    By velocity: a strained cell takes atoms with it, far from its origin by any distance.
    """
    speeds = torch.zeros_like(moved.kinetic)
    return timestep_fs * speeds.scatter_reduce(0, moved.owner, moved.velocities.norm(dim=1), "amax")


def _distances(
    moved: State, steps: Sequence[int], limits: Sequence[Limits], finite: torch.Tensor
) -> dict[int, float]:
    """Return the shortest distance (Å) of structures in which it is due, by index in the group."""
    due = [i for i, one in enumerate(limits) if one.distance_every and steps[i] % one.distance_every == 0]
    if not due:
        return {}
    sound = finite.tolist()
    cells, positions = moved.cells.cpu().numpy(), moved.positions.cpu().numpy()
    ends = [0, *moved.n_atoms.cumsum(0).tolist()]
    return {i: min_distance(cells[i], positions[ends[i] : ends[i + 1]]) for i in due if sound[i]}
