"""Power of a comparison: how small a difference between two arms it can show, from its design and spreads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pesatlas.train.contrast import CONFIDENCE, Sums

POWER = 0.8
"""Chance with which a difference that is called detectable is found."""


@dataclass(frozen=True)
class Spreads:
    """Spreads that make the ratio of the errors of two arms uncertain.

    Attributes
    ----------
    materials : standard deviation of the logarithm of the ratio, if it were measured on one held-out material
    seeds : standard deviation of the logarithm of an arm's error between trainings
    source : where the numbers come from, in words
    """

    materials: float
    seeds: float
    source: str


ASSUMED = Spreads(
    0.24,
    0.05,
    "assumed, as measured in docs/measurements.md and docs/evidence.md",
)
"""Spreads of errors of forces.

``seeds``: force errors of ``matpes``, ``facility 0`` and ``random`` at N = 200 and 400 in
docs/evidence-points.csv spread by 0.04 between seeds (energies by 0.06). ``materials``: the intervals of
ratios at full cost in docs/measurements.md (0.86 to 1.08 and 0.87 to 1.09; three seeds, 356 frames of 39
materials) are those of this spread and of ``seeds``.
"""


def detectable_ratio(spreads: Spreads, materials: float, frames: float, seeds: int) -> float:
    """Return the ratio of errors, below 1, that a comparison tells from 1 with a chance of ``POWER``.

    The variance of the logarithm of the ratio has two levels. Both arms meet the same materials, so that of
    these only the interaction with the arms counts; frames are drawn at random, so that a material has a
    Poisson number of them, and there are effectively 1 / (1/M + 1/F) materials. Trainings of the two arms are
    independent. The smallest detectable difference is (z(0.975) + z(0.8)) = 2.8 standard errors: Bloom,
    Evaluation Review 19, 547 (1995).

    Parameters
    ----------
    materials, frames : held-out materials M, and their test frames F
    seeds : trainings of each arm
    """
    variance = spreads.materials**2 * (1 / materials + 1 / frames) + 2 * spreads.seeds**2 / seeds
    return math.exp(-_deviations(POWER) * math.sqrt(variance))


def shown_ratio(low: float, high: float) -> float:
    """Return what ``detectable_ratio`` is for an interval of a ratio that was measured.

    The interval has ``low`` and ``high`` as its ends.
    """
    return (low / high) ** (_deviations(POWER) / (2 * _deviations(0.5)))


def measured_spreads(pairs: Sequence[tuple[Sums, Sums]], frames: int, source: str) -> Spreads:
    """Return the spreads of pairs of arms, each pair trained with the same number of seeds.

    Parameters
    ----------
    frames : that all were tested on
    """
    of_materials, of_seeds = [], []
    for pair in pairs:
        # each material's part of the error of an arm, which is the ratio's derivative by its weight
        parts = [(each.errors / each.errors.sum(axis=1, keepdims=True)).mean(axis=0) for each in pair]
        effective = 1 / (1 / len(parts[0]) + 1 / frames)
        of_materials.append(effective * np.sum((parts[0] - parts[1]) ** 2))
        of_seeds += [np.var(np.log(each.means), ddof=1) for each in pair]
    return Spreads(float(np.sqrt(np.mean(of_materials))), float(np.sqrt(np.mean(of_seeds))), source)


def _deviations(power: float) -> float:
    """Return by how many standard errors two numbers must differ to be told apart with this chance."""
    normal = NormalDist()
    return normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(power)
