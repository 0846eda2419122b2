"""Calibration finds the factor that was put in, says what is left wrong, and how sure it is."""

import numpy as np
import pytest

from pesatlas.errors import UserError
from pesatlas.select.calibrate import reliability

CRYSTALS = 60


def committee(rng, members, factor, *, trust=1.0, size=100):
    """Disagreement of some members and error of their mean: errors are ``factor`` times the true spread, or
    noise without ``trust``.

    The spread varies over a decade; ``trust`` below 1 mixes in errors of the mean spread that the committee
    does not see.
    """
    spread = 10 ** rng.uniform(-2, -1, CRYSTALS * size)
    said = spread[:, None, None] / np.sqrt(3) * rng.normal(size=(len(spread), members, 3))
    std = np.sqrt(said.var(axis=1, ddof=1).sum(axis=1))
    true = np.where(rng.random(len(spread)) < trust, spread, np.sqrt((spread**2).mean()))
    error = np.linalg.norm(factor * true[:, None] / np.sqrt(3) * rng.normal(size=(len(spread), 3)), axis=1)
    return std, error, np.repeat(np.arange(CRYSTALS), size)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("members", [2, 4, 16])
def test_the_factor_that_was_put_in_is_found_even_with_two_members(factor, members):
    whole, *_ = reliability(*committee(np.random.default_rng(members), members, factor))
    assert whole["factor"] == pytest.approx(factor, rel=0.04)
    assert whole["factor_low"] < factor * 1.02
    assert whole["factor_high"] > factor * 0.98
    assert whole["factor_high"] / whole["factor_low"] < 1.2
    assert whole["expected"] == pytest.approx(whole["error"])


def test_bins_go_from_small_to_large_disagreement_and_hold_everything():
    std, error, crystals = committee(np.random.default_rng(0), 16, 2.0)
    whole, *bins = reliability(std, error, crystals)
    assert [row["bin"] for row in bins] == list(range(1, 11))
    assert sum(row["values"] for row in bins) == whole["values"] == len(std)
    assert np.all(np.diff([row["expected"] for row in bins]) > 0)
    assert np.all(np.diff([row["error"] for row in bins]) > 0)
    assert all(row["error_low"] <= row["error"] <= row["error_high"] for row in bins)
    mean_square = sum(row["values"] * row["error"] ** 2 for row in bins) / len(std)
    assert mean_square == pytest.approx((error**2).mean())


def test_a_committee_that_knows_is_told_from_one_that_does_not():
    rng = np.random.default_rng(1)
    knows, _, *_ = reliability(*committee(rng, 16, 2.0))
    guesses, _, *_ = reliability(*committee(rng, 16, 2.0, trust=0.0))
    assert knows["miscalibration"] < 0.1
    assert guesses["miscalibration"] > 0.4
    assert knows["rank_correlation"] > 0.6
    assert abs(guesses["rank_correlation"]) < 0.05


def test_frames_of_one_crystal_are_resampled_together():
    """Ten crystals, each wrong by a factor of its own: many atoms of few crystals tell no more than that."""
    rng = np.random.default_rng(2)
    own = np.repeat(rng.uniform(0.5, 4, 10), 1000)
    std = np.full(10_000, 0.1)
    error = own * np.linalg.norm(std[:, None] / np.sqrt(3) * rng.normal(size=(10_000, 3)), axis=1)
    together, *_ = reliability(std, error, np.repeat(np.arange(10), 1000))
    alone, *_ = reliability(std, error, np.arange(10_000))
    width = {name: row["factor_high"] - row["factor_low"] for name, row in (("t", together), ("a", alone))}
    assert width["t"] > 5 * width["a"]


def test_the_same_potential_twice_is_no_committee():
    with pytest.raises(UserError, match="the same potential"):
        reliability(np.zeros(10), np.ones(10), np.arange(10))
