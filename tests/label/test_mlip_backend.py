"""Labels by a potential are what the potential says, of a level of their own, and cost little."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from labelling import label_batch_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.config.label import Label
from pesatlas.errors import UserError
from pesatlas.label.backend import Task
from pesatlas.label.backends import mlip
from pesatlas.label.isolated_atoms import task_of_atom
from pesatlas.levels.level import difference
from pesatlas.levels.lookup import levels_of, supported_elements
from pesatlas.potentials.kinds import chgnet
from pesatlas.potentials.loading import load_potential
from pesatlas.tables import FailureReason, read_table

OLDER, NEWER = ({"kind": "mlip", "potential": {"kind": "chgnet", "version": v}} for v in ("0.2.0", "0.3.0"))


def backend(raw=OLDER):
    return Label.model_validate({"backend": raw, "levels": ["mlip"]}).backend


def level(raw=OLDER):
    return levels_of(backend(raw), ["mlip"])["mlip"]


@pytest.fixture
def task():
    """Rattled salt, with nothing left of symmetry."""
    crystal = bulk("NaCl", "rocksalt", 5.7)
    rng = np.random.default_rng(5)
    crystal.set_cell(crystal.cell[:] @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    crystal.rattle(0.1, rng=rng)
    return Task(crystal.numbers, crystal.cell[:], crystal.positions, level())


def test_a_label_is_what_the_package_itself_says(task):
    from chgnet.model import CHGNet
    from pymatgen.core import Structure

    said = CHGNet.load(model_name="0.2.0", use_device="cpu", verbose=False).predict_structure(
        Structure(task.cell, task.numbers, task.positions, coords_are_cartesian=True)
    )
    label = mlip.calculate(task, backend(), None)
    assert label.energy_eV == pytest.approx(2 * float(said["e"]), abs=1e-5)
    assert label.free_energy_eV == label.energy_eV
    np.testing.assert_allclose(label.forces_eV_per_A, said["f"], atol=1e-4)
    xx, yy, zz, yz, xz, xy = np.array(label.stress_eV_per_A3) * EV_PER_A3_TO_GPA
    np.testing.assert_allclose([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], said["s"], atol=1e-3)
    assert np.abs(label.forces_eV_per_A).max() > 0.1
    assert (label.magmoms_muB, label.band_gap_eV, label.scf_steps, label.converged) == (None, None, 0, True)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("runs_out_of_memory", FailureReason.OUT_OF_MEMORY), ("dies", FailureReason.CRASHED)],
)
def test_a_worker_that_fails_on_one_structure_fails_one_label(fault, reason, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    # the gate would refuse EMT
    monkeypatch.setattr(mlip, "load_potential", partial(load_potential, gate=False))
    raw = {
        "kind": "mlip",
        "potential": {
            "kind": "external",
            "python": sys.executable,
            "loader": "faulty_calculators:Faulty",
            "arguments": {"fault": fault},
            "elements": ["Cu", "Au"],
        },
    }
    copper, gold = (bulk(symbol, cubic=True) for symbol in ("Cu", "Au"))
    tasks = [Task(each.numbers, each.cell[:], each.positions, level(raw)) for each in (copper, gold)]
    sound, failed = (mlip.calculate(each, backend(raw), None) for each in tasks)
    copper.calc = EMT()
    assert sound.energy_eV == pytest.approx(copper.get_potential_energy())
    assert failed.reason == reason


def test_other_weights_are_another_level(monkeypatch):
    assert "pseudopotentials" in difference(level(), level(NEWER))
    before = level()
    assert level({**OLDER, "device": "cuda"}).fingerprint == before.fingerprint
    identify = chgnet.identify
    monkeypatch.setattr(
        chgnet, "identify", lambda options: replace(identify(options), weights_hash="damaged")
    )
    assert difference(before, level()) == ["pseudopotentials"]


def test_a_kind_of_potential_that_cannot_tell_its_weights_does_not_label(monkeypatch):
    monkeypatch.delattr(chgnet, "identify")
    with pytest.raises(UserError, match="'chgnet' cannot label"):
        level()


def test_the_level_says_that_it_is_no_dft():
    assert level().functional == "none: machine-learning potential, not DFT"
    assert level().code_text.startswith("machine-learning potential chgnet/0.2.0, chgnet ")
    assert supported_elements(backend()) == chgnet.elements(chgnet.Options())


def test_weights_that_are_not_those_of_the_level_label_nothing(task):
    with pytest.raises(UserError, match="were changed"):
        mlip.calculate(replace(task, level=level(NEWER)), backend(), None)


def test_what_a_potential_cannot_say_is_a_failure_with_its_reason(task):
    atom = mlip.calculate(task_of_atom(14, level()), backend(), None)
    assert (atom.reason, "cohesive" in atom.detail) == (FailureReason.MISSING_REFERENCE_ATOM, True)
    polonium = mlip.calculate(replace(task, numbers=np.array([84, 17])), backend(), None)
    assert (polonium.reason, polonium.detail) == (
        FailureReason.UNSUPPORTED_ELEMENT,
        "chgnet/0.2.0 does not know Po",
    )
    wreck = mlip.calculate(replace(task, positions=task.positions * np.nan), backend(), None)
    assert wreck.reason == FailureReason.NOT_FINITE


@pytest.mark.parametrize("levels", [["pbe"], ["pbe", "r2scan"], ["mlip", "pbe"]])
def test_no_name_of_dft_is_given_to_a_potential(levels):
    with pytest.raises(ValueError, match="not DFT"):
        Label.model_validate({"backend": OLDER, "levels": levels})


def test_a_job_loads_the_potential_once_for_all_its_labels(campaign, select, tmp_path, monkeypatch):
    loaded = []
    load = mlip.load_potential
    monkeypatch.setattr(mlip, "load_potential", lambda *given: loaded.append(given) or load(*given))
    mlip._loaded.cache_clear()
    raw = campaign.model_dump(mode="json")
    raw["label"] |= {"backend": OLDER, "levels": ["mlip"], "parallel": 2}
    labels = tmp_path / "labels.parquet"
    label_batch_of(
        type(campaign).model_validate(raw),
        0,
        select(0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        labels,
        tmp_path / "failures.parquet",
        tmp_path / "work",
    )
    rows = read_table(labels, "labels").to_pylist()
    assert (len(loaded), len(rows)) == (1, 6)
    assert {row["level"] for row in rows} == {"mlip"}
    assert len({row["energy_eV"] for row in rows}) == 6
