"""Random numbers as a function of trajectory and step; nothing to checkpoint, no state shared.

A counter-based generator (Philox, Salmon et al. 2011, doi:10.1145/2063384.2063405) is set to a place that the
trajectory's key and the step decide, so that a trajectory sees the same numbers whatever it shares a batch
with, and however often it was interrupted.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np

from pesatlas.atoms.units import ACCELERATION, BOLTZMANN_EV_PER_K

BLOCK = 64
"""Steps that are drawn at once, for speed; it is part of what defines a trajectory."""

WIDTH = 8
"""Numbers a step: one normal and one chi-squared for the thermostat, six normals for the cell."""

_VELOCITIES, _STEPS = 0, 1
_NORMAL = [0, 2, 3, 4, 5, 6, 7]
_WORD = 2**64 - 1


def _generator(key: int, purpose: int, block: int) -> np.random.Generator:
    """Make the generator of a trajectory (``key``, 128 bit) for one purpose and block.

    Streams never overlap.
    """
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, purpose, block]))


def initial_velocities(key: int, masses: np.ndarray, temperature: float) -> np.ndarray:
    """Draw velocities (n, 3) in Å/fs from the Maxwell-Boltzmann distribution.

    Masses (n,) in amu, temperature in K.
    """
    normal = _generator(key, _VELOCITIES, 0).standard_normal((len(masses), 3))
    return normal * np.sqrt(BOLTZMANN_EV_PER_K * temperature * ACCELERATION / masses)[:, None]


class Noise:
    """Random numbers of the trajectories of a batch.

    Parameters
    ----------
    keys : one 128-bit integer for each trajectory
    degrees_of_freedom : kinetic degrees of freedom of each
    """

    def __init__(self, keys: Sequence[int], degrees_of_freedom: Sequence[int]) -> None:
        self.keys, self.freedom = list(keys), list(degrees_of_freedom)
        # of each trajectory the numbers of two blocks, an even and an odd one, and which ones these are
        self.rows = np.empty((len(self.keys), 2, BLOCK, WIDTH))
        self.blocks = np.full((len(self.keys), 2), -1)

    def at(self, steps: Sequence[int]) -> np.ndarray:
        """Return (B, WIDTH) numbers with which each trajectory leaves its step of ``steps``."""
        blocks, places = np.divmod(np.asarray(steps, dtype=np.int64), BLOCK)
        self._draw(blocks)
        return self.rows[np.arange(len(self.keys)), blocks % 2, places]

    def ahead(self, steps: Sequence[int], count: int) -> np.ndarray:
        """Return (count, B, WIDTH) numbers for the steps of ``steps`` and as many more."""
        return np.stack([self.at([step + k for step in steps]) for k in range(count)])

    def prepare(self, steps: Sequence[int], count: int) -> None:
        """Draw what ``ahead`` will return, while there is time."""
        first = np.asarray(steps, dtype=np.int64)
        self._draw(first // BLOCK)
        self._draw((first + count - 1) // BLOCK)

    def keep(self, places: np.ndarray) -> Self:
        """Return the numbers of the trajectories at these places."""
        kept = type(self)([self.keys[i] for i in places], [self.freedom[i] for i in places])
        kept.rows, kept.blocks = self.rows[places], self.blocks[places]
        return kept

    def __add__(self, other: Self) -> Self:
        """Put the trajectories of ``other`` after these."""
        both = type(self)(self.keys + other.keys, self.freedom + other.freedom)
        both.rows = np.concatenate([self.rows, other.rows])
        both.blocks = np.concatenate([self.blocks, other.blocks])
        return both

    def _draw(self, blocks: np.ndarray) -> None:
        slots = blocks % 2
        missing = np.flatnonzero(self.blocks[np.arange(len(blocks)), slots] != blocks)
        if not len(missing):
            return
        philox = np.random.Philox(key=0)
        generator, place = np.random.Generator(philox), philox.state
        for i in missing:
            key, freedom = self.keys[i], self.freedom[i]
            # a new generator for each would cost three times as much
            place["state"]["key"] = np.array([key & _WORD, key >> 64], dtype=np.uint64)
            place["state"]["counter"] = np.array([0, 0, _STEPS, blocks[i]], dtype=np.uint64)
            philox.state = place
            rows = self.rows[i, slots[i]]
            rows[:, _NORMAL] = generator.standard_normal((BLOCK, WIDTH - 1))
            rows[:, 1] = generator.chisquare(freedom - 1, BLOCK) if freedom > 1 else 0.0
        self.blocks[missing, slots[missing]] = blocks[missing]
