"""Intervals hold what they promise, tests see what is there, and survival counts those that were not watched
to the end."""

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
    # Kaplan & Meier 1958, section 1: losses (censored) at 1.0, 2.7 and 12.1; deaths at 0.8, 3.1, 5.4, 7.0 and
    # 9.2
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


def test_the_numbers_are_those_of_reports_made_before():
    # of the code that drew samples and counted survivors itself, before scipy did: the same samples in the
    # same order
    values = np.random.default_rng(11).exponential(size=40)
    expected = (1.0059991373304205, 0.7114505794769896, 1.3403529330099668)
    assert bootstrap_mean(values, 3) == pytest.approx(expected, rel=1e-12)
    assert bootstrap_mean([1.0, 2.0, 4.0], 0) == pytest.approx((7 / 3, 1.0, 4.0), rel=1e-12)
    assert bootstrap_mean([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)
    found = paired_test(values, values + 0.1 * np.random.default_rng(12).standard_normal(40), 2)
    numbers = (found.difference, found.low, found.high, found.p_value)
    expected = (7.053551475856637e-05, -0.02710656730926814, 0.02669211020461869, 0.9946976143110078)
    assert numbers == pytest.approx(expected, rel=1e-9)
    times = np.random.default_rng(13).integers(1, 20, 30) * 10.0
    ended = np.random.default_rng(14).random(30) < 0.7
    at, share = survival(times, ended)
    assert at.tolist() == [10.0, 20.0, 40.0, 70.0, 100.0, 120.0, 130.0, 150.0, 160.0, 170.0, 180.0, 190.0]
    expected = [29 / 30, 26 / 30, 0.832, 0.7941818181818182, 0.7544727272727273, 0.7147636363636364]
    expected += [0.6727187165775401, 0.6306737967914439, 0.4624941176470589, 0.3597176470588236]
    np.testing.assert_allclose(share, [*expected, 0.1798588235294118, 0.0], rtol=1e-12, atol=1e-15)
    assert bootstrap_half_life(times, ended, 4) == (160.0, 130.0, 180.0)
    assert [len(each) for each in survival([1.0, 2.0], [False, False])] == [0, 0]


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
