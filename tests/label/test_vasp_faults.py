"""Every known way in which VASP fails, and what becomes of the label."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pesatlas.label.backend import Failed, Result
from pesatlas.label.backends import vasp
from pesatlas.label.label_verdict import decide_verdict
from pesatlas.testing.workdir import alive, make_workdir
from vasp_cases import calculate, options, runs, set_up, task
from vasp_faults import FAULTS

FAILED = [
    ("unconverged", "not_converged", "EDIFF was not reached (unconverged) (after Unconverged: "),
    ("zpotrf", "not_converged", "zpotrf: 1 corrections did not help"),
    ("memory", "out_of_memory", "VASP says that memory is used up"),
    ("truncated", "crashed", "truncated output: vasprun.xml"),
    ("no_outcar", "crashed", "VASP wrote no OUTCAR"),
    ("stale_outcar", "crashed", "OUTCAR belongs to another run"),
    ("old_outcar", "crashed", "OUTCAR is older"),
    ("exit", "crashed", "status 1: I REFUSE TO CONTINUE WITH THIS SICK JOB"),
    ("late_exit", "crashed", "status 2"),
    ("killed", "crashed", "status 139"),
    ("sigkill", "out_of_memory", "VASP was killed"),
    ("full_disk", "crashed", "status 38: forrtl: severe (38)"),
    ("wrong_structure", "wrong_structure", "not the requested one"),
    (
        "wrong_version",
        "wrong_level",
        "this was VASP 5.4.4, the level is VASP 6.4.3: set label.backend.vasp_version",
    ),
    ("other_sigma", "wrong_level", "VASP used SIGMA = 0.2, its INCAR says 0.05"),
    ("nan", "not_finite", "not finite"),
    ("noncollinear", "wrong_level", "non-collinear"),
    ("torn_outcar", "crashed", "no timings at its end"),
    ("torn_moments", "crashed", "truncated output: OUTCAR"),
    ("torn_timings", "crashed", "no timings at its end"),
    ("two_runs", "bad_output", "OUTCAR has two runs"),
    ("no_moments", "bad_output", "no moments of the ions: VASP writes them with LORBIT"),
    ("starred_moments", "bad_output", "OUTCAR has a row that cannot be read"),
    ("starred_forces", "bad_output", "vasprun.xml: ValueError"),
    ("other_forces", "crashed", "OUTCAR belongs to another run: its forces are not those"),
    ("starred_bands", "bad_output", "vasprun.xml: ValueError"),
    ("binary", "bad_output", "vasprun.xml: XMLSyntaxError"),
    ("two_steps", "bad_output", "2 ionic steps"),
    ("no_stress", "bad_output", "it has no stress"),
    ("absurd", "bad_output", "there is no atominfo"),
    ("r2scan/pbe_result", "wrong_level", "METAGGA = --, the level R2SCAN"),
    ("r2scan/pbe_numbers", "wrong_level", "PBE's to the last digit"),
]


@pytest.mark.parametrize(("fault", "reason", "detail"), FAILED)
def test_a_failure_has_its_reason_and_what_is_there_is_kept(tmp_path, monkeypatch, fault, reason, detail):
    set_up(tmp_path, monkeypatch, fault)
    outcome, place = calculate(tmp_path, "r2scan" if "/" in fault else "pbe")
    assert isinstance(outcome, Failed), outcome
    assert outcome.reason == reason
    assert detail in outcome.detail
    kept = {path.name for path in place.keep.iterdir()}
    assert {"INCAR", "POSCAR", "POTCAR.spec", "custodian.json"} <= kept <= KEPT
    assert alive(tmp_path) == []


KEPT = {"INCAR", "POSCAR", "POTCAR.spec", "custodian.json", "vasprun.xml", "OUTCAR"}

CORRECTED = [
    ("unconverged:1", "Unconverged: Unconverged: INCAR ALGO = All, ISEARCH = 1", 2),
    ("unconverged:2", "AMIX_MAG = 0.8", 3),
    ("edddav:1", "VaspErrorHandler: edddav: CHGCAR deleted; INCAR ALGO = All, ISEARCH = 1", 2),
    ("zpotrf:1", "VaspErrorHandler: zpotrf: INCAR ISYM = 0", 2),
    ("brmix:1", "VaspErrorHandler: brmix: INCAR IMIX = 1", 2),
]


@pytest.mark.parametrize(("fault", "correction", "tries"), CORRECTED)
def test_a_corrected_label_is_accepted_and_says_what_was_done(
    tmp_path, monkeypatch, fault, correction, tries
):
    set_up(tmp_path, monkeypatch)
    quiet, _ = calculate(tmp_path, "pbe")
    set_up(tmp_path / "faulty", monkeypatch, fault)
    outcome, _ = calculate(tmp_path / "faulty", "pbe")
    assert isinstance(outcome, Result), outcome
    assert correction in outcome.corrections[-1]
    assert len(outcome.corrections) == tries - 1
    assert runs(tmp_path / "faulty") == tries
    assert decide_verdict(outcome) == ("accepted", "[]")
    assert outcome.energy_eV == quiet.energy_eV
    assert outcome.settings["incar"]["SIGMA"] == 0.05


def test_what_never_converges_is_not_tried_for_ever(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "unconverged")
    outcome, _ = calculate(tmp_path, "pbe")
    assert outcome.reason == "not_converged"
    assert runs(tmp_path) == 3


def test_a_correction_of_what_the_label_is_quarantines_it(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "zbrent:1")
    outcome, _ = calculate(tmp_path, "pbe")
    assert outcome.settings["incar"]["EDIFF"] == 1e-6
    verdict, rules = decide_verdict(outcome)
    assert verdict == "quarantined"
    assert "custodian changed EDIFF from 1e-05 to 1e-06: another level" in rules


def test_a_large_entropy_stays_on_record_and_sigma_stays(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "entropy")
    outcome, _ = calculate(tmp_path, "pbe")
    assert outcome.free_energy_eV + 0.2 == pytest.approx(outcome.energy_eV, abs=1e-7)
    assert outcome.corrections == []
    # the dataset's rule `entropy` speaks of it
    assert decide_verdict(outcome) == ("accepted", "[]")


@pytest.mark.parametrize("fault", ["hang", "hang_ghosts"])
def test_what_never_ends_is_ended_with_all_its_children(tmp_path, monkeypatch, fault):
    set_up(tmp_path, monkeypatch, fault)
    start = time.monotonic()
    outcome, _ = calculate(tmp_path, "pbe", timeout_s=2.0)
    assert outcome.reason == "timeout"
    assert "raise label.timeout_min" in outcome.detail
    assert time.monotonic() - start < 15
    assert alive(tmp_path) == []


JOB = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from vasp_cases import calculate
calculate(Path(sys.argv[1]), "pbe")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_job_is_killed_vasp_and_its_ghosts_go(tmp_path, monkeypatch, number):
    set_up(tmp_path, monkeypatch, "hang_ghosts")
    job = subprocess.Popen([sys.executable, "-c", JOB, tmp_path, Path(__file__).parents[1]], cwd="/")
    deadline = time.monotonic() + 60
    while (
        not (printed := list(tmp_path.glob("*/scratch/vasp.out")))
        or "main loop" not in printed[0].read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(alive(tmp_path)) >= 4  # supervisor, VASP, two ghosts of two processes each
    job.send_signal(number)
    job.wait()
    deadline = time.monotonic() + 20
    while alive(tmp_path):
        assert time.monotonic() < deadline, alive(tmp_path)
        time.sleep(0.1)


def test_ghosts_do_not_outlive_a_good_run(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "ghosts")
    outcome, _ = calculate(tmp_path, "pbe")
    assert isinstance(outcome, Result)
    assert alive(tmp_path) == []


def test_time_is_that_of_the_attempt_not_of_each_try(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "unconverged")
    monkeypatch.setenv("VASP_DOUBLE_SECONDS", "5")
    outcome, _ = calculate(tmp_path, "pbe", timeout_s=9)
    assert outcome.reason == "timeout"
    assert "after Unconverged" in outcome.detail
    assert runs(tmp_path) == 2


def test_a_command_that_is_not_there(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    outcome, _ = calculate(tmp_path, "pbe", about=options(command="/no/such/vasp"))
    assert (outcome.reason, outcome.detail) == (
        "crashed",
        "VASP ended with status 127: /no/such/vasp does not start: No such file or directory",
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 60 kB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", path], check=False)
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("room", [50_000, 20_000, 0])
def test_a_full_disk_is_a_crash_whoever_meets_it(tmp_path, small_disk, monkeypatch, room):
    set_up(tmp_path, monkeypatch)
    place = replace(make_workdir(tmp_path / "place"), scratch=small_disk)
    (small_disk / "somebody's").write_bytes(bytes(61_440 - room - 4096))
    outcome = vasp.calculate(task("pbe"), options(), place)
    assert outcome.reason == "crashed"
    assert alive(tmp_path) == []


def test_every_fault_of_the_double_is_tested():
    tested = {fault.partition(":")[0].rpartition("/")[2] for fault, *_ in (*FAILED, *CORRECTED)}
    assert tested | {"zbrent", "entropy", "hang", "hang_ghosts", "ghosts", "no_wavecar"} == set(FAULTS)


def test_a_wavefunction_that_pbe_did_not_write_is_not_claimed_as_the_start(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "pbe/no_wavecar")
    pbe, first = calculate(tmp_path, "pbe")
    assert isinstance(pbe, Result)
    outcome, _ = calculate(tmp_path, "r2scan", handover=first.handover)
    assert (outcome.reason, outcome.detail) == (
        "crashed",
        "the PBE calculation that it starts from wrote no WAVECAR",
    )
    assert runs(tmp_path, "R2SCAN") == 0
