"""Power of a comparison: the predicted difference is found as often as predicted, and costs that reach an
error are those of known curves."""

import math

import numpy as np
import pytest

from pesatlas.train.comparison_power import Spreads, detectable_ratio, measured_spreads, shown_ratio
from pesatlas.train.contrast import Sums, contrast, label_efficiency

MATERIALS, FRAMES, SEEDS = 20, 200, 5
KNOWN = Spreads(0.24, 0.05, "known")


def drawn(rng, ratio, hard=0.0):
    """Errors of an arm and of a reference on frames drawn at random, with the spreads of ``KNOWN``."""
    counts = rng.poisson(FRAMES / MATERIALS, MATERIALS).astype(float)
    errors = counts * rng.lognormal(0, hard, MATERIALS)
    likes = rng.lognormal(-(KNOWN.materials**2) / 2, KNOWN.materials, MATERIALS)
    arm, reference = (rng.lognormal(0, KNOWN.seeds, (SEEDS, 1)) * errors for _ in range(2))
    return Sums(ratio * likes * arm, counts), Sums(reference, counts)


@pytest.fixture(scope="module")
def found():
    """Pairs with the smallest detectable difference, each with its contrast."""
    rng = np.random.default_rng(1)
    ratio = detectable_ratio(KNOWN, MATERIALS, FRAMES, SEEDS)
    pairs = [drawn(rng, ratio) for _ in range(150)]
    return ratio, pairs, [contrast(*pair, seed) for seed, pair in enumerate(pairs)]


def test_a_difference_that_is_called_detectable_is_found_four_times_in_five(found):
    ratio, _, contrasts = found
    assert ratio == pytest.approx(0.835, abs=0.005)
    # of 150 draws, two standard errors are 7 %
    assert sum(each.verdict == "lower" for each in contrasts) / 150 == pytest.approx(0.8, abs=0.07)
    # the widths of the intervals say the same
    shown = [shown_ratio(each.ratio_low, each.ratio_high) for each in contrasts]
    assert np.mean(shown) == pytest.approx(ratio, abs=0.015)


def test_without_a_difference_there_are_few_verdicts():
    rng = np.random.default_rng(2)
    verdicts = [contrast(*drawn(rng, 1.0), seed).verdict for seed in range(100)]
    assert verdicts.count("undecided") >= 88


def test_more_of_everything_shows_smaller_differences():
    of = [(20, 200, 5), (40, 200, 5), (20, 400, 5), (20, 200, 10)]
    least, *others = (1 - detectable_ratio(KNOWN, *each) for each in of)
    assert all(each < least for each in others)
    assert detectable_ratio(Spreads(0, 0.1, ""), 1, 1, 8) == pytest.approx(math.exp(-2.8 * 0.05), rel=1e-3)


@pytest.mark.parametrize("hard", [0.0, 0.7])
def test_spreads_are_found_again(hard):
    rng = np.random.default_rng(3)
    pairs = [drawn(rng, 0.9, hard) for _ in range(100)]
    spreads = measured_spreads(pairs, FRAMES, "here")
    assert spreads.seeds == pytest.approx(KNOWN.seeds, rel=0.1)
    # of materials that differ, the hard ones count more, as if there were fewer
    assert spreads.materials == pytest.approx((1.2 if hard else 1.0) * KNOWN.materials, rel=0.12)


def curve(costs, factor, rng=None):
    """Arms of a learner whose error falls with the root of the cost, and materials that differ."""
    hard = np.linspace(0.5, 2.0, 30)
    luck = rng or np.random.default_rng(0)
    return [Sums(factor * cost**-0.5 * hard * luck.lognormal(0, 0.02, (5, 1)), np.ones(30)) for cost in costs]


def test_the_cost_of_an_error_is_that_of_the_curve():
    costs = [25.0, 50.0, 100.0]
    reference = curve(costs, 1.0)[-1]
    # four fifths of the error at each cost: as good at 0.64 of the cost
    found = label_efficiency(curve(costs, 0.8), costs, reference, 100.0, 0)
    assert found.ratio == pytest.approx(0.64, abs=0.04)
    assert found.low < found.ratio < found.high < 0.75
    assert found.verdict == "better"
    assert found.tried == pytest.approx((0.25, 1.0))


def test_an_error_that_is_reached_at_once_or_never_is_a_bound():
    costs = [25.0, 50.0, 100.0]
    reference = curve(costs, 1.0)[-1]
    soon = label_efficiency(curve(costs, 0.3), costs, reference, 100.0, 0)
    never = label_efficiency(curve(costs, 1.3), costs, reference, 100.0, 0)
    assert (soon.ratio, soon.low, soon.high, soon.verdict) == (0, 0, 0, "better")
    assert (never.ratio, never.low, never.high, never.verdict) == (math.inf, math.inf, math.inf, "worse")
    # an error that rises again counts as the smallest before
    rising = [*curve(costs[:2], 0.8), *curve([20.0], 0.8)]
    assert label_efficiency(rising, costs, reference, 100.0, 0).ratio == math.inf
    rising = [*curve(costs[:2], 0.6), *curve([20.0], 0.6)]
    assert label_efficiency(rising, costs, reference, 100.0, 0).ratio == pytest.approx(0.36, abs=0.03)


def test_of_few_materials_nothing_is_said():
    few = [
        Sums(each.errors[:, :4], each.weights[:4]) for each in (*curve([100.0], 0.3), *curve([100.0], 1.0))
    ]
    assert label_efficiency(few[:1], [100.0], few[1], 100.0, 0).verdict == "undecided"
