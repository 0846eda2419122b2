"""Intervals hold what they promise, tests see what is there, and survival counts those that were not watched to the end."""

import numpy as np
import pytest

from pesatlas.benchmark.literature import PUBLISHED, THRESHOLDS, published_for, verdict
from pesatlas.benchmark.statistics import (
    bootstrap_half_life,
    bootstrap_mean,
    half_life,
    paired_test,
    survival,
)


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = [
        low <= 1.0 <= high for _, low, high in (bootstrap_mean(draw.exponential(size=60)) for _ in range(200))
    ]
    assert 0.88 <= np.mean(held) <= 0.99


def test_one_value_has_no_interval():
    assert bootstrap_mean([2.0])[0] == 2.0
    assert np.isnan(bootstrap_mean([2.0])[1:]).all()


def test_a_small_difference_is_seen_in_pairs_that_is_lost_in_the_scatter():
    draw = np.random.default_rng(1)
    hard = draw.exponential(size=80)
    first, second = hard + 0.02 * draw.random(80), hard + 0.02 + 0.02 * draw.random(80)
    found = paired_test(first, second)
    assert found.high < 0
    assert found.p_value < 1e-3
    assert found.difference == pytest.approx(-0.02, abs=0.005)
    _, low, high = bootstrap_mean(first)
    assert low < second.mean() < high


def test_no_difference_is_no_finding():
    draw = np.random.default_rng(2)
    values = [paired_test(draw.random(30), draw.random(30)).p_value for _ in range(100)]
    assert np.mean(np.array(values) < 0.05) < 0.15
    assert paired_test([1.0, 2.0], [1.0, 2.0]).p_value == 1.0


def test_survival_is_that_of_kaplan_and_meier():
    # Kaplan & Meier 1958, section 1: losses (censored) at 1.0, 2.7 and 12.1; deaths at 0.8, 3.1, 5.4, 7.0 and 9.2
    times = [0.8, 1.0, 2.7, 3.1, 5.4, 7.0, 9.2, 12.1]
    ended = [True, False, False, True, True, True, True, False]
    at, share = survival(times, ended)
    assert at.tolist() == [0.8, 3.1, 5.4, 7.0, 9.2]
    expected = np.cumprod([7 / 8, 4 / 5, 3 / 4, 2 / 3, 1 / 2])
    np.testing.assert_allclose(share, expected)
    assert half_life(times, ended) == 7.0


def test_if_more_than_half_survive_there_is_no_half_life():
    assert half_life([1.0, 2.0, 2.0], [True, False, False]) == np.inf
    value, low, _ = bootstrap_half_life([1.0] * 10 + [2.0] * 10, [True] * 10 + [False] * 10)
    assert value == low == 1.0


def test_every_published_number_and_threshold_has_a_source():
    assert all(each.source for many in PUBLISHED.values() for each in many)
    assert all(each.source for each in THRESHOLDS.values())
    assert verdict(("elasticity", "bulk_modulus"), 10.0) == "good"
    assert verdict(("elasticity", "bulk_modulus"), 40.0) == "poor"
    assert verdict(("softening", "force_slope"), 1.05) == "good"
    assert verdict(("softening", "force_slope"), 0.7) == "poor"
    assert verdict(("md_stability", "end_temperature"), 1500.0) == "fair"
    assert verdict(("speed", "step_time"), 1.0) == ""
    assert published_for("M3GNet-MatPES-PBE-v2025.1", ("elasticity", "bulk_modulus")).value == 26.1
    assert published_for("chgnet", ("elasticity", "bulk_modulus")).model == "TensorNet-MatPES-PBE"
