"""The kit for authors of extensions finds what is wrong: each of these extensions breaks one promise, and
one of its tests says so."""

import ast
import itertools
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pesatlas import testing
from pesatlas.config import plugins
from pesatlas.label.backend import Failed, Result
from pesatlas.levels.level import Level
from pesatlas.select.policies import random as random_policy
from pesatlas.structures.crystal import Cell, Condition, make_crystal
from pesatlas.tables import FailureReason
from pesatlas.testing.analytic import LennardJones
from pesatlas.testing.crystals import crystals_of
from pesatlas.testing.selecting import frames_of_twelve_crystals

WITH_A_CLASS_EACH = (
    *("testing.SourceTests", "testing.PotentialTests", "testing.EncoderTests"),
    *("testing.BackendTests", "testing.ImporterTests"),
)


def test_each_of_our_own_extensions_passes_the_tests_of_its_kind():
    # those of domains, policies, exporters and benchmarks are made of a list of all kinds
    found = {each: set() for each in WITH_A_CLASS_EACH}
    for path in Path(__file__).parents[1].rglob("test_*.py"):
        if path == Path(__file__) or "testing." not in (text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            for base in found.keys() & {ast.unparse(base) for base in getattr(node, "bases", ())}:
                lines = [line for line in node.body if isinstance(line, ast.Assign)]
                found[base] |= {line.value.value for line in lines if ast.unparse(line.targets[0]) == "kind"}
    own = {each: plugins.available(getattr(testing, each.partition(".")[2]).package) for each in found}
    assert found == {each: set(kinds) for each, kinds in own.items()}


def test_pesatlas_itself_needs_no_pytest():
    code = (
        "import sys; sys.modules['pytest'] = None; import pesatlas.cli.main, pesatlas.monitor.doctor, "
        "pesatlas.campaign.load, pesatlas.dataset.export"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# potentials


class Potential(LennardJones):
    """Argon, with an error that ``spoil`` makes."""

    elements = frozenset({10, 18})

    def __init__(self, spoil=lambda found, batch: found):
        super().__init__()
        self.spoil = spoil

    def evaluate(self, batch):
        return self.spoil(super().evaluate(batch), batch)


def changed(**names):
    return lambda found, batch: replace(found, **{k: f(getattr(found, k), batch) for k, f in names.items()})


calls = itertools.count()
MUTANTS = {
    "stress_is_the_slope_of_the_energy_along_strain_and_tension_is_positive": {
        "sign": changed(stresses=lambda x, _: -x),
        "GPa": changed(stresses=lambda x, _: 160.2 * x),
        "order": changed(stresses=lambda x, _: x[:, [1, 0, 2]][:, :, [1, 0, 2]]),
    },
    "forces_are_the_slope_of_the_energy": {"sign": changed(forces=lambda x, _: -x)},
    "a_batch_is_its_structures_one_by_one": {"mean": changed(energies=lambda x, _: x - x.mean())},
    "the_same_question_has_the_same_answer_to_the_last_bit": {
        "drift": changed(energies=lambda x, _: x + 1e-9 * next(calls))
    },
    "rotation_turns_forces_and_stress": {"axis": changed(energies=lambda x, b: x + b.cells[:, 0, 0])},
    "order_of_atoms_is_of_no_consequence": {
        "first": changed(forces=lambda x, _: x + 0.1 * torch.eye(len(x), 3, dtype=x.dtype))
    },
    "units_shapes_and_types": {
        "float32": changed(energies=lambda x, _: x.float()),
        "skew": changed(stresses=lambda x, _: x + torch.triu(torch.ones(3, 3, dtype=x.dtype), 1)),
    },
}


@pytest.mark.parametrize(("test", "how"), [(t, how) for t, many in MUTANTS.items() for how in many])
def test_a_wrong_potential_is_found_out(test, how):
    crystals = crystals_of(frozenset({10, 18}))
    ask = getattr(testing.PotentialTests(), f"test_{test}")
    ask(Potential(), crystals)
    with pytest.raises(AssertionError):
        ask(Potential(MUTANTS[test][how]), crystals)


# sources and domains


def crystals(names=("a", "b"), draw=None, scale=1.0):
    cell, sites = np.eye(3) * 5.0, np.array([[0, 0, 0], [2.5, 2.5, 2.5]]) * scale
    return [
        make_crystal(name, [11, 17], cell, sites + (0 if draw is None else draw.normal(size=(2, 3))), "x 1")
        for name in names
    ]


def test_a_source_with_a_name_twice_or_fractional_positions_is_found_out():
    kit = testing.SourceTests()
    kit.test_names_are_unique(crystals())
    with pytest.raises(AssertionError):
        kit.test_names_are_unique(crystals(["a", "a"]))
    kit.test_a_crystal_is_periodic_ordered_and_right_handed(crystals())
    with pytest.raises(AssertionError, match="fractional"):
        kit.test_a_crystal_is_periodic_ordered_and_right_handed(crystals(scale=0.02))


def test_a_source_that_draws_other_numbers_each_time_is_found_out():
    draw = np.random.default_rng()
    module = SimpleNamespace(Options=SimpleNamespace, load=lambda _: crystals(draw=draw))
    with pytest.raises(AssertionError):
        testing.SourceTests().test_the_same_crystals_every_time(crystals(draw=draw), module, {})


def cells(**changes):
    (crystal,) = crystals(["a"])
    about = {
        "variant": "tilted-1",
        "domain": "tilted",
        "conditions": [Condition("300K", 300.0, 0.0)],
    } | changes
    return {"a": [Cell(numbers=crystal.numbers, cell=crystal.cell, positions=crystal.positions, **about)]}


@pytest.mark.parametrize(
    ("test", "changes"),
    [
        ("variants_are_unique_safe_in_paths_and_of_the_domain", {"variant": "other-1"}),
        ("variants_are_unique_safe_in_paths_and_of_the_domain", {"variant": "tilted:1"}),
        ("variants_are_unique_safe_in_paths_and_of_the_domain", {"domain": "bulk"}),
        ("conditions_are_named_apart_and_physical", {"conditions": []}),
        ("conditions_are_named_apart_and_physical", {"conditions": [Condition("0K", 0.0, 0.0)]}),
        ("conditions_are_named_apart_and_physical", {"conditions": [Condition("a", 1.0, 0.0)] * 2}),
    ],
)
def test_a_wrong_domain_is_found_out(test, changes):
    class Tilted(testing.DomainTests):
        kind = "tilted"

    ask = getattr(Tilted(), f"test_{test}")
    ask(cells())
    with pytest.raises(AssertionError):
        ask(cells(**changes))


# policies


@pytest.fixture
def policy(monkeypatch):
    """Put another policy in the place of ``random``, for the stage alone."""

    def put(**changes):
        names = ("PER_CLUSTER", "order", "choose")
        module = SimpleNamespace(**({name: getattr(random_policy, name) for name in names} | changes))
        for place in ("pick", "candidates"):
            monkeypatch.setattr(f"pesatlas.select.{place}.find", lambda *_: module)

    class ByLot(testing.PolicyTests):
        kind = "random"

    put.tests = ByLot()
    return put


def test_a_policy_of_its_own_luck_is_found_out(policy, tmp_path):
    draw = np.random.default_rng()
    policy(choose=lambda *given: [each for each in random_policy.choose(*given) if draw.random() < 0.7])
    with pytest.raises(AssertionError):
        policy.tests.test_ten_orders_and_partitions_give_the_identical_selection(
            {}, frames_of_twelve_crystals(), tmp_path
        )


def test_a_policy_whose_smaller_target_is_no_beginning_is_found_out(policy, tmp_path):
    policy(choose=lambda pool, *rest: random_policy.choose(pool, *rest)[:: 1 if pool.target > 20 else -1])
    with pytest.raises(AssertionError):
        policy.tests.test_no_geometry_is_picked_twice_and_a_smaller_target_is_a_beginning(
            {}, frames_of_twelve_crystals(), tmp_path
        )


def test_a_policy_that_looks_at_one_domain_alone_breaks_quotas(policy, tmp_path):
    def bulk(pool, *rest):
        return [
            each for each in random_policy.choose(pool, *rest) if pool.domains[each.row].as_py() == "bulk"
        ]

    policy(choose=bulk)
    with pytest.raises(AssertionError):
        policy.tests.test_quotas_are_kept({}, frames_of_twelve_crystals(), tmp_path)


# exporters and importers


@pytest.mark.parametrize("factor", [-1.0, 160.2])
def test_an_export_with_another_sign_or_unit_is_found_out(tmp_path, factor):
    from export_readers import read_extxyz
    from pesatlas.testing.labelled_dataset import write_results

    class Wrong(testing.ExporterTests):
        kind = "extxyz"

        @staticmethod
        def read(folder, level, names):
            found = read_extxyz(folder, level, names)
            return {name: (*each[:3], factor * each[3], each[4]) for name, each in found.items()}

    results = write_results(tmp_path / "results")
    with pytest.raises(AssertionError):
        Wrong().test_it_is_read_back_with_the_same_numbers_and_a_stress_that_follows_from_its_energies(
            results, tmp_path, "pbe"
        )


# backends


@dataclass
class Backend:
    """Labels by argon's formula, without a look at what it is asked for."""

    turned: bool = False
    moved: bool = False
    raises: bool = False
    sign: float = 1.0

    def calculate(self, task, options, place):
        from pesatlas.label.backends.mlip import evaluate

        if max(task.numbers) > 90:
            if self.raises:
                raise KeyError(int(max(task.numbers)))
            return Failed(FailureReason.UNSUPPORTED_ELEMENT, "unknown")
        positions = task.positions + (0.1 * np.eye(len(task.numbers), 3) if self.moved else 0.0)
        energy, forces, stress = evaluate(LennardJones(), task.numbers, task.cell, positions)
        forces = forces[np.lexsort(task.positions.T)] if self.turned else forces
        return Result(
            energy_eV=energy,
            free_energy_eV=energy,
            forces_eV_per_A=forces.tolist(),
            stress_eV_per_A3=(self.sign * stress).tolist(),
            magmoms_muB=None,
            band_gap_eV=None,
            scf_steps=0,
            converged=True,
            corrections=[],
            pseudopotentials={"x": "y"},
            settings={"x": 1},
            wall_s=0.1,
        )


class Argon(testing.BackendTests):
    kind = "argon"
    energy_eV, force_eV_per_A, stress_eV_per_A3 = 1e-6, 1e-3, 1e-4


@pytest.fixture
def task():
    from pesatlas.label.backend import Task

    level = Level(name="pbe", code={"x": "1"}, functional="x", settings={}, pseudopotentials="")
    crystal = crystals_of(frozenset({10, 18}))[2]
    return Task(crystal.numbers.astype(int), crystal.cell.array * 1.8, crystal.positions * 1.8, level)


def test_a_right_backend_passes(task, tmp_path):
    kit = Argon()
    kit.test_a_calculation_is_checked_and_told_in_full(Backend(), None, task, tmp_path / "a")
    kit.test_forces_come_in_the_order_of_the_atoms(Backend(), None, task, tmp_path / "b")
    kit.test_forces_and_stress_are_slopes_of_the_free_energy_and_tension_is_positive(
        Backend(), None, task, tmp_path / "c"
    )


def test_a_stress_of_the_wrong_sign_is_found_out(task, tmp_path):
    with pytest.raises(AssertionError):
        Argon().test_forces_and_stress_are_slopes_of_the_free_energy_and_tension_is_positive(
            Backend(sign=-1.0), None, task, tmp_path
        )


def test_forces_in_another_order_are_found_out(task, tmp_path):
    with pytest.raises(AssertionError):
        Argon().test_forces_come_in_the_order_of_the_atoms(Backend(turned=True), None, task, tmp_path)


def test_a_backend_that_does_not_look_at_the_structure_is_found_out(task, tmp_path, monkeypatch):
    class Moving(Argon):
        def calculate_another_structure(self, module, monkeypatch):
            module.moved = True

    with pytest.raises(AssertionError):
        Moving().test_another_structure_than_was_asked_for_is_found_out(
            Backend(), None, task, tmp_path, monkeypatch
        )


def test_a_backend_that_raises_is_found_out(task, tmp_path, monkeypatch):
    monkeypatch.setattr("pesatlas.testing.backends.supported_elements", lambda _: frozenset(range(1, 91)))
    ask = Argon().test_an_element_that_it_does_not_know_is_a_failure_with_its_reason
    ask(Backend(), None, task, tmp_path)
    with pytest.raises(KeyError):
        ask(Backend(raises=True), None, task, tmp_path)


# all of them


def test_options_that_are_not_checked_or_decide_nothing_are_found_out(monkeypatch):
    from typing import Literal

    from pydantic import ConfigDict

    from pesatlas.config.section import Runtime, Section

    class Options(Section):
        model_config = ConfigDict(extra="ignore")
        kind: Literal["sloppy"] = "sloppy"
        width_A: float = Runtime(1.0)

    class Sloppy(testing.SourceTests):
        kind = "sloppy"
        other_options = {"width_A": 2.0}

    kit = Sloppy()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        kit.test_a_key_that_it_does_not_know_is_refused(SimpleNamespace(Options=Options), {})
    with pytest.raises(AssertionError, match="description"):
        kit.test_every_option_says_what_it_means(Options())
    with pytest.raises(AssertionError, match="Runtime"):
        kit.test_its_identity_is_of_what_decides_results(Options(), Options(width_A=2.0))


def test_what_is_not_installed_is_said():
    class Nobody(testing.PotentialTests):
        kind = "nobody"

    from pesatlas.errors import UserError

    with pytest.raises(UserError, match="There is no 'nobody'"):
        plugins.find(Nobody.package, Nobody.kind)
