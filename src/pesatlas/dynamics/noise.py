"""Random numbers as a function of trajectory and step; nothing to checkpoint, no state shared.

A counter-based generator (Philox, Salmon et al. 2011, doi:10.1145/2063384.2063405) is set to a place that the
trajectory's key and the step decide, so that a trajectory sees the same numbers whatever it shares a batch
with, and however often it was interrupted.
"""

from collections.abc import Sequence

import numpy as np

from pesatlas.atoms.units import ACCELERATION, BOLTZMANN_EV_PER_K

BLOCK = 64
"""Steps that are drawn at once, for speed; it is part of what defines a trajectory."""

WIDTH = 8
"""Numbers a step: one normal and one chi-squared for the thermostat, six normals for the cell."""

_VELOCITIES, _STEPS = 0, 1


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
        self._who = list(zip(keys, degrees_of_freedom, strict=True))
        self._blocks: list[tuple[int, np.ndarray] | None] = [None] * len(self._who)

    def at(self, steps: Sequence[int]) -> np.ndarray:
        """Return (B, WIDTH) numbers with which each trajectory leaves its step of ``steps``."""
        return np.stack([self._row(i, step) for i, step in enumerate(steps)])

    def _row(self, i: int, step: int) -> np.ndarray:
        block, place = divmod(step, BLOCK)
        known = self._blocks[i]
        if known is None or known[0] != block:
            known = self._blocks[i] = (block, _draw(*self._who[i], block))
        return known[1][place]


def _draw(key: int, degrees_of_freedom: int, block: int) -> np.ndarray:
    generator = _generator(key, _STEPS, block)
    rows = np.zeros((BLOCK, WIDTH))
    rows[:, [0, 2, 3, 4, 5, 6, 7]] = generator.standard_normal((BLOCK, WIDTH - 1))
    if degrees_of_freedom > 1:
        rows[:, 1] = generator.chisquare(degrees_of_freedom - 1, BLOCK)
    return rows
