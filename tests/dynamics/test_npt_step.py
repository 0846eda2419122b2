import numpy as np
import torch

from known_thermodynamics import ElasticCrystal, LennardJones
from pesatlas.dynamics.md_state import State, initial_state, join
from pesatlas.dynamics.noise import Noise, initial_velocities
from pesatlas.dynamics.npt import NpT

CPU = torch.device("cpu")
NPT = NpT(2.0, 100.0, 500.0, 0.0125)


def start(potential, n, key, temperature=300.0):
    numbers, cell, positions = potential.crystal(n)
    velocities = initial_velocities(key, np.full(n, 28.085), temperature)
    state = initial_state(
        numbers, cell, positions, velocities, temperature=temperature, pressure=0.0, device=CPU
    )
    return state.evaluated(potential.evaluate(state.batch))


def run(state, potential, noise, steps):
    for step in steps:
        moved = NPT.move(state, torch.as_tensor(noise.at([step] * len(state.n_atoms))))
        state = NPT.complete(moved, potential.evaluate(moved.batch))
    return state


def assert_same(one, other, atol=0.0):
    for name, array in one.arrays().items():
        np.testing.assert_allclose(array, other.arrays()[name], rtol=0, atol=atol, err_msg=name)


def test_neighbours_change_nothing_but_last_bits():
    potential = ElasticCrystal()
    sizes, keys = [3, 8, 1, 5], [5, 6, 7, 8]
    together = run(
        join([start(potential, n, key) for n, key in zip(sizes, keys, strict=True)]),
        potential,
        Noise(keys, [3 * n - 3 for n in sizes]),
        range(100),
    )
    for i, (n, key) in enumerate(zip(sizes, keys, strict=True)):
        alone = run(start(potential, n, key), potential, Noise([key], [3 * n - 3]), range(100))
        assert_same(alone, together.keep(np.array([i])), atol=1e-9)


def test_a_restart_is_no_restart_bit_for_bit():
    potential = ElasticCrystal()
    through = run(start(potential, 8, 3), potential, Noise([3], [21]), range(150))
    half = run(start(potential, 8, 3), potential, Noise([3], [21]), range(77))
    restored = State.from_arrays({k: v.copy() for k, v in half.arrays().items()}, CPU)
    assert_same(run(restored, potential, Noise([3], [21]), range(77, 150)), through)


def test_centre_of_mass_stays_where_it_is():
    potential = LennardJones()
    numbers, cell, positions = potential.crystal(1)
    state = initial_state(
        numbers,
        cell,
        positions,
        initial_velocities(1, np.full(4, 39.95), 80.0),
        temperature=80.0,
        pressure=0.0,
        device=CPU,
    )
    state = state.evaluated(potential.evaluate(state.batch))
    before = (state.positions @ torch.linalg.inv(state.cells[0])).mean(0)
    state = run(state, potential, Noise([1], [9]), range(200))
    after = (state.positions @ torch.linalg.inv(state.cells[0])).mean(0)
    torch.testing.assert_close(after, before, atol=1e-10, rtol=0)
    momentum = (state.masses[:, None] * state.velocities).sum(0)
    torch.testing.assert_close(momentum, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_one_structure_of_nan_leaves_its_neighbours_alone():
    potential = ElasticCrystal()
    good = start(potential, 5, 1)
    bad = start(potential, 4, 2)
    bad = State(**{**vars_of(bad), "forces": bad.forces * torch.nan})
    moved = NPT.move(join([bad, good]), torch.as_tensor(Noise([2, 1], [9, 12]).at([0, 0])))
    assert not torch.isfinite(moved.keep(np.array([0])).positions).any()
    alone = NPT.move(good, torch.as_tensor(Noise([1], [12]).at([0])))
    assert_same(moved.keep(np.array([1])), alone, atol=1e-12)


def vars_of(state):
    return {name: torch.as_tensor(array) for name, array in state.arrays().items()}
