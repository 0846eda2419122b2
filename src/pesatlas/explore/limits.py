"""Criteria by which a trajectory is unphysical."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pesatlas.config.explore import Abort, hydrogen_warning
from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.md_state import State
from pesatlas.explore.stored_frames import Frame
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

_LOWEST_LIMIT_K = 300.0
_STANDARD_DEVIATIONS = 5.0


def check_start(cell: np.ndarray, positions: np.ndarray, abort: Abort) -> Failure | None:
    """Look at a structure before a potential does: overlapping atoms can stop a model for all its neighbours."""
    if not (np.isfinite(cell).all() and np.isfinite(positions).all() and np.linalg.det(cell) > 0):
        return Failure(
            FailureReason.NOT_FINITE,
            "the start has a cell or positions that are not finite, or a cell without volume",
        )
    return _too_close(min_distance(cell, positions), abort, "the start")


def check_frame(frame: Frame, abort: Abort) -> Failure | None:
    """Look at a frame before it is kept."""
    return _too_close(frame["min_distance_A"], abort, f"step {frame['step']}")


def _too_close(distance: float, abort: Abort, where: str) -> Failure | None:
    if distance >= abort.min_distance_A:
        return None
    return Failure(
        FailureReason.EXPLODED_DISTANCE,
        f"two atoms are {distance:.3g} Å apart in {where} (limit {abort.min_distance_A:g} Å)",
    )


_OF_DYNAMICS = {
    FailureReason.EXPLODED_DISTANCE,
    FailureReason.EXPLODED_TEMPERATURE,
    FailureReason.EXPLODED_VOLUME,
    FailureReason.NOT_FINITE,
}


def with_cause(failure: Failure, numbers: np.ndarray, timestep_fs: float) -> Failure:
    """Return a failure with its likely cause, if the time step is too long for hydrogen."""
    why = hydrogen_warning(timestep_fs, numbers) if failure.reason in _OF_DYNAMICS else ""
    return replace(failure, detail=f"{failure.detail}; {why}") if why else failure


class Limits:
    """Limits of trajectories that advance together.

    Attributes
    ----------
    volume_ratio, temperature_factor : (B,) as ``Abort`` has them
    """

    def __init__(self, aborts: Sequence[Abort], device: torch.device) -> None:
        self.volume_ratio, self.temperature_factor = (
            torch.tensor([getattr(each, name) for each in aborts], dtype=torch.float64, device=device)
            for name in ("max_volume_ratio", "max_temperature_factor")
        )


def check_motion(
    moved: State, steps: Sequence[int], start_volumes: torch.Tensor, limits: Limits
) -> dict[int, Failure]:
    """Look at moved structures before the potential does; return what is wrong, by place in the batch."""
    most = limits.volume_ratio
    ratios = moved.volumes / start_volumes
    finite = torch.isfinite(ratios) & torch.isfinite(
        moved.per_structure(moved.positions.sum(1) + moved.velocities.sum(1))
    )
    target = moved.temperature.clamp(min=_LOWEST_LIMIT_K)
    hottest = limits.temperature_factor * target * moved.unusual_heat(_STANDARD_DEVIATIONS)
    temperatures = moved.kinetic_temperature()
    exploded = (ratios > most) | (ratios < 1 / most)
    broken = exploded | (temperatures > hottest) | ~finite
    found = {}
    for i in broken.nonzero().flatten().tolist():
        step = steps[i]
        if not finite[i]:
            found[i] = Failure(
                FailureReason.NOT_FINITE, f"cell, positions or velocities are not finite at step {step}"
            )
        elif exploded[i]:
            detail = f"the volume is {float(ratios[i]):.3g} times that of the start at step {step} (limit {float(most[i]):g})"
            found[i] = Failure(FailureReason.EXPLODED_VOLUME, detail)
        else:
            detail = f"{float(temperatures[i]):.4g} K at step {step} (limit {float(hottest[i]):.4g} K)"
            found[i] = Failure(FailureReason.EXPLODED_TEMPERATURE, detail)
    return found


def check_evaluated(state: State, steps: Sequence[int]) -> dict[int, Failure]:
    """Look at what the potential said; return what is wrong, by place in the batch."""
    return {
        i: Failure(FailureReason.NOT_FINITE, f"energy, forces or stress are not finite at step {steps[i]}")
        for i in state.without_sense()
    }
