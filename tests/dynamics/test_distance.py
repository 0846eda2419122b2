import itertools

import numpy as np
import pytest

from pesatlas.dynamics.distance import min_distance


def brute_force(cell, positions):
    reach = 6
    shifts = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    difference = positions[:, None, None] - positions[None, :, None] + (shifts @ cell)[None, None]
    distances = np.linalg.norm(difference, axis=-1)
    distances[np.arange(len(positions)), np.arange(len(positions)), len(shifts) // 2] = np.inf
    return distances.min()


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("skew", [0.0, 1.5])
def test_equals_brute_force(n, skew):
    random = np.random.default_rng(n)
    for _ in range(5):
        cell = np.diag([3.0, 4.0, 5.0]) + skew * random.random((3, 3))
        positions = random.random((n, 3)) @ cell
        assert min_distance(cell, positions) == pytest.approx(brute_force(cell, positions), rel=1e-6)


def test_does_not_depend_on_wrapping():
    random = np.random.default_rng(0)
    cell = np.diag([5.0, 6.0, 7.0]) + random.random((3, 3))
    positions = random.random((6, 3)) @ cell
    away = positions + random.integers(-3, 4, (6, 3)) @ cell
    assert min_distance(cell, away) == pytest.approx(min_distance(cell, positions), abs=1e-9)


def test_known_crystals():
    fcc = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * 4.05
    assert min_distance(fcc, np.zeros((1, 3))) == pytest.approx(4.05 / 2**0.5)
    rock_salt = np.array([[0.0, 0, 0], [2.1, 0, 0]])
    assert min_distance(
        np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * 4.2, rock_salt
    ) == pytest.approx(2.1)
    far = np.array([[0.0, 0, 0], [9.0, 0, 0]])
    assert min_distance(np.diag([18.0, 18, 18]), far) == pytest.approx(9.0)


def test_atoms_on_top_of_each_other():
    assert min_distance(np.eye(3) * 4, np.array([[0.1, 0, 0], [4.1, 0, 0]])) == pytest.approx(0, abs=1e-9)
