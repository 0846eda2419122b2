"""Every known way in which pw.x fails, and what becomes of the label: with a double, which needs no pw.x."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Result, Task
from pesatlas.label.backends import qe
from pesatlas.label.label_verdict import decide_verdict
from pesatlas.levels.qe import levels
from pesatlas.testing.workdir import alive, make_workdir
from qe_files import CELL, NUMBERS, POSITIONS, options, synthetic_upf
from vasp_double import energy_forces_stress

DOUBLE = Path(__file__).parents[1] / "qe_double.py"
ENTROPY_EV = -0.02

FAILED = [
    ("unconverged", "not_converged", "the SCF did not converge, and no remedy helped: no convergence in 200"),
    ("silently_unconverged", "not_converged", "no convergence in 9 SCF steps"),
    (
        "diagonalisation",
        "not_converged",
        "the diagonalisation failed, and no remedy helped: cdiaghg: S matrix",
    ),
    ("memory", "out_of_memory", "Cannot allocate memory"),
    ("sigkill", "out_of_memory", "pw.x was killed"),
    ("segfault", "crashed", "status 139"),
    ("late_exit", "crashed", "status 3"),
    ("symmetry", "crashed", "checkallsym: not orthogonal operation"),
    ("no_upf", "missing_pseudopotential", "readpp: file /nowhere/Si.UPF not found"),
    ("no_xml", "crashed", "pw.x wrote no data-file-schema.xml"),
    ("torn_xml", "crashed", "truncated output: data-file-schema.xml has no end"),
    ("torn_output", "crashed", "does not end with JOB DONE"),
    ("other_run", "crashed", "pw.out belongs to another run: its total energy"),
    ("two_runs", "bad_output", "pw.out has 2 total energies"),
    ("no_stress", "bad_output", "it has no stress"),
    ("binary", "bad_output", "XMLSyntaxError"),
    ("no_moments", "bad_output", "no moments of all atoms"),
    ("nan", "not_finite", "not finite"),
    ("wrong_structure", "wrong_structure", "not the requested one"),
    ("wrong_version", "wrong_level", "this was Quantum ESPRESSO 6.6, the level is 6.7MaX"),
    ("other_smearing", "wrong_level", "pw.x used degauss"),
    ("other_functional", "wrong_level", "pw.x used functional = PBESOL, the level has PBE"),
    ("noncollinear", "wrong_level", "pw.x used noncollinear = True"),
]


def calculate(tmp_path, monkeypatch, fault="", **place):
    """Calculate silicon carbide with the double; return the outcome, its folders and its runs."""
    folder = tmp_path / "upf"
    for element in ("Si", "C"):
        synthetic_upf(folder, element)
    settings = options(folder, ("Si", "C"), command=f"{sys.executable} {DOUBLE}")
    monkeypatch.setenv("QE_DOUBLE_FAULT", fault)
    monkeypatch.setenv("QE_DOUBLE_MEMORY", str(tmp_path / "memory"))
    task = Task(NUMBERS, CELL, POSITIONS, levels(settings, ["pbe"])["pbe"])
    where = make_workdir(tmp_path / "work", **place)
    outcome = qe.calculate(task, settings, where)
    memory = tmp_path / "memory"
    runs = [json.loads(line) for line in memory.read_text().splitlines()] if memory.exists() else []
    return outcome, where, runs


def test_a_label_has_the_numbers_of_the_output_in_the_units_and_signs_of_the_tables(tmp_path, monkeypatch):
    found, place, runs = calculate(tmp_path, monkeypatch)
    assert isinstance(found, Result), found
    energy, forces, stress = energy_forces_stress(CELL, POSITIONS, ["Si", "C"], "PBE")
    assert found.free_energy_eV == pytest.approx(energy, abs=1e-9)
    assert found.energy_eV == pytest.approx(energy - ENTROPY_EV / 2, abs=1e-9)
    np.testing.assert_allclose(found.forces_eV_per_A, forces, atol=1e-9)
    voigt = [stress[i] for i in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    np.testing.assert_allclose(found.stress_eV_per_A3, voigt, atol=1e-9)
    assert found.magmoms_muB == [0.0, 0.1]
    assert found.band_gap_eV == pytest.approx(0.2 * 27.211386, abs=1e-6)
    assert found.scf_steps == 9
    assert decide_verdict(found) == ("accepted", "[]")
    assert len(runs) == 1
    assert {path.name for path in place.keep.iterdir()} == {"pw.in", "pw.out", "data-file-schema.xml"}


@pytest.mark.parametrize(("fault", "reason", "detail"), FAILED)
def test_a_failure_has_its_reason_and_what_is_there_is_kept(tmp_path, monkeypatch, fault, reason, detail):
    outcome, place, _ = calculate(tmp_path, monkeypatch, fault)
    assert isinstance(outcome, Failed), outcome
    assert outcome.reason == reason, outcome
    assert detail in outcome.detail
    kept = {path.name for path in place.keep.iterdir()}
    assert {"pw.in", "pw.out"} <= kept <= {"pw.in", "pw.out", "data-file-schema.xml"}
    assert alive(tmp_path) == []


CORRECTED = [
    ("unconverged:1", ["the SCF did not converge: mixing_beta = 0.2"]),
    (
        "unconverged:2",
        [
            "the SCF did not converge: mixing_beta = 0.2",
            "the SCF did not converge: mixing_beta = 0.1, mixing_mode = local-TF",
        ],
    ),
    ("diagonalisation:1", ["the diagonalisation failed: diagonalization = cg"]),
]


@pytest.mark.parametrize(("fault", "corrections"), CORRECTED)
def test_a_corrected_label_is_accepted_and_says_what_was_done(tmp_path, monkeypatch, fault, corrections):
    outcome, _, runs = calculate(tmp_path, monkeypatch, fault)
    assert isinstance(outcome, Result), outcome
    assert outcome.corrections == corrections
    assert decide_verdict(outcome) == ("accepted", "[]")
    assert len(runs) == len(corrections) + 1
    assert runs[0]["mixing_beta"] == 0.4
    # what the label says of its settings is what the last run was given
    electrons = outcome.settings["pw"]["electrons"]
    assert {key: electrons[key] for key in runs[-1]} == pytest.approx(runs[-1])


def test_what_never_converges_is_not_tried_for_ever(tmp_path, monkeypatch):
    outcome, _, runs = calculate(tmp_path, monkeypatch, "unconverged")
    assert len(runs) == 3
    assert "(after the SCF did not converge: mixing_beta = 0.2; " in outcome.detail


def test_time_is_that_of_the_attempt_and_nothing_outlives_it(tmp_path, monkeypatch):
    outcome, _, _ = calculate(tmp_path, monkeypatch, "sleep", timeout_s=4.0)
    assert outcome.reason == "timeout"
    assert "raise label.timeout_min" in outcome.detail
    assert alive(tmp_path) == []


def test_a_pseudopotential_that_changes_while_a_job_runs_stops_it(tmp_path, monkeypatch):
    folder = tmp_path / "upf"
    for element in ("Si", "C"):
        synthetic_upf(folder, element)
    settings = options(folder, ("Si", "C"), command=f"{sys.executable} {DOUBLE}")
    task = Task(NUMBERS, CELL, POSITIONS, levels(settings, ["pbe"])["pbe"])
    synthetic_upf(folder, "Si", comment="another one")
    with pytest.raises(UserError, match=r"Si\.UPF was changed while the job ran"):
        qe.calculate(task, settings, make_workdir(tmp_path / "work"))
