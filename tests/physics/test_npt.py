"""The ensemble that the dynamics sample, against what is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from known_thermodynamics import ElasticCrystal, IdealGas, LennardJones
from pesatlas.atoms.units import BOLTZMANN_EV_PER_K, EV_PER_A3_TO_GPA
from pesatlas.dynamics.cell_limits import CellLimits
from pesatlas.dynamics.md_state import initial_state, join
from pesatlas.dynamics.noise import Noise, initial_velocities
from pesatlas.dynamics.npt import NpT

pytestmark = pytest.mark.physics
INF = float("inf")
CPU = torch.device("cpu")


def simulate(
    npt,
    potential,
    crystal,
    *,
    copies,
    steps,
    temperature,
    pressure=0.0,
    every=1,
    skip=0,
    seed=0,
    cell_motion=None,
    collisions=False,
):
    """Run copies of a crystal (pressure in GPa); return a dict of (samples, copies) arrays."""
    from ase.data import atomic_masses

    numbers, cell, positions = crystal
    masses = atomic_masses[numbers]
    keys = [seed * 10**6 + i for i in range(copies)]
    target = {
        "temperature": temperature,
        "pressure": pressure / EV_PER_A3_TO_GPA,
        "device": torch.device("cpu"),
    }
    starts = [
        initial_state(numbers, cell, positions, initial_velocities(key, masses, temperature), **target)
        for key in keys
    ]
    state = join(starts)
    state = state.evaluated(potential.evaluate(state.batch))
    noise = Noise(keys, [3 * len(numbers) - 3] * copies)
    limits = None
    if cell_motion:
        limits = CellLimits.of([cell_motion] * copies, [npt.compressibility_per_GPa] * copies, CPU)
    found = {"volume": [], "kinetic": [], "full_kinetic": [], "potential": [], "cells": []}
    for step in range(steps):
        moved = npt.move(state, torch.as_tensor(noise.at([step] * copies)), limits)
        state = npt.complete(moved, potential.evaluate(moved.batch))
        if collisions and step % 10 == 0:
            state = collided(state, np.random.default_rng(step))
        if step >= skip and step % every == 0:
            found["volume"].append(state.volumes.numpy())
            found["kinetic"].append(state.kinetic.numpy())
            found["full_kinetic"].append(state.kinetic_energy().numpy())
            found["potential"].append(state.energies.numpy())
            found["cells"].append(state.cells.numpy())
    return {k: np.array(v) for k, v in found.items()} | {"state": state}


def collided(state, rng):
    """Turn the velocities of each copy at random, which no canonical distribution notices."""
    turns = torch.as_tensor(np.linalg.qr(rng.normal(size=(len(state.n_atoms), 3, 3)))[0])
    return replace(state, velocities=(state.velocities[:, :, None] * turns[state.owner]).sum(1))


def mean_and_error(samples):
    """Mean over everything, and its standard error from the scatter of independent copies."""
    each = samples.mean(0)
    return each.mean(), each.std(ddof=1) / np.sqrt(len(each))


def assert_mean(samples, expected, within=4.0, bias=0.0):
    mean, error = mean_and_error(samples)
    assert abs(mean - expected) < within * error + bias * abs(expected), (
        f"{mean:.5g} ± {error:.2g}, expected {expected:.5g}"
    )
    assert error < 0.05 * abs(expected), "too few samples to say anything"


def test_ideal_gas_volume_has_its_analytic_distribution():
    # 3n-3 degrees of freedom: p(V) ~ V^(n-1) exp(-PV/kT), a gamma distribution of shape n and scale kT/P
    n, temperature, pressure = 5, 300.0, 0.1
    scale = BOLTZMANN_EV_PER_K * temperature / (pressure / EV_PER_A3_TO_GPA)
    cell = np.eye(3) * (n * scale) ** (1 / 3)
    crystal = (np.full(n, 18, dtype=np.uint8), cell, np.random.default_rng(0).random((n, 3)) @ cell)
    npt = NpT(2.0, 50.0, 400.0, 1 / pressure)
    run = simulate(
        npt,
        IdealGas(),
        crystal,
        copies=256,
        steps=4200,
        temperature=temperature,
        pressure=pressure,
        every=300,
        skip=600,
    )
    volume = run["volume"]
    assert_mean(volume, n * scale, bias=0.005)
    assert_mean((volume - n * scale) ** 2, n * scale**2, bias=0.01)
    gamma = {
        shape: stats.kstest(volume.ravel(), stats.gamma(shape, scale=scale).cdf).pvalue
        for shape in (n - 1, n, n + 1)
    }
    assert gamma[n] > 1e-3
    assert gamma[n - 1] < 1e-9
    assert gamma[n + 1] < 1e-9


@pytest.mark.parametrize("cell_motion", ["isotropic", "in_plane"])
def test_ideal_gas_in_a_cell_that_moves_less_has_the_same_distribution_of_volumes(cell_motion):
    # a constraint removes neither a power of V nor adds one: see NpT._barostat
    n, temperature, pressure = 4, 300.0, 0.1
    scale = BOLTZMANN_EV_PER_K * temperature / (pressure / EV_PER_A3_TO_GPA)
    edge = (n * scale) ** (1 / 3)
    cell = np.array([[edge, 0, 0], [0.3 * edge, edge, 0], [0.1 * edge, 0, edge]])
    crystal = (np.full(n, 18, dtype=np.uint8), cell, np.random.default_rng(0).random((n, 3)) @ cell)
    run = simulate(
        NpT(2.0, 50.0, 200.0, 1 / pressure),
        IdealGas(),
        crystal,
        copies=256,
        steps=3000,
        temperature=temperature,
        pressure=pressure,
        every=300,
        skip=600,
        cell_motion=cell_motion,
        # without them nothing would pass energy between the plane and the direction across it
        collisions=True,
    )
    volume = run["volume"]
    assert_mean(volume, n * scale, bias=0.01)
    gamma = {
        shape: stats.kstest(volume.ravel(), stats.gamma(shape, scale=scale).cdf).pvalue
        for shape in (n - 1, n, n + 1)
    }
    assert gamma[n] > 1e-3
    assert gamma[n - 1] < 1e-9
    assert gamma[n + 1] < 1e-9
    if cell_motion == "isotropic":
        shape = run["cells"] / volume[..., None, None] ** (1 / 3)
        assert np.abs(shape - shape[0, 0]).max() < 1e-9
    else:
        # neither drift nor noise: not even the last bit
        assert (run["cells"][..., 2, 2] == edge).all()
        assert (run["cells"][..., :2, 2] == 0).all()
        ratio = run["cells"][..., 0, 0] / run["cells"][..., 1, 1]
        assert ratio.std() > 0.1, "the shape in the plane is free"


def test_a_cell_that_may_not_move_does_not():
    potential = ElasticCrystal()
    run = simulate(
        NpT(2.0, 100.0, 300.0, 0.0125),
        potential,
        potential.crystal(6),
        copies=4,
        steps=60,
        temperature=300.0,
        pressure=50.0,
        cell_motion="none",
    )
    assert (run["cells"] == potential.crystal(6)[1]).all()
    assert run["potential"].std() > 0


@pytest.mark.parametrize("cell_motion", ["all", "isotropic"])
def test_a_ladder_of_pressures_is_met_on_every_rung(cell_motion):
    n, potential = 6, ElasticCrystal()
    numbers, cell, positions = potential.crystal(n)
    start, stiffness = n * potential.volume_per_atom, potential.bulk * EV_PER_A3_TO_GPA
    for pressure in (10.0, 30.0, 60.0) if cell_motion == "all" else (60.0,):
        # from about where it will be, as the domain compressed starts
        guess = np.cbrt(1 - 0.9 * pressure / stiffness)
        run = simulate(
            NpT(2.0, 100.0, 300.0, 0.0125),
            potential,
            (numbers, cell * guess, positions * guess),
            copies=32,
            steps=1200,
            temperature=300.0,
            pressure=pressure,
            every=20,
            skip=600,
            cell_motion=cell_motion,
        )
        # U = K (V - V0)^2 / (2 V0): its pressure is K (1 - V / V0)
        assert_mean(stiffness * (1 - run["volume"] / start), pressure, bias=0.01)


@pytest.mark.first
@pytest.mark.parametrize("pressure", [0.0, 4.0])
def test_elastic_crystal_has_the_analytic_volume_shape_and_vibrations(pressure):
    n, temperature = 6, 300.0
    kT = BOLTZMANN_EV_PER_K * temperature
    potential = ElasticCrystal()
    run = simulate(
        NpT(2.0, 100.0, 300.0, 0.0125),
        potential,
        potential.crystal(n),
        copies=96,
        steps=2400,
        temperature=temperature,
        pressure=pressure,
        every=10,
        skip=800,
    )
    start = n * potential.volume_per_atom
    # p(V) ~ exp(-(K (V-V0)^2/(2 V0) + PV)/kT): a normal distribution
    mean = start * (1 - pressure / EV_PER_A3_TO_GPA / potential.bulk)
    assert_mean(run["volume"] / start, mean / start, bias=3e-4)
    assert_mean((run["volume"] - mean) ** 2, kT * start / potential.bulk, bias=0.01)
    # five ways to shear, each with kT/2 (a little less than harmonic: the metric is quadratic in strain)
    shape = run["cells"] / run["volume"][..., None, None] ** (1 / 3)
    metric = shape @ shape.swapaxes(-1, -2) - np.eye(3)
    shear = 0.5 * potential.shear * start * (metric**2).sum((-1, -2))
    assert_mean(shear, 2.5 * kT, bias=0.03)
    # equipartition: 3n-3 springs
    elastic = 0.5 * potential.bulk * (run["volume"] - start) ** 2 / start
    assert_mean(run["potential"] - elastic - shear, (3 * n - 3) / 2 * kT, bias=0.01)


def test_temperature_has_the_canonical_mean_and_variance():
    n, temperature = 8, 300.0
    potential = ElasticCrystal()
    run = simulate(
        NpT(2.0, 100.0, 1000.0, 0.0125),
        potential,
        potential.crystal(n),
        copies=64,
        steps=1800,
        temperature=temperature,
        every=10,
        skip=500,
    )
    freedom, kT = 3 * n - 3, BOLTZMANN_EV_PER_K * temperature
    assert_mean(run["kinetic"], freedom / 2 * kT, bias=0.003)
    assert_mean((run["kinetic"] - freedom / 2 * kT) ** 2, freedom / 2 * kT**2, bias=0.02)
    # the full-step kinetic energy is low by (omega dt / 2)^2, which is why it is not the one reported
    omega_dt = np.sqrt(potential.spring * 9.648533e-3 / 28.085) * 2.0
    ratio = run["full_kinetic"].mean() / run["kinetic"].mean()
    assert ratio == pytest.approx(1 - omega_dt**2 / 4, abs=3e-4)


def test_one_atom_moves_its_cell_only():
    temperature = 300.0
    kT = BOLTZMANN_EV_PER_K * temperature
    potential = ElasticCrystal()
    run = simulate(
        NpT(2.0, 100.0, 200.0, 0.0125),
        potential,
        potential.crystal(1),
        copies=256,
        steps=2000,
        temperature=temperature,
        every=10,
        skip=400,
    )
    start = potential.volume_per_atom
    assert np.isfinite(run["cells"]).all()
    assert run["state"].kinetic_temperature().isnan().all()
    assert_mean(run["volume"] / start, 1.0, bias=2e-3)
    assert_mean((run["volume"] - start) ** 2, kT * start / potential.bulk, bias=0.02)


def test_cells_do_not_rotate():
    potential = ElasticCrystal()
    run = simulate(
        NpT(2.0, 100.0, 300.0, 0.0125),
        potential,
        potential.crystal(6),
        copies=32,
        steps=1500,
        temperature=300.0,
        every=1500,
    )
    cell = run["state"].cells.numpy() / potential.crystal(6)[1][0, 0]
    left, _, right = np.linalg.svd(cell)
    angles = np.linalg.norm(left @ right - np.eye(3), axis=(1, 2)) / np.sqrt(2)
    assert np.abs(cell - np.eye(3)).max() > 0.02, "the cells did not move at all"
    assert angles.max() < 0.02


def test_without_thermostat_and_barostat_energy_error_falls_with_the_square_of_the_timestep():
    potential = LennardJones()
    errors = {}
    for dt in (2.0, 4.0, 8.0):
        run = simulate(
            NpT(dt, INF, INF, 0.1),
            potential,
            potential.crystal(2),
            copies=2,
            steps=int(1600 / dt),
            temperature=60.0,
            skip=int(160 / dt),
        )
        total = run["full_kinetic"] + run["potential"]
        errors[dt] = (total - total.mean(0)).std()
        drift = np.polyfit(np.arange(len(total)) * dt, total.mean(1), 1)[0] * 1e3 / 32
        assert abs(drift) < 1e-4, f"{drift} eV/ps/atom at {dt} fs"
    assert errors[4.0] / errors[2.0] == pytest.approx(4, rel=0.25)
    assert errors[8.0] / errors[4.0] == pytest.approx(4, rel=0.25)


def test_crystal_of_lennard_jones_feels_the_pressure_it_should():
    potential = LennardJones()
    mean = {}
    for pressure in (0.0, 0.5):
        run = simulate(
            NpT(4.0, 100.0, 500.0, 0.5),
            potential,
            potential.crystal(2),
            copies=2,
            steps=700,
            temperature=30.0,
            pressure=pressure,
            skip=300,
        )
        mean[pressure] = run["volume"].mean() / 32
    # argon near 30 K: about 37.5 Å3 an atom, bulk modulus 2-3.5 GPa (with a long cut-off)
    assert mean[0.0] == pytest.approx(38, rel=0.05)
    assert 1.5 < 0.5 / np.log(mean[0.0] / mean[0.5]) < 6


@pytest.mark.proof
def test_physical_validation_agrees():
    import physical_validation as pv

    n, kB = 6, BOLTZMANN_EV_PER_K
    potential = ElasticCrystal()
    npt = NpT(2.0, 100.0, 300.0, 0.0125)
    units = pv.data.UnitData(
        kb=kB,
        energy_str="eV",
        energy_conversion=96.48533,
        length_str="Å",
        length_conversion=0.1,
        volume_str="Å^3",
        volume_conversion=1e-3,
        temperature_str="K",
        temperature_conversion=1,
        pressure_str="eV/Å^3",
        pressure_conversion=1602176.6,
        time_str="fs",
        time_conversion=1e-3,
    )
    system = pv.data.SystemData(
        natoms=n, nconstraints=0, ndof_reduction_tra=3, ndof_reduction_rot=0, mass=np.full(n, 28.085)
    )

    def data(temperature, pressure, seed):
        run = simulate(
            npt,
            potential,
            potential.crystal(n),
            copies=96,
            steps=4600,
            temperature=temperature,
            pressure=pressure,
            every=200,
            skip=600,
            seed=seed,
        )
        series = {k: run[k].T.ravel() for k in ("kinetic", "potential", "volume")}
        return pv.data.SimulationData(
            units=units,
            ensemble=pv.data.EnsembleData(
                "NPT", natoms=n, pressure=pressure / EV_PER_A3_TO_GPA, temperature=temperature
            ),
            system=system,
            dt=400.0,
            observables=pv.data.ObservableData(
                kinetic_energy=series["kinetic"],
                potential_energy=series["potential"],
                total_energy=series["kinetic"] + series["potential"],
                volume=series["volume"],
            ),
        )

    base, pressed, heated = data(300.0, 0.0, 1), data(300.0, 1.5, 2), data(330.0, 0.0, 3)
    shift, spread = pv.kinetic_energy.distribution(base, strict=False, verbosity=0)
    assert abs(shift) < 4
    assert abs(spread) < 4
    for other in (pressed, heated):
        quantiles = pv.ensemble.check(base, other, verbosity=0, data_is_uncorrelated=True)
        assert all(abs(q) < 4 for q in quantiles), quantiles
