"""Differences between arms of a comparison: errors, label efficiency, and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST = 5
"""Held-out materials that a verdict needs: drawing again from fewer says nothing of others."""
_RESAMPLES = 4000
_TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Errors of the potentials of one arm, summed by held-out material.

    Attributes
    ----------
    errors : (S, M) for each of S seeds and M materials
    weights : (M,) what they were summed over
    """

    errors: Floats
    weights: Floats

    @property
    def means(self) -> Floats:
        """Mean error of each potential (S,)."""
        found: Floats = self.errors.sum(axis=1) / self.weights.sum()
        return found


@dataclass(frozen=True)
class Contrast:
    """Mean error of an arm and its ratio to that of another, each with its interval."""

    mean: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    materials: int

    @property
    def verdict(self) -> str:
        """Whether the ratio's interval leaves out 1, and on which side.

        Of too few materials nothing is said.
        """
        if self.materials < FEWEST:
            return "undecided"
        return "lower" if self.ratio_high < 1 else "higher" if self.ratio_low > 1 else "undecided"


@dataclass(frozen=True)
class Efficiency:
    """Cost at which a policy reaches the error of another arm, divided by the cost of that arm.

    Attributes
    ----------
    tried : ratios of the smallest and the largest cost that the policy spent
    ratio, low, high : with the ends of its interval; 0 stands for less than ``tried``, infinity for more
    """

    tried: tuple[float, float]
    ratio: float
    low: float
    high: float
    materials: int

    @property
    def verdict(self) -> str:
        """Whether the interval leaves out 1; of too few materials nothing is said."""
        if self.materials < FEWEST:
            return "undecided"
        return "better" if self.high < 1 else "worse" if self.low > 1 else "undecided"


def contrast(arm: Sums, reference: Sums, seed: int) -> Contrast:
    """Compare an arm with another on the same materials.

    The intervals are percentiles over resamples, as ``_resampled`` draws them.
    """
    means = _resampled((arm, reference), seed)
    low, high = np.quantile(means[0], _TAILS).tolist()
    least, most = (1.0, 1.0) if arm is reference else np.quantile(means[0] / means[1], _TAILS).tolist()
    mean = float(arm.means.mean())
    ratio = mean / float(reference.means.mean())
    return Contrast(mean, low, high, ratio, least, most, len(arm.weights))


def label_efficiency(
    arms: Sequence[Sums], costs: Sequence[float], reference: Sums, cost: float, seed: int
) -> Efficiency:
    """Return the cost at which a policy reaches the error of ``reference``, over the ``cost`` of that.

    Errors are interpolated in logarithms of error and cost; of errors that rise with the cost the running
    minimum counts, as in docs/evidence.md. The interval has percentiles over the resamples of ``contrast``.

    Parameters
    ----------
    arms, costs : of the policy, from the smallest to the largest cost
    """
    log_costs = np.log(np.asarray(costs) / cost)
    means = np.array([[each.means.mean()] for each in (*arms, reference)])
    ((ratio,), found) = (_cost_of(log_costs, each) for each in (means, _resampled((*arms, reference), seed)))
    # no interpolation between resamples, some of which may be infinite
    low, high = np.quantile(found, _TAILS, method="inverted_cdf").tolist()
    tried = (float(np.exp(log_costs[0])), float(np.exp(log_costs[-1])))
    return Efficiency(tried, float(ratio), low, high, len(reference.weights))


def _cost_of(log_costs: Floats, means: Floats) -> Floats:
    """Return the costs (B,) at which errors fall to that of the last row of ``means`` (A + 1, B).

    0 where the first of the A costs is more than enough, infinity where the last is too little.
    """
    errors, goal = np.log(np.minimum.accumulate(means[:-1])), np.log(means[-1])
    reached = errors <= goal
    after = reached.argmax(axis=0)
    before = np.maximum(after - 1, 0)
    draws = np.arange(len(goal))
    upper, lower = errors[before, draws], errors[after, draws]
    share = np.divide(upper - goal, upper - lower, out=np.zeros(len(goal)), where=upper > lower)
    found: Floats = np.exp(log_costs[before] + share * (log_costs[after] - log_costs[before]))
    found[reached[0] & (errors[0] < goal)] = 0
    found[~reached.any(axis=0)] = np.inf
    return found


def _resampled(arms: Sequence[Sums], seed: int) -> Floats:
    """Return mean errors (A, B) of A arms in B resamples.

    Materials are drawn again for all arms at once, for they are the same, and the potentials (seeds) of each
    arm for itself. Potentials are few, so their spread is widened to that of the population they are drawn
    from.
    """
    generator = np.random.default_rng(seed)
    materials = len(arms[0].weights)
    drawn = generator.multinomial(materials, np.full(materials, 1 / materials), size=_RESAMPLES)
    weights = drawn @ arms[0].weights
    means = []
    for each in arms:
        seeds, mean = len(each.errors), each.errors.mean(axis=0)
        spread = mean + np.sqrt(seeds / (seeds - 1)) * (each.errors - mean)
        share = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES) / seeds
        means.append(np.einsum("bs,bs->b", share, drawn @ spread.T) / weights)
    return np.array(means)
