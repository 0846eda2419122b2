"""Labels are physics: forces and stress are derivatives of the free energy, lattice constants are where they
belong."""

import re

import numpy as np
import pytest

from pesatlas.dataset.derive import entropy
from pesatlas.label.backend import Result, Task
from pesatlas.label.backends import gpaw
from pesatlas.label.isolated_atoms import task_of_atom
from pesatlas.levels.gpaw import levels
from pesatlas.structures.sources.demo import Options, load
from pesatlas.testing.workdir import make_workdir

pytestmark = pytest.mark.physics

# Aluminium phosphide, rattled and strained with shear: no symmetry that could hide a wrong sign or order.
CELL = 2.7255 * (1 - np.eye(3)) @ np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.015], [0.005, 0.0, 1.01]])
POSITIONS = np.array([[0.05, -0.03, 0.02], [1.30, 1.42, 1.33]])
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def level_of(name, **settings):
    level = levels(gpaw.Options(quality="demo"), [name])[name]
    return level.model_copy(update={"settings": {**level.settings, **settings}})


def calculate(task, folder):
    result = gpaw.calculate(task, gpaw.Options(), make_workdir(folder, 600.0))
    assert isinstance(result, Result), result
    return result


def aluminium_phosphide(level, cell=CELL, positions=POSITIONS):
    return Task(np.array([13, 15]), cell, positions, level)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["pbe", "r2scan"])
def test_forces_and_stress_are_derivatives_of_the_free_energy(name, tmp_path):
    # FACTS of this project: forces agree to 1e-3 eV/Å. A cut-off high enough that the basis hardly changes
    # with the cell.
    level = level_of(name, cutoff_eV={"default": 500.0}, kpoint_spacing_per_A=1.2)
    base = calculate(aluminium_phosphide(level), tmp_path / "base")
    step = 0.01
    energies = []
    for sign in (1, -1):
        moved = POSITIONS.copy()
        moved[1, 0] += sign * step
        energies.append(
            calculate(aluminium_phosphide(level, positions=moved), tmp_path / f"f{sign}").free_energy_eV
        )
    assert base.forces_eV_per_A[1][0] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=3e-3)
    # stress: tension positive, sigma_ij = dF/dε_ij / V; one normal and one shear component fix sign and Voigt
    # order
    for component in (0, 5):
        i, j = VOIGT[component]
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * 0.005 / 2
            strain[j, i] += sign * 0.005 / 2
            task = aluminium_phosphide(level, CELL @ strain, POSITIONS @ strain)
            energies.append(calculate(task, tmp_path / f"s{component}{sign}").free_energy_eV)
        slope = (energies[0] - energies[1]) / (2 * 0.005) / abs(np.linalg.det(CELL))
        assert base.stress_eV_per_A3[component] == pytest.approx(slope, abs=1.5e-3)


# PBE lattice constants: Haas, Tran, Blaha, Phys. Rev. B 79, 085104 (2009), table II.
@pytest.mark.parametrize(
    ("numbers", "a", "basis"),
    [([11, 17], 5.698, 0.5), ([12, 8], 4.255, 0.5), ([31, 33], 5.749, 0.25)],
    ids=["NaCl", "MgO", "GaAs"],
)
def test_lattice_constants_are_those_of_pbe(numbers, a, basis, tmp_path):
    level = level_of("pbe", cutoff_eV={"default": 500.0, "O": 800.0}, kpoint_spacing_per_A=0.6)
    lengths = a * np.array([0.97, 0.985, 1.0, 1.015, 1.03])
    energies = []
    for k, length in enumerate(lengths):
        task = Task(
            np.array(numbers),
            length / 2 * (1 - np.eye(3)),
            np.array([[0.0] * 3, [basis * length] * 3]),
            level,
        )
        energies.append(calculate(task, tmp_path / str(k)).energy_eV)
    cubic = np.polynomial.Polynomial.fit(lengths, energies, 3)
    minimum = next(r.real for r in cubic.deriv().roots() if cubic.deriv(2)(r.real) > 0)
    assert minimum == pytest.approx(a, rel=0.01)


def test_cohesive_energy_of_silicon(tmp_path):
    # PBE: -4.6 eV/atom (Si crystal less spin-polarised atom); coarse k-points and box leave about 0.15
    level = level_of("pbe", kpoint_spacing_per_A=0.5)
    crystal = Task(np.array([14, 14]), 2.7345 * (1 - np.eye(3)), np.array([[0.0] * 3, [1.36725] * 3]), level)
    energy = (
        calculate(crystal, tmp_path / "crystal").energy_eV / 2
        - calculate(task_of_atom(14, level), tmp_path / "atom").energy_eV
    )
    assert energy == pytest.approx(-4.6, abs=0.2)


def test_smearing_separates_energy_and_free_energy_of_a_metal_only(tmp_path):
    level = level_of("pbe", kpoint_spacing_per_A=0.9)
    metal = calculate(
        Task(np.array([13]), 2.02 * (1 - np.eye(3)), np.zeros((1, 3)), level), tmp_path / "metal"
    )
    insulator = calculate(
        Task(np.array([3, 9]), 2.03 * (1 - np.eye(3)), np.array([[0.0] * 3, [2.03] * 3]), level),
        tmp_path / "insulator",
    )
    assert metal.energy_eV - metal.free_energy_eV > 1e-3
    # GPAW's own account of the entropy, which E0 = F + TS/2 has half of
    said = (tmp_path / "metal/keep/gpaw.txt").read_text()
    printed = -float(re.findall(r"Entropy:\s*(\S+)", said)[-1])
    assert entropy(metal.energy_eV, metal.free_energy_eV) == pytest.approx(printed, abs=2e-6)
    assert abs(insulator.energy_eV - insulator.free_energy_eV) < 1e-6
    assert metal.band_gap_eV == 0.0
    assert insulator.band_gap_eV == pytest.approx(9.2, abs=0.6)  # PBE gap of LiF; 14 measured


def test_diamond_is_the_ground_state_of_silicon_in_the_demo(tmp_path):
    level = levels(gpaw.Options(quality="coarse"), ["pbe"])["pbe"]
    energies = {}
    for crystal in load(Options(names=["Si", "Si-BC8"])):
        task = Task(crystal.numbers, crystal.cell, crystal.positions, level)
        found = calculate(task, tmp_path / crystal.structure_id).energy_eV
        energies[crystal.structure_id] = found / len(crystal.numbers)
    # converged k-points: 0.15 eV/atom
    assert 0.03 < energies["demo-Si-BC8"] - energies["demo-Si"] < 0.2
