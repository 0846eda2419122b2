import numpy as np
import pytest
from scipy import stats

from pesatlas.dynamics.noise import BLOCK, WIDTH, Noise, initial_velocities

GOLDEN = [
    -1.7483004308033867,
    7.77840834550817,
    1.3279113473926705,
    2.053098992014877,
    -0.3009686415904512,
    -0.38595432206629515,
    0.22451721870792893,
    0.052726240478635514,
]


def test_a_trajectory_sees_the_same_numbers_in_any_company_and_from_any_step():
    keys, freedom = [11, 22, 2**127 + 5], [9, 0, 45]
    together = Noise(keys, freedom)
    run = np.array([together.at([step] * 3) for step in range(2 * BLOCK + 3)])
    alone = Noise([22], [0])
    for step in (2 * BLOCK + 1, 0, BLOCK, BLOCK - 1):
        assert np.array_equal(alone.at([step])[0], run[step, 1])
    mixed = Noise(keys[::-1], freedom[::-1]).at([3, BLOCK + 7, 100])
    assert np.array_equal(mixed, np.array([run[3, 2], run[BLOCK + 7, 1], run[100, 0]]))


def test_numbers_never_change_between_versions():
    # golden: stored trajectories and checkpoints stand on these
    assert Noise([12345], [9]).at([70])[0] == pytest.approx(GOLDEN, abs=1e-12)


def test_numbers_are_normal_chi_squared_and_independent():
    noise = Noise([1, 2, 3, 4], [9] * 4)
    numbers = np.concatenate([noise.at([step] * 4) for step in range(2500)])
    assert numbers.shape == (10_000, WIDTH)
    for column in range(WIDTH):
        law = stats.chi2(8) if column == 1 else stats.norm()
        assert stats.kstest(numbers[:, column], law.cdf).pvalue > 1e-4
    correlation = np.corrcoef(numbers.T) - np.eye(WIDTH)
    assert np.abs(correlation).max() < 0.05


def test_trajectories_differ():
    rows = Noise([1, 2], [9, 9]).at([5, 5])
    assert not np.isclose(rows[0], rows[1]).any()
    assert not np.allclose(initial_velocities(1, np.ones(3), 300.0), initial_velocities(2, np.ones(3), 300.0))


def test_initial_velocities_are_maxwell_boltzmann():
    masses = np.repeat([7.0, 200.0], 4000)
    velocities = initial_velocities(9, masses, 500.0)
    # kT/m at 500 K for 7 amu: (0.0431 eV * 9.6485e-3 / 7) Å2/fs2
    assert velocities[:4000].var() == pytest.approx(500 * 8.617333e-5 * 9.648533e-3 / 7, rel=0.03)
    assert velocities[4000:].var() / velocities[:4000].var() == pytest.approx(7 / 200, rel=0.04)
