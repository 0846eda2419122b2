"""`benchmarks/learning_curves.py`: one point of it on labels that cost nothing, and what its numbers mean."""

import csv
import sys

import curves_policies
import curves_soap
import curves_tuning
import learning_curves
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from curves_pool import POOL, TUNE, TUNE_TEST, Frames, roles_of
from curves_report import Curves, ratio

from pesatlas.testing.crystals import to_batch
from small_potentials import rattled_salts, save_m3gnet


@pytest.fixture
def frames():
    rng = np.random.default_rng(3)
    atoms = [bulk("Cu", cubic=True) * (1, 1, 1 + k % 2) for k in range(60)]
    n_atoms = [len(each) for each in atoms]
    structures = rng.normal(size=(60, 64)).astype(np.float32)
    vectors = rng.normal(size=(sum(n_atoms), 64)).astype(np.float16)
    owners = np.repeat(np.arange(60), n_atoms)
    nothing = np.zeros(60), np.zeros((sum(n_atoms), 3)), np.zeros((60, 3, 3))
    names = np.array([f"f{k}" for k in range(60)])
    return Frames(atoms, names, names, np.full(60, POOL), structures, vectors, owners, nothing)


def test_facility_location_picks_what_a_full_search_picks(frames):
    pool = curves_policies.candidates_of(frames, np.arange(60), 1)
    (order,) = curves_policies.facilities([(0.5, 1, "flat", "atoms")]).values()
    apart = curves_policies.distances(pool.flat).astype(float)
    nearest, count = np.full(60, apart.max()), frames.n_atoms
    price, picks = pool.cost**0.5, []
    for _ in range(20):
        gains = [np.maximum(nearest - row, 0) @ count for row in apart] / price
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        nearest = np.minimum(nearest, apart[picks[-1]])
    assert order(pool, 20).tolist() == picks


@pytest.mark.parametrize("policy", sorted(curves_policies.NESTED))
def test_a_policy_picks_frames_once_and_a_smaller_selection_begins_a_larger_one(frames, policy):
    pool = curves_policies.candidates_of(frames, np.arange(0, 60, 2), 1)
    order = curves_policies.NESTED[policy]
    picks = order(pool, 20).tolist()
    assert len(set(picks)) == 20
    assert set(picks) <= set(range(0, 60, 2))
    assert order(pool, 10).tolist() == picks[:10]


def test_no_frame_of_the_tuning_or_of_a_test_is_in_the_pool():
    ids = [f"frame-{k}" for k in range(2000)]
    roles = np.array(roles_of(ids, ["a", "b"] * 1000, [("other", "b")], 1 / 3, 0.15))
    assert set(roles[1::2]) == {"other"}
    share = {role: float((roles[::2] == role).mean()) for role in set(roles[::2].tolist())}
    assert share == pytest.approx({POOL: 0.567, "kind": 0.1, TUNE: 0.283, TUNE_TEST: 0.05}, abs=0.03)
    assert roles_of(ids[::-1], ["b", "a"] * 1000, [("other", "b")], 1 / 3, 0.15) == roles[::-1].tolist()


def test_a_policy_that_needs_half_the_cost_for_every_error_has_a_ratio_of_a_half():
    rows = [
        {
            "policy": policy,
            "seed": str(seed),
            "labels": str(n),
            "cost": str(n**2 * seed * share),
            "error": str(300 / n),
        }
        for policy, share in (("random", 1), ("better", 0.5))
        for seed in (1, 2, 3)
        for n in (50, 100, 200, 400, 800)
    ]
    found = ratio(Curves(rows, "error", "cost"), "better", "random")
    assert (found.mean, found.low, found.high, found.bound) == (
        pytest.approx(0.5),
        pytest.approx(0.5),
        pytest.approx(0.5),
        "",
    )
    assert found.verdict == "better"
    back = ratio(Curves(rows, "error", "cost"), "random", "better")
    assert back.mean == pytest.approx(2)
    assert back.verdict == "worse"


@pytest.mark.slow
def test_one_point_of_the_experiment_runs_again_on_any_folder(tmp_path, monkeypatch, capsys):
    rng, made = np.random.default_rng(0), []
    for k in range(40):
        atoms = bulk("Cu" if k % 2 else "Au", cubic=True)
        atoms.rattle(0.05 + 0.1 * rng.random(), seed=k)
        atoms.calc = EMT()
        found = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **found)
        atoms.info |= {"frame_id": f"emt-{k}", "group": "hot" if k < 5 else "cold"}
        made.append(atoms)
    write(tmp_path / "frames.extxyz", made)
    monkeypatch.setattr(curves_tuning, "STEPS", 4)
    command = [
        "learning_curves.py", str(tmp_path), "--work", str(tmp_path / "work"), "--test", "kind=hot", "--rate", "1e-3",
        "--policies", "random", "matpes", "--counts", "4", "8", "--seeds", "1",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    learning_curves.main()
    with (tmp_path / "work/points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["labels"], row["frames"]) for row in rows] == [
        ("random", "4", "5"), ("matpes", "4", "5"), ("random", "8", "5"), ("matpes", "8", "5"),
    ]  # fmt: skip
    assert all(0 < float(row["force_mean"]) < 5000 for row in rows)
    capsys.readouterr()
    learning_curves.main()
    assert "atoms³" not in capsys.readouterr().out  # all points are there already


@pytest.mark.slow
def test_fine_tuned_weights_of_matgl_learn_the_forces_they_are_shown(tmp_path, monkeypatch):
    salts = rattled_salts()
    for atoms in salts:
        atoms.calc = SinglePointCalculator(
            atoms, energy=-2.0 * len(atoms), forces=np.zeros((len(atoms), 3)), stress=np.zeros(6)
        )
    monkeypatch.setattr(curves_tuning, "STEPS", 12)
    learner = curves_tuning.Matgl(save_m3gnet(tmp_path / "weights"), older_convention=False)
    tuning = curves_tuning.FineTuning(salts, learner)

    def force_error(model):
        return np.concatenate([each["forces"] for each in tuning.errors(model, range(4))]).mean()

    before = learner.new()
    model = learner.new()
    _, forces = learner.predict(model, salts)
    asked = learner.potential(before).evaluate(to_batch(salts)).forces
    np.testing.assert_allclose(forces.detach(), asked, atol=1e-3 * float(asked.abs().max()))
    after = tuning.train(range(4), 1, 3e-3)
    assert force_error(after) < 0.8 * force_error(before)


def test_the_fast_learner_finds_energies_that_are_sums_over_atoms():
    rng = np.random.default_rng(1)
    numbers = [rng.choice([29, 79], size=rng.integers(2, 9)) for _ in range(200)]
    vectors = rng.normal(size=(sum(map(len, numbers)), 4)).astype(np.float16)
    owners = np.repeat(np.arange(200), [len(each) for each in numbers])
    of_atoms = vectors.astype(float) @ [0.3, -0.2, 0.1, 0.0] + np.where(
        np.concatenate(numbers) == 29, -3.0, -5.0
    )
    energies = np.bincount(owners, of_atoms)
    equations = curves_soap.energy_equations(numbers, vectors, energies, np.arange(200))
    fits = curves_soap.Fits(equations)
    fits.add(list(range(150)), 0)
    weights, _ = fits.solve()
    n_atoms = np.array([len(each) for each in numbers])
    errors = [each["energy"] for each in curves_soap.errors_of(equations, weights, range(150, 200), n_atoms)]
    assert max(errors) < 1e-3


def test_forces_and_virials_of_the_equations_are_derivatives_of_their_energies():
    pytest.importorskip("featomic")
    crystals = [bulk("Cu", cubic=True) for _ in range(9)]
    for seed, each in enumerate(crystals):
        each.numbers[1] = 79
        each.rattle(0.1, seed=seed)
    atoms, spectra = crystals[0], curves_soap.Spectra([29, 79])
    spectra.learn_layout(crystals)
    bases = {kind: curves_soap.Basis.of(found, kind) for kind, found in spectra.of_atoms(crystals).items()}
    weights = np.random.default_rng(0).normal(size=2 * (curves_soap.COMPONENTS + curves_soap.COSINES + 1))
    found = spectra.equations(atoms, bases) @ weights

    def energy(positions, cell):
        moved = atoms.copy()
        moved.set_cell(cell)
        moved.positions = positions
        return (spectra.equations(moved, bases) @ weights)[0]

    step = np.zeros((4, 3))
    step[2, 1] = 1e-4
    cell = np.array(atoms.cell)
    slope = (energy(atoms.positions + step, cell) - energy(atoms.positions - step, cell)) / 2e-4
    assert found[1 + 7] == pytest.approx(-slope, rel=2e-3)
    more, less = np.diag([1 + 1e-4, 1, 1]), np.diag([1 - 1e-4, 1, 1])
    slope = (energy(atoms.positions @ more, cell @ more) - energy(atoms.positions @ less, cell @ less)) / 2e-4
    assert found[-6] == pytest.approx(slope, rel=2e-3)
