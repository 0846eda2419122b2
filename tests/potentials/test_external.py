"""Potentials in another environment: what goes wrong there is told, survived, and of one structure alone.

The other environment is this one; tests/potentials/test_interface.py has what every potential keeps.
"""

import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT

from exploring import SHORT, Interrupted, argon_rows, explore
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.explore import Explore
from pesatlas.errors import UserError
from pesatlas.explore.explore_batch import run_md
from pesatlas.potentials.kinds import external
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.tables import FailureReason, read_table, write_table
from pesatlas.tables.schemas import MADE_BY
from pesatlas.testing.crystals import rattled, to_batch
from small_mace import make_small_mace
from small_potentials import rattled_salts

TESTS = Path(__file__).parents[1]
EMT_METALS = ("Al", "Cu", "Ag", "Au", "Ni")


@pytest.fixture(autouse=True)
def in_the_folder_of_the_loaders(monkeypatch):
    monkeypatch.chdir(TESTS)


def options(loader="faulty_calculators:Faulty", **given):
    return external.Options(python=sys.executable, loader=loader, **{"elements": EMT_METALS, **given})


def faulty(fault, **given):
    log = given.pop("log", None)
    arguments = {"fault": fault, "log": None if log is None else str(log)}
    return external.load(options(arguments=arguments, **given), "cpu")


def metals(*symbols):
    return [rattled(bulk(symbol, cubic=True), seed) for seed, symbol in enumerate(symbols)]


def by_ase(crystals):
    energies, forces, stresses = [], [], []
    for crystal in crystals:
        crystal.calc = EMT()
        energies.append(crystal.get_potential_energy())
        forces.append(crystal.get_forces())
        stresses.append(crystal.get_stress(voigt=False))
    return np.array(energies), np.concatenate(forces), np.array(stresses)


def test_it_is_what_ase_says():
    crystals = metals("Cu", "Al", "Au")
    potential = external.load(options("ase.calculators.emt:EMT"), "cpu")
    found = potential.evaluate(to_batch(crystals))
    for one, other in zip((found.energies, found.forces, found.stresses), by_ase(crystals), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_company_and_history_change_no_bit():
    crystals = metals("Cu", "Al", "Au", "Ni")
    potential = external.load(options("ase.calculators.emt:EMT"), "cpu")
    alone = external.load(options("ase.calculators.emt:EMT"), "cpu").evaluate(to_batch(crystals[2:3]))
    together = potential.evaluate(to_batch(crystals))
    moved = [crystal.copy() for crystal in crystals[2:3]]
    moved[0].rattle(1e-3, seed=5)
    potential.evaluate(to_batch(moved))  # a list of neighbours kept from here would show
    again = potential.evaluate(to_batch(crystals[2:3]))
    for found in (together.energies[2:3], again.energies):
        assert torch.equal(found, alone.energies)
    assert torch.equal(together.forces[8:12], alone.forces)
    assert torch.equal(again.forces, alone.forces)


def test_an_environment_needs_nothing_of_ours(tmp_path):
    """Nor may it see ours: modules of two environments do not mix."""
    (tmp_path / "probe.py").write_text(
        "import os, sys\nfrom ase.calculators.emt import EMT\n"
        "def load():\n"
        "    assert 'PYTHONPATH' not in os.environ\n"
        "    assert not any(name.startswith('pesatlas') for name in sys.modules), 'imported'\n"
        "    assert not any('pesatlas' in path for path in sys.path), sys.path\n"
        "    assert os.environ['OMP_NUM_THREADS'] == os.environ['MKL_NUM_THREADS'] == '1'\n"
        "    return EMT()\n"
    )
    os.chdir(tmp_path)
    os.environ["OMP_NUM_THREADS"] = "1"
    assert external.load(options("probe:load"), "cpu").evaluate(to_batch(metals("Cu"))).energies.isfinite()


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("dies", FailureReason.CRASHED, "exit code 3. Its last words: gold is too heavy"),
        ("is_killed", FailureReason.CRASHED, "SIGKILL"),
        ("raises", FailureReason.CRASHED, "gold is not understood"),
        ("runs_out_of_memory", FailureReason.OUT_OF_MEMORY, "out of memory"),
    ],
)
def test_the_structure_that_it_fails_on_is_found(fault, reason, words):
    crystals = metals("Cu", "Al", "Au", "Ni", "Cu")
    potential = faulty(fault)
    found, failures, too_large = evaluate(potential, to_batch(crystals))
    assert [*failures] == [2]
    assert failures[2].reason == reason
    assert words in failures[2].detail
    assert too_large == (reason == FailureReason.OUT_OF_MEMORY)
    sound = [0, 1, 3, 4]
    assert torch.isnan(found.energies[2])
    np.testing.assert_allclose(found.energies[sound], by_ase([crystals[i] for i in sound])[0], atol=1e-12)


def test_a_worker_that_hangs_is_ended(caplog):
    potential = faulty("hangs", timeout_s=3)
    _, failures, _ = evaluate(potential, to_batch(metals("Cu", "Au")))
    assert [*failures] == [1]
    assert "no answer to 'evaluate' within 3 s (timeout_s)" in failures[1].detail
    assert "faulty_calculators:Faulty" in caplog.text


def test_one_structure_is_tried_twice(tmp_path):
    log = tmp_path / "log"
    potential = faulty("dies_once", log=log)
    found, failures, _ = evaluate(potential, to_batch(metals("Au")))
    assert not failures
    assert found.energies.isfinite()
    assert log.read_text().split() == ["start", "Au4", "start", "Au4"]


def test_nan_is_a_number_of_its_structure_alone():
    found, failures, _ = evaluate(faulty("gives_nan"), to_batch(metals("Cu", "Au")))
    assert not failures
    assert found.energies.isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gives_nothing", "it gave no stress"),
        ("gives_wrong_shapes", r"it gave forces of shape \(4, 2\), where \(4, 3\) is expected"),
        ("gives_text", "it gave an energy that is not a number"),
    ],
)
def test_what_is_no_potential_ends_the_job_and_names_the_loader(fault, words):
    potential = faulty(fault)
    with pytest.raises(UserError, match=f"faulty_calculators:Faulty in .* cannot be used: {words}"):
        evaluate(potential, to_batch(metals("Cu", "Au")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"loader": "faulty_calculators:nobody"}, "has no attribute 'nobody'"),
        ({"loader": "no_such_module:load"}, "there is no module no_such_module"),
        ({"loader": "faulty_calculators:not_a_calculator"}, "neither a calculator of ASE nor a model"),
        ({"loader": "faulty_calculators:dies_at_loading"}, "exit code 1. Its last words: no licence found"),
        ({"arguments": {"wrong": 1}}, "unexpected keyword argument 'wrong'"),
        (
            {"loader": "ase.calculators.emt:EMT", "elements": None},
            "does not say which elements it knows. State them",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(given, words):
    with pytest.raises(UserError, match=words):
        external.load(options(**given), "cpu")


def test_files_that_are_not_there_are_missed_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="no program there"):
        external.check(external.Options(python=tmp_path / "python", loader="a:b"))
    with pytest.raises(UserError, match=r"there is no .*model\.pt"):
        external.check(options(weights=str(tmp_path / "model.pt")))


@pytest.mark.parametrize(
    "loader", ["os", "os:system('ls')", "a.b:", "a b:c", "../x:y", "a:b;c", "a:b\n", "0:a"]
)
def test_a_loader_is_a_module_and_a_name(loader):
    with pytest.raises(ValueError, match="loader"):
        options(loader)


def test_a_file_of_weights_is_named_or_refused(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(bytes(200_000))
    given = {"loader": "faulty_calculators:reads", "arguments": {"path": str(weights)}}
    with pytest.raises(UserError, match=r"weights\.pt, which no checksum covers"):
        external.load(options(**given), "cpu")
    given = {
        "loader": "faulty_calculators:reads",
        "arguments": {"path": "{weights}"},
        "weights": str(weights),
    }
    one = external.load(options(**given), "cpu")
    assert one.weights_hash == external.identify(options(**given)).weights_hash
    weights.write_bytes(bytes(200_001))
    assert external.load(options(**given), "cpu").weights_hash != one.weights_hash
    with pytest.raises(ValueError, match="no `weights`"):
        options(arguments={"path": "{weights}"})


def test_its_package_and_versions_are_known_without_loading_it():
    told = external.identify(options("ase.calculators.emt:EMT"))
    assert told.name == "external/ase"
    assert told.versions.keys() >= {"python", "ase", "numpy"}
    assert told.weights_hash == external.load(options("ase.calculators.emt:EMT"), "cpu").weights_hash
    assert "LGPL" in external.licence(options("ase.calculators.emt:EMT"))
    assert external.licence(options(licence="MIT")) == "MIT"


def test_elements_are_those_that_the_calculator_names_or_fewer():
    given = {"loader": "faulty_calculators:knows_its_elements"}
    assert external.elements(options(**given, elements=None)) == {13, 29}
    assert external.must_load_for_elements(options(**given, elements=None))
    assert external.load(options(**given, elements=["Cu"]), "cpu").elements == {29}
    with pytest.raises(UserError, match=r"does not know the atomic numbers \[79\]"):
        external.load(options(**given, elements=["Cu", "Au"]), "cpu")


PARENT = """
import sys, time
from pesatlas.potentials.kinds import external
from pesatlas.testing.crystals import to_batch
from ase.build import bulk

options = external.Options(
    python=sys.executable, loader="faulty_calculators:Faulty", arguments={"fault": "hangs"}, elements=["Au", "Cu"]
)
potential = external.load(options, "cpu")
print(potential.client.pid, flush=True)
potential.evaluate(to_batch([bulk(sys.argv[1])]))
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_job(busy, how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "Au" if busy else "Cu"], stdout=subprocess.PIPE, text=True
    )
    worker = int(parent.stdout.readline())
    if busy:
        time.sleep(0.5)
    else:
        assert parent.stdout.readline() == "done\n"
    assert Path(f"/proc/{worker}").exists()
    parent.send_signal(how)
    parent.wait()
    for _ in range(50):
        if not alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("an orphan")


def alive(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def argon(**given):
    return load_potential(options("faulty_calculators:argon", elements=["Ar"], name="argon", **given), "cpu")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(TESTS)
        return explore(tmp_path_factory.mktemp("uninterrupted"), argon())[0]


class Mortal:
    """A potential that loses its job, or its worker, at its n-th evaluation."""

    def __init__(self, potential, lives, *, worker=False):
        self._potential, self._lives, self._worker = potential, lives, worker
        self.name, self.weights_hash = potential.name, potential.weights_hash
        self.elements, self.device = potential.elements, potential.device

    def evaluate(self, batch):
        self._lives -= 1
        if self._lives == 0:
            if not self._worker:
                raise Interrupted
            os.kill(self._potential.client.pid, signal.SIGKILL)
        return self._potential.evaluate(batch)


@pytest.mark.parametrize("lives", [2, 50, 121])
def test_interrupted_it_goes_on_to_the_same_bits(tmp_path, uninterrupted, lives):
    with pytest.raises(Interrupted):
        explore(tmp_path, Mortal(argon(), lives), checkpoint_interval_s=0)
    table, failures = explore(tmp_path, argon())
    assert table.equals(uninterrupted)
    assert failures.num_rows == 0


def test_without_its_worker_for_a_moment_it_goes_on_to_the_same_bits(tmp_path, uninterrupted, caplog):
    with caplog.at_level(logging.WARNING):
        table, failures = explore(tmp_path, Mortal(argon(), 40, worker=True))
    assert "died: ended by SIGKILL" in caplog.text
    assert table.equals(uninterrupted)
    assert failures.num_rows == 0


def test_a_batch_that_needs_more_memory_than_the_last(monkeypatch):
    potential = external.load(options("ase.calculators.emt:EMT"), "cpu")
    crystals = metals("Cu", "Al")
    few = potential.evaluate(to_batch(crystals))
    many = potential.evaluate(to_batch(crystals * 40))
    again = potential.evaluate(to_batch(crystals))
    assert torch.equal(many.energies, few.energies.repeat(40))
    assert torch.equal(again.forces, few.forces)


def test_where_there_is_no_anonymous_memory_a_file_is_shared(monkeypatch, caplog):
    monkeypatch.delattr(os, "memfd_create")
    with caplog.at_level(logging.INFO):
        potential = external.load(options("ase.calculators.emt:EMT"), "cpu")
    assert "batches for workers go through a file in" in caplog.text
    crystals = metals("Cu", "Al")
    np.testing.assert_allclose(
        potential.evaluate(to_batch(crystals)).energies, by_ase(crystals)[0], atol=1e-12
    )


def test_snapshots_tell_licence_and_versions(tmp_path):
    chosen = options("faulty_calculators:argon", elements=["Ar"], name="argon", licence="free")
    structures, snapshots = tmp_path / "structures.parquet", tmp_path / "snapshots.parquet"
    write_table(structures, "structures", argon_rows()[:1], "test")
    run_md(
        Explore(potential=chosen, **SHORT | {"length_ps": 0.04}),
        CampaignInfo(name="test", seed=1, store=str(tmp_path / "store")),
        0,
        structures=structures,
        snapshots=snapshots,
        failures=tmp_path / "failures.parquet",
        work=tmp_path / "work",
    )
    about = json.loads(pq.read_schema(snapshots).metadata[MADE_BY.encode()])
    rows = read_table(snapshots, "snapshots").to_pylist()
    assert {row["potential"] for row in rows} == {about["potential"]} == {"external/argon"}
    assert {row["potential_hash"] for row in rows} == {about["potential_hash"]}
    assert about["licence"] == "free"
    assert about["versions"]["python"] == platform.python_version()


def test_a_configuration_is_shown_with_what_it_runs(tmp_path):
    path = tmp_path / "config.yaml"
    potential = f"{{kind: external, python: {sys.executable}, loader: 'nobody:load', arguments: {{a: 1}}}}"
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", "config", "new"],
        capture_output=True,
        text=True,
        check=True,
    )
    raw = yaml.safe_load(done.stdout)
    raw["explore"]["potential"] = yaml.safe_load(potential)
    path.write_text(yaml.safe_dump(raw))
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", "config", "check", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"explore.potential: {sys.executable} will run nobody:load(a=1)." in done.stdout


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mace", "torch_sim")), reason="needs mace and torch-sim"
)
def test_the_model_of_torch_sim_on_the_page_is_evaluated_in_batches(tmp_path, monkeypatch):
    page = (TESTS.parent / "docs" / "potentials.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "batched_mace.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    weights = make_small_mace(tmp_path)
    given = {"arguments": {"path": "{weights}"}, "weights": str(weights), "elements": None}
    potential = load_potential(options("batched_mace:load", **given), "cpu")
    assert potential.client.loaded["batched"]
    crystals = rattled_salts()
    together = potential.evaluate(to_batch(crystals)).energies
    alone = torch.cat([potential.evaluate(to_batch([crystal])).energies for crystal in crystals])
    torch.testing.assert_close(together, alone)
