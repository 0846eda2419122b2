"""New frames of a trajectory, and its end when there are none.

A frame is new if its structure, or an atom of it, is further than a threshold from all that were new before.
A trajectory is over when none was in the last part of its time. That part grows with the time, for what
fluctuates sets new records ever more rarely: as many between 1 and 2 ps as between 10 and 20.

The rule is a function of the trajectory's own frames: these are encoded in blocks of its own, never together
with others, for the last bits of features depend on what is evaluated together. So the end of a trajectory
depends neither on its neighbours in a batch nor on their order, and a resumed job, which has the features of
the frames that it read from the checkpoint, decides what the killed one would have.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.config.explore import Explore
from pesatlas.config.explore_stop import Saturated
from pesatlas.config.plugins import find
from pesatlas.dynamics.group import Running
from pesatlas.errors import UserError
from pesatlas.explore import feature_metric
from pesatlas.explore.stored_frames import ATOMS, NEW, STRUCTURE, Frame
from pesatlas.explore.trajectory import Trajectory
from pesatlas.potentials import encoder as interface
from pesatlas.potentials.described import describe, is_finite

VERSION = 1
"""Raise it when the same frames would end elsewhere: trajectories are then computed anew."""

_ATOMS_AT_ONCE = 400
"""A constant: what is encoded together decides last bits."""
_BLOCKS_IN_SHORTEST = 4
_ROUNDING = 1e-9


class Saturation:
    """Judge of trajectories.

    Parameters
    ----------
    settings : section ``explore`` with ``stop`` of kind ``saturated``
    encoder : the one of ``stop``
    """

    def __init__(self, settings: Explore, encoder: interface.Encoder) -> None:
        stop = settings.stop
        if not isinstance(stop, Saturated):
            raise TypeError(stop)
        self.encoder = encoder
        self._thresholds = stop.structures, stop.atoms
        self._patience = stop.patience
        self._shortest = max(1, round(stop.min_length_ps / settings.frame_interval_ps))
        self._block = max(1, self._shortest // _BLOCKS_IN_SHORTEST)
        self._metric = feature_metric.metric_of(encoder)
        self._seen: dict[str, _Seen] = {}

    @property
    def identity(self) -> list[Any]:
        """Whose features decide, and by which rule."""
        return [VERSION, feature_metric.VERSION, self.encoder.name, self.encoder.weights_hash]

    def check(self, trajectories: Iterable[Trajectory]) -> None:
        """Raise a UserError if there are elements that the encoder does not know."""
        for each in trajectories:
            if unknown := sorted(set(each.numbers.tolist()) - self.encoder.elements):
                raise UserError(
                    f"{each.name}: the encoder {self.encoder.name} does not know the element(s) with atomic "
                    f"number {unknown}. Choose another in explore.stop.encoder, or leave these structures "
                    "out."
                )

    @staticmethod
    def begin(frame: Frame) -> None:
        """Mark a frame that was just taken as one that is to be described."""
        frame |= dict.fromkeys((STRUCTURE, ATOMS, NEW))

    def is_over(self, run: Running[Trajectory]) -> bool:
        """Whether a trajectory, whose last frame was just taken, shows nothing new any more."""
        if len(run.frames) % self._block:
            return False
        self.look(run)
        of_ramps = -(-run.trajectory.ramp_steps // run.trajectory.frame_steps)
        return self.is_saturated([frame[NEW] for frame in run.frames], of_ramps)

    def is_saturated(self, new: Sequence[bool], of_ramps: int = 0) -> bool:
        """Whether a trajectory ends after some frames, of which some were new.

        It never does where no block of frames ends. ``of_ramps`` are the frames before its temperature stays.
        """
        time = len(new) - of_ramps
        if len(new) % self._block or time < self._shortest:
            return False
        last = max((i for i, is_new in enumerate(new, start=1) if is_new), default=0) - of_ramps
        return time - max(last, 0) >= self._patience * time - _ROUNDING

    def new_frames(
        self, structures: Sequence[NDArray[np.float16]], atoms: Sequence[NDArray[np.float16]]
    ) -> list[bool]:
        """Whether each frame of a trajectory is new, by its features (D,) and those of its atoms (n, d)."""
        seen = _Seen(self._metric, self._thresholds)
        return [seen.add(*frame) for frame in zip(structures, atoms, strict=True)]

    def look(self, run: Running[Trajectory]) -> None:
        """Describe the frames that were not yet, and say which are new."""
        numbers = run.trajectory.numbers.astype(np.int64)
        seen = self._seen.get(run.trajectory.key)
        if seen is None:
            seen = self._seen[run.trajectory.key] = _Seen(self._metric, self._thresholds)
            # of a resumed trajectory: what it has shown before
            for frame in run.frames:
                if frame[NEW] is not None:
                    seen.add(frame[STRUCTURE], frame[ATOMS].reshape(len(numbers), -1))
        left = [frame for frame in run.frames if frame[NEW] is None]
        asked = [
            interface.Frame(numbers, frame["positions_A"].reshape(-1, 3), frame["cell_A"].reshape(3, 3))
            for frame in left
        ]
        for frame, found in zip(left, describe(self.encoder, asked, _ATOMS_AT_ONCE), strict=True):
            structure, atoms = found if is_finite(found) else [np.full_like(part, np.nan) for part in found]
            frame[STRUCTURE], frame[ATOMS] = structure, atoms.ravel()
            frame[NEW] = seen.add(structure, atoms)

    def finish(self, run: Running[Trajectory]) -> None:
        """Describe what is left, and forget the trajectory."""
        self.look(run)
        self._seen.pop(run.trajectory.key, None)


class _Seen:
    """Structures and atoms of a trajectory that were new when they came.

    Not all that it has shown: frames follow each other so closely that an atom on its way to another place is
    always near where it just was, and would never be new.

    Parameters
    ----------
    metric : in which distances are measured
    thresholds : distance of a structure, and of an atom, from all that were new before, beyond which it is
        new
    """

    def __init__(self, metric: feature_metric.Metric, thresholds: tuple[float, float]) -> None:
        self._kinds = [*zip(metric, thresholds, strict=True)]
        self._shown: list[NDArray[np.float32] | None] = [None, None]

    def add(self, structure: NDArray[np.float16], atoms: NDArray[np.float16]) -> bool:
        """Take a frame; return whether it is new. One whose features are not finite is not."""
        if not (np.isfinite(structure).all() and np.isfinite(atoms).all()):
            return False
        any_new = False
        for i, ((components, threshold), vectors) in enumerate(
            zip(self._kinds, (structure[None], atoms), strict=True)
        ):
            points, shown = components.project(vectors), self._shown[i]
            if shown is None:
                self._shown[i], any_new = points, True
                continue
            squares = ((points[:, None] - shown[None]) ** 2).sum(-1)
            new = squares.min(1) > threshold**2
            if new.any():
                self._shown[i], any_new = np.concatenate([shown, points[new]]), True
        return any_new


def load_saturation(settings: Explore) -> Saturation | None:
    """Load the encoder of ``explore.stop``; None where trajectories have fixed lengths.

    Raises
    ------
    UserError
        If the encoder cannot be loaded, or cannot say what is new.
    """
    if not isinstance(settings.stop, Saturated):
        return None
    options: Any = settings.stop.encoder
    return Saturation(settings, find("pesatlas.encode.encoders", options.kind).load(options, settings.device))
