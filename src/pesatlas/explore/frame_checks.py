"""Checks of starts and of frames: overlapping atoms, and the likely cause of a failure."""

from dataclasses import replace

import numpy as np

from pesatlas.config.explore import Abort, hydrogen_warning
from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.ends import LEFT_PHYSICS
from pesatlas.explore.stored_frames import Frame
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure


def check_start(cell: np.ndarray, positions: np.ndarray, abort: Abort) -> Failure | None:
    """Look at a structure before a potential does.

    Overlapping atoms can stop a model for all its neighbours.
    """
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


def with_cause(failure: Failure, numbers: np.ndarray, timestep_fs: float) -> Failure:
    """Return a failure with its likely cause, if the time step is too long for hydrogen."""
    why = hydrogen_warning(timestep_fs, numbers) if failure.reason in LEFT_PHYSICS else ""
    return replace(failure, detail=f"{failure.detail}; {why}") if why else failure
