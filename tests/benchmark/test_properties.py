"""Properties of potentials whose answers are known in closed form, or from the programs that the procedures
come from."""

import gzip
import json

import numpy as np
import pytest
import torch

from benchmarking import (
    Collapsing,
    Exploding,
    Failing,
    Heating,
    Kicking,
    argon,
    benchmarked,
    entry,
    measured,
    write,
)
from known_thermodynamics import Analytic, ElasticCrystal, LennardJones
from pesatlas.atoms.units import BOLTZMANN_EV_PER_K, EV_PER_A3_TO_GPA
from pesatlas.benchmark.diffusion import conductivity, diffusion
from pesatlas.benchmark.fingerprint import fingerprint
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.dynamics.relax import Start
from pesatlas.testing.blank import blank

GAS_CONSTANT = 8.31446262  # J/mol/K


def values(rows):
    return {(row["structure_id"], row["quantity"]): row["value"] for row in rows}


def test_moduli_are_those_of_the_energy(tmp_path):
    potential = ElasticCrystal(bulk=0.5, shear=0.3)
    write(
        tmp_path,
        "solid.json",
        [entry("solid", potential.crystal(1), bulk_modulus_vrh=80.0, shear_modulus_vrh=90.0)],
    )
    found = values(measured(potential, "elasticity", tmp_path, file="solid.json"))
    # the energy is K (V - V0)^2 / 2 V0 and, for small strains, 2 shear times the square of their deviator
    assert found["solid", "bulk_modulus"] == pytest.approx(0.5 * EV_PER_A3_TO_GPA, rel=0.01)
    assert found["solid", "shear_modulus"] == pytest.approx(2 * 0.3 * EV_PER_A3_TO_GPA, rel=0.02)


class Einstein(Analytic):
    """Atoms on springs to the points of a simple cubic lattice: all frequencies are one."""

    name = "analytic/einstein"
    spring, lattice_A = 4.0, 3.0

    def energies_of(self, positions, cells, owner, batch):
        shift = positions - self.lattice_A * torch.round(positions.detach() / self.lattice_A)
        each = 0.5 * self.spring * shift.square().sum(1)
        return torch.zeros(len(cells), dtype=torch.float64).index_add(0, owner, each)


@pytest.mark.parametrize("kelvin", [100.0, 300.0])
def test_heat_capacity_of_an_einstein_solid(tmp_path, kelvin):
    pytest.importorskip("phonopy")
    crystal = np.array([6]), np.eye(3) * 3.0, np.zeros((1, 3))
    write(tmp_path, "solid.json", [entry("solid", crystal, heat_capacity=20.0)])
    rows = measured(
        Einstein(),
        "heat_capacity",
        tmp_path,
        file="solid.json",
        min_length_A=9.0,
        temperature_K=kelvin,
    )
    # hbar omega / kT with omega = sqrt(k/m); 1 eV/(Å² amu) is 9.64853e27 1/s²
    omega = np.sqrt(4.0 / 12.011 * 9.648533212e27)
    x = 6.582119569e-16 * omega / (BOLTZMANN_EV_PER_K * kelvin)
    expected = 3 * GAS_CONSTANT * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
    assert rows[0]["value"] == pytest.approx(expected, rel=1e-3)
    assert rows[0]["error"] == pytest.approx(abs(rows[0]["value"] - 20.0))


def test_moduli_and_heat_capacity_are_those_of_matcalc(tmp_path, monkeypatch):
    # not by the environment, which is read when the first test imports it
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    matcalc = pytest.importorskip("matcalc")
    from pymatgen.core import Structure

    from ase_calculator import Ase

    potential = LennardJones()
    numbers, cell, positions = potential.crystal(1, 5.3)
    # an orthorhombic crystal with something to relax
    crystal = numbers, cell * [[1.0], [1.01], [1.0]], positions * [1.0, 1.01, 1.0]
    write(
        tmp_path,
        "argon.json",
        [entry("ar", crystal, bulk_modulus_vrh=2.0, shear_modulus_vrh=1.0, heat_capacity=90.0)],
    )
    tight = {"file": "argon.json", "fmax_eV_per_A": 1e-4}
    ours = values(measured(potential, "elasticity", tmp_path, **tight))
    ours |= values(measured(potential, "heat_capacity", tmp_path, min_length_A=10.0, **tight))
    structure = Structure(crystal[1], crystal[0].tolist(), crystal[2], coords_are_cartesian=True)
    theirs = matcalc.ElasticityCalc(Ase(potential), fmax=1e-4, units_GPa=True).calc(structure)
    for name in ("bulk_modulus", "shear_modulus"):
        assert ours["ar", name] == pytest.approx(theirs[f"{name}_vrh"], rel=2e-3)
    phonons = matcalc.PhononCalc(Ase(potential), fmax=1e-4, min_length=10.0, write_phonon=False)
    capacity = phonons.calc(structure)["thermal_properties"]["heat_capacity"][30]
    assert ours["ar", "heat_capacity"] == pytest.approx(capacity, rel=1e-4)


def test_the_fingerprint_is_that_of_matminer():
    # matminer 0.10.1: SiteStatsFingerprint(CrystalNNFingerprint.from_preset("ops", distance_cutoffs=None,
    # x_diff_weight=0), mean, ...)
    a = 5.69
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.concatenate([corners, corners + 0.5])
    numbers = np.repeat([11, 17], 4)
    salt = Start(numbers, np.eye(3) * a, sites * a)
    moved = sites.copy()
    moved[0] += [0.03, 0.02, 0.01]
    cell = np.diag([1.02 * a, a, a])
    strained = Start(numbers, cell, moved @ cell)
    first, second = fingerprint(salt), fingerprint(strained)
    assert first.shape == (244,)
    assert np.linalg.norm(first) == pytest.approx(2.6210840400538573, abs=1e-6)
    assert np.linalg.norm(second) == pytest.approx(2.3484556755002153, abs=1e-6)
    assert np.linalg.norm(first - second) == pytest.approx(0.48137004611366774, abs=1e-6)


def test_formation_energy_is_counted_from_the_elements_by_the_same_potential(tmp_path):
    class Bonds(ElasticCrystal):
        """An energy for each atom by its element, more for mixed cells."""

        def energies_of(self, positions, cells, owner, batch):
            each = torch.tensor([{11: -1.0, 17: -2.0}[int(z)] for z in batch.numbers], dtype=torch.float64)
            mixed = torch.zeros(len(cells), dtype=torch.float64).index_add(
                0, owner, (batch.numbers == 17).double()
            )
            own = torch.zeros(len(cells), dtype=torch.float64).index_add(0, owner, each)
            bound = torch.where((mixed > 0) & (mixed < batch.n_atoms), -3.0, 0.0)
            return super().energies_of(positions, cells, owner, batch) + own + bound

    potential = Bonds()
    _, cell, positions = potential.crystal(2)
    references = {"formation_energy_per_atom": -1.4, "corrected_formation_energy_per_atom": -1.9}
    write(tmp_path, "salt.json", [entry("salt", (np.array([11, 17]), cell, positions), **references)])
    single = potential.crystal(1)
    elements = {
        symbol: entry(symbol, (np.array([number]), *single[1:]))
        for symbol, number in (("Na", 11), ("Cl", 17))
    }
    (tmp_path / "MatPES-PBE-Element-Refs.json.gz").write_bytes(gzip.compress(json.dumps(elements).encode()))
    for corrected, column, error in (
        (False, "formation_energy_per_atom", 0.1),
        (True, "corrected_formation_energy_per_atom", 0.4),
    ):
        (row,) = measured(
            potential,
            "formation_energy",
            tmp_path,
            file="salt.json",
            sources=Sources(tmp_path, corrected=corrected),
        )
        assert row["value"] == pytest.approx(-1.5, abs=1e-3)
        assert row["reference_column"] == column
        assert row["error"] == pytest.approx(error, abs=1e-3)


def test_a_crystal_that_relaxes_to_itself_has_no_distance(tmp_path):
    potential = LennardJones()
    write(tmp_path, "argon.json", [entry("ar", potential.crystal(1, 5.2695))])
    (row,) = measured(
        potential, "relaxation", tmp_path, file="argon.json", fmax_eV_per_A=1e-4, perturb_A=0.05
    )
    assert row["value"] == pytest.approx(0, abs=0.05)


HEATED = {"min_length_A": 0, "length_ps": 0.4, "timestep_fs": 4.0}


@pytest.mark.parametrize(
    ("potential", "outcome", "changes"),
    [
        (Exploding, "exploded_volume", {"length_ps": 8.0}),
        (Kicking, "lost_atoms", {}),
        (Collapsing, "exploded_distance", {"min_distance_A": 1.0, "max_temperature_ratio": 1e6}),
        (Heating, "exploded_temperature", {"max_jump_A": 50.0, "max_volume_ratio": 100.0}),
        (Failing, "not_finite", {}),
    ],
)
def test_a_broken_potential_is_caught_by_what_it_breaks(tmp_path, potential, outcome, changes):
    write(tmp_path, "argon.json", [entry("ar", LennardJones().crystal(1, 5.3))])
    options = HEATED | {"file": "argon.json", "first_K": 40.0, "last_K": 60.0} | changes
    (row,) = measured(potential(), "md_stability", tmp_path, **options)
    assert row["reason"] is None
    assert row["outcome"] == outcome
    assert 40 <= row["value"] < 60


def test_a_good_potential_survives_at_its_temperature(tmp_path):
    write(tmp_path, "argon.json", [entry("ar", LennardJones().crystal(1, 5.3))])
    options = HEATED | {"file": "argon.json", "first_K": 40.0, "last_K": 40.001}
    (row,) = measured(LennardJones(), "md_stability", tmp_path, **options)
    assert (row["outcome"], row["reason"]) == ("survived", None)
    assert row["value"] == pytest.approx(40.001)


def test_diffusion_of_a_lattice_random_walk_lies_within_its_error():
    # steps of length a to one of six neighbours, one each 10 fs: D = a²/(6·10 fs) exactly
    draw = np.random.default_rng(5)
    jumps = np.concatenate([np.eye(3), -np.eye(3)])[draw.integers(6, size=(4000, 40))] * 2.0
    found = diffusion(np.cumsum(jumps, axis=0), 10.0, 10)
    expected = 2.0**2 / (6 * 10.0)
    assert found.error < 0.05 * expected
    assert abs(found.value - expected) < 3 * found.error
    # 40 ions of charge 1 in 1000 Å³ at 500 K, in SI units
    sigma, error = conductivity(found, 40, 1000.0, 1.0, 500.0)
    si = 40 * 1.602176634e-19**2 * found.value * 1e-5 / (1000e-30 * 1.380649e-23 * 500)
    assert sigma == pytest.approx(si / 100, rel=1e-6)
    assert error / sigma == pytest.approx(found.error / found.value)


class Walking(Analytic):
    """No forces: in NVT every ion flies until the thermostat turns it, so that there is diffusion."""

    name = "analytic/free"

    def evaluate(self, batch):
        from pesatlas.potentials.potential import Evaluation

        return Evaluation(
            *(torch.zeros_like(x) for x in (batch.cells[:, 0, 0], batch.positions, batch.cells))
        )


def test_conductivity_is_measured_from_a_file_of_conductivities(tmp_path):
    crystal = np.array([3, 3, 8, 8]), np.eye(3) * 20.0, np.random.default_rng(0).random((4, 3)) * 20
    about = {"ion": "Li", "charge": 1, "temperature_K": 600.0, "log10_conductivity_S_per_cm": 1.0}
    write(tmp_path, "ions.json", [entry("free", crystal, **about)])
    options = {
        "file": "ions.json",
        "length_ps": 4.0,
        "equilibration_ps": 0.4,
        "frame_fs": 20.0,
        "min_length_A": 0,
    }
    (row,) = measured(Walking(), "conductivity", tmp_path, **options)
    assert row["reason"] is None, row["detail"]
    assert row["error"] == pytest.approx(abs(row["value"] - 1.0))
    assert "±" in row["detail"]
    # ions that do not move conduct nothing, and that is no number
    (row,) = measured(
        ElasticCrystal(volume_per_atom=2000.0), "conductivity", tmp_path, **options | {"length_ps": 2.0}
    )
    assert row["value"] is None
    assert row["reason"]


def test_speed_is_measured_anew_each_time(tmp_path):
    file = argon(tmp_path, lengths=(5.3,))
    first, second = (
        measured(LennardJones(), "speed", tmp_path, file=file, atoms=8, repeats=1)[0] for _ in range(2)
    )
    assert 0 < first["value"] < 1e3
    assert first["value"] != second["value"]


def test_an_element_that_it_does_not_know_is_a_row(tmp_path):
    potential = LennardJones()
    potential.elements = frozenset({1})
    rows = measured(potential, "relaxation", tmp_path, file=argon(tmp_path, lengths=(5.3,)))
    assert [row["reason"] for row in rows] == ["unsupported_element"]
    assert "Ar" in rows[0]["detail"]


def test_a_potential_of_another_level_is_not_asked_about_these_labels(tmp_path):
    row = {"snapshot_id": "a", "structure_id": "a", "split": "test", "formula": "Ar", "n_atoms": 4}
    row["level_fingerprint"] = "of this level"
    dataset = tmp_path / "dataset.parquet"
    _write_dataset(dataset, LennardJones().crystal(1, 5.3), row)
    for level, prints, reasons in (
        ("pbe", (), {None}),
        ("pbe", ("of this level",), {None}),
        ("pbe", ("another",), {"wrong_level"}),
        ("r2scan", (), {"wrong_level"}),
    ):
        rows = measured(
            LennardJones(),
            "test_error",
            tmp_path,
            sources=Sources(tmp_path, dataset, "pbe"),
            who=benchmarked(level=level, own=True, fingerprints=prints),
        )
        assert {row["reason"] for row in rows} == reasons
        assert {row["potential_level"] for row in rows} == {level}
        assert {row["reference_column"] for row in rows} == {"pbe"}


def _write_dataset(path, crystal, about):
    """A table ``dataset`` of one frame whose label has forces 1.25 times as large as argon's, energy and
    stress off by a known amount."""

    from pesatlas.dynamics.relax import to_batch
    from pesatlas.potentials.potential import VOIGT
    from pesatlas.tables import write_table

    numbers, cell, positions = crystal
    positions = positions + 0.1 * np.random.default_rng(2).normal(size=positions.shape)
    found = LennardJones().evaluate(to_batch([Start(numbers, cell, positions)], torch.device("cpu")))
    row = about | {
        "numbers": numbers.tolist(),
        "cell_A": cell.ravel().tolist(),
        "positions_A": positions.ravel().tolist(),
        "energy_eV": float(found.energies[0]) + 0.4,
        "forces_eV_per_A": (1.25 * found.forces).ravel().tolist(),
        "stress_eV_per_A3": (found.stresses[0].numpy()[VOIGT] + 1 / EV_PER_A3_TO_GPA).tolist(),
    }
    write_table(path, "dataset", [blank("dataset") | row], "x")


def test_errors_and_softening_on_held_out_frames_are_what_was_put_in(tmp_path):
    dataset = tmp_path / "dataset.parquet"
    about = {"snapshot_id": "a:1", "structure_id": "a", "split": "test", "formula": "Ar", "n_atoms": 4}
    _write_dataset(dataset, LennardJones().crystal(1, 5.3), about)
    sources = Sources(tmp_path, dataset, "pbe")
    found = values(measured(LennardJones(), "test_error", tmp_path, sources=sources))
    assert found["a:1", "energy_error"] == pytest.approx(0.1)
    assert found["a:1", "stress_error"] == pytest.approx(1.0)
    (row,) = measured(LennardJones(), "softening", tmp_path, sources=sources)
    assert row["value"] == pytest.approx(0.8)
