"""Which frames of a trajectory show atoms that are new to it, and whether it goes on.

The rule is a function of the trajectory's own frames: these are encoded in blocks of its own, never together
with others, for the last bits of features depend on what is evaluated together. So the end of a trajectory
depends neither on its neighbours in a batch nor on their order, and a resumed job, which has the features of
the frames that it read from the checkpoint, decides what the killed one would have.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.config.explore import Explore
from pesatlas.config.plugins import find
from pesatlas.config.stop import Saturated
from pesatlas.dynamics.group import Running
from pesatlas.errors import UserError
from pesatlas.explore import feature_metric
from pesatlas.explore.stored_frames import ATOMS, OPENED, STRUCTURE, Frame
from pesatlas.explore.trajectory import Trajectory
from pesatlas.potentials import encoder as interface
from pesatlas.potentials.described import describe, is_finite

VERSION = 1
"""Raise it when the same frames would end elsewhere: trajectories are then computed anew."""

_ATOMS_AT_ONCE = 400
"""A constant: what is encoded together decides last bits."""
_BLOCKS_OF_PATIENCE = 2


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
        self._threshold = stop.threshold
        interval = settings.frame_interval_ps
        self._patience = max(1, round(stop.patience_ps / interval))
        self._shortest = round(stop.min_length_ps / interval)
        self._block = max(1, self._patience // _BLOCKS_OF_PATIENCE)
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
                    f"number {unknown}. Choose another in explore.stop.encoder, or leave these structures out."
                )

    @staticmethod
    def begin(frame: Frame) -> None:
        """Mark a frame that was just taken as one that is to be judged."""
        frame |= dict.fromkeys((STRUCTURE, ATOMS, OPENED))

    def is_over(self, run: Running[Trajectory]) -> bool:
        """Whether a trajectory, whose last frame was just taken, shows nothing new any more."""
        frames = len(run.frames)
        if (frames - 1) % self._block:
            return False
        self.look(run)
        first = -(-run.trajectory.ramp_steps // run.trajectory.frame_steps)
        if frames - 1 < first + self._shortest:
            return False
        last = max((i for i, frame in enumerate(run.frames) if frame[OPENED]), default=0)
        return frames - 1 - max(last, first) >= self._patience

    def look(self, run: Running[Trajectory]) -> None:
        """Describe the frames that were not yet, and count the atoms in each that are new."""
        numbers = run.trajectory.numbers.astype(np.int64)
        seen = self._seen.get(run.trajectory.key)
        new = [frame for frame in run.frames if frame[OPENED] is None]
        if seen is None:
            # of a resumed trajectory: what it has seen before
            seen = self._seen[run.trajectory.key] = _Seen(self._threshold)
            for frame in run.frames:
                if frame[OPENED] is not None:
                    seen.add(self._project(frame[ATOMS], numbers))
        asked = [
            interface.Frame(numbers, frame["positions_A"].reshape(-1, 3), frame["cell_A"].reshape(3, 3))
            for frame in new
        ]
        for frame, found in zip(new, describe(self.encoder, asked, _ATOMS_AT_ONCE), strict=True):
            structure, atoms = found if is_finite(found) else [np.full_like(part, np.nan) for part in found]
            frame[STRUCTURE], frame[ATOMS] = structure, atoms.ravel()
            frame[OPENED] = seen.add(self._project(frame[ATOMS], numbers))

    def finish(self, run: Running[Trajectory]) -> None:
        """Describe what is left, and forget the trajectory."""
        self.look(run)
        self._seen.pop(run.trajectory.key, None)

    def _project(self, atoms: NDArray[np.float16], numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weighted principal components of the atoms of a frame; none if its features are not finite."""
        vectors = atoms.reshape(len(numbers), -1)
        return self._metric.project(vectors if np.isfinite(vectors).all() else vectors[:0])


class _Seen:
    """Atoms of a trajectory that were new when they came.

    Not all atoms that there were: frames follow each other so closely that an atom on its way to another
    place is always near where it just was, and would never be new.

    Parameters
    ----------
    threshold : distance from all atoms that were new before, beyond which one is new
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._atoms: NDArray[np.float32] | None = None

    def add(self, atoms: NDArray[np.float32]) -> int:
        """Take the atoms (n, k) of a frame; return how many of them are new."""
        if self._atoms is None:
            self._atoms, new = atoms, np.ones(len(atoms), dtype=bool)
        else:
            squares = ((atoms[:, None] - self._atoms[None]) ** 2).sum(-1)
            new = squares.min(1, initial=np.inf) > self._threshold**2
            self._atoms = np.concatenate([self._atoms, atoms[new]])
        return int(new.sum())


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
