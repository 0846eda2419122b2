"""Errors on labelled frames: what was put in comes out, with intervals that hold it."""

import numpy as np
import pytest

from pesatlas.benchmark.statistics import bootstrap_ratio
from pesatlas.benchmark.validation import Compared, Tolerances, answer, shift_energies, summarize

SALT, SILICON = np.array([11, 17, 11, 17]), np.array([14, 14])
LIMITS = Tolerances()


def frame(numbers, seed, *, factor=1.0, noise=0.0, energy=0.0, stress=0.0, condition="300 K"):
    """A label with forces of 0.5 eV/Å, and a prediction of ``factor`` times these with noise."""
    rng = np.random.default_rng(seed)
    label = rng.normal(scale=0.5, size=(len(numbers), 3))
    predicted = factor * label + rng.normal(scale=noise, size=label.shape)
    stresses = np.zeros((2, 6))
    stresses[1] = stress / 160.2176634
    return Compared(condition, numbers, (-5.0, -5.0 + energy), np.array([label, predicted]), stresses)


def summary_of(frames):
    shift = shift_energies(frames)
    return {(row["of"], row["name"], row["quantity"]): row for row in summarize(frames, shift, LIMITS)}, shift


def test_another_zero_of_energy_for_each_element_is_no_error():
    zeros = {11: 1.0, 17: -2.0, 14: 7.0}
    chloride = np.array([11, 17, 17])
    frames = [
        frame(numbers, i, energy=sum(zeros[z] for z in numbers))
        for i, numbers in enumerate([SALT, SILICON, chloride] * 3)
    ]
    shift = shift_energies(frames)
    np.testing.assert_allclose(shift.errors, 0, atol=1e-9)
    assert shift.text == "energies after a shift for each element (Na +1.000, Si +7.000, Cl -2.000 eV)"


def test_energies_of_one_composition_have_one_zero_and_errors_do_not_shrink_by_the_fit():
    rng = np.random.default_rng(4)
    sigma = 0.02
    found = []
    for _ in range(400):
        frames = [frame(SALT, i, energy=0.4 + 4 * e) for i, e in enumerate(rng.normal(scale=sigma, size=4))]
        shift = shift_energies(frames)
        found.append((shift.errors**2).mean())
    # four frames, one of which the shift uses up
    assert np.sqrt(np.mean(found)) == pytest.approx(1000 * sigma, rel=0.05)
    assert shift.text.startswith("energies after one shift for NaCl, +0.1")


def test_with_as_many_zeros_as_frames_energies_are_not_compared():
    found, shift = summary_of([frame(SALT, 0), frame(SILICON, 1)])
    assert shift.errors is None
    assert ("all", "", "energy_mae") not in found
    assert ("all", "", "force_mae") in found


def test_a_slope_and_a_stress_that_were_put_in_come_out_by_element_and_condition():
    frames = [
        frame(numbers, i, factor=0.8, stress=2.5, condition=condition)
        for i, (numbers, condition) in enumerate([(SALT, "300 K"), (SILICON, "900 K")] * 6)
    ]
    found, _ = summary_of(frames)
    for group in (("all", ""), ("element", "Na"), ("element", "Si"), ("condition", "900 K")):
        row = found[(*group, "force_slope")]
        assert (row["value"], row["verdict"]) == (pytest.approx(0.8), "beyond")
    assert found["all", "", "stress_mae"]["value"] == pytest.approx(2.5)
    assert (found["element", "Na", "force_mae"]["frames"], found["all", "", "force_mae"]["frames"]) == (6, 12)
    said = answer("mine", "pbe", list(found.values()), LIMITS)
    assert said.startswith("No: mine may not be trusted for this run at pbe to 10 meV/atom, 100 meV/Å, 1 GPa")
    assert "Its forces are 20.0 % too weak: it is soft (slope 0.800, 0.800 to 0.800)." in said
    assert "Beyond a limit by condition: 300 K (stress, slope); 900 K (stress, slope)." in said


def test_a_good_potential_may_be_trusted_and_few_frames_decide_nothing():
    frames = [frame(SALT, i, noise=0.02, energy=1e-3 * i) for i in range(8)]
    found, _ = summary_of(frames)
    assert answer("mine", "pbe", list(found.values()), LIMITS).startswith("Yes: mine may be trusted")
    few, _ = summary_of(frames[:4])
    assert {row["verdict"] for row in few.values()} == {"undecided", ""}
    assert answer("mine", "pbe", list(few.values()), LIMITS).startswith("Undecided: more labels")
    assert answer("mine", "pbe", [], LIMITS).startswith("It is unknown whether mine")


def test_forces_that_are_zero_by_symmetry_have_no_slope():
    still = Compared("", SILICON, (0.0, 0.0), np.zeros((2, 2, 3)), np.zeros((2, 6)))
    found, _ = summary_of([*[still] * 6, frame(SILICON, 1, factor=0.7)])
    row = found["all", "", "force_slope"]
    assert (row["value"], row["low"], row["high"]) == (pytest.approx(0.7),) * 3
    found, _ = summary_of([still] * 6)
    assert ("all", "", "force_slope") not in found
    assert found["all", "", "force_mae"]["value"] == 0


def test_intervals_of_a_ratio_hold_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(200):
        size = rng.uniform(1, 3, size=40)
        _, low, high = bootstrap_ratio(0.9 * size + rng.normal(scale=0.1, size=40), size, seed)
        held += low <= 0.9 <= high
    assert 0.89 <= held / 200 <= 0.98
    assert bootstrap_ratio([1.0], [2.0])[0] == 0.5
    assert np.isnan(bootstrap_ratio([1.0], [2.0])[1])
