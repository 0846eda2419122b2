"""r2SCAN starts from PBE's wavefunction and final moments, whoever calculated PBE; side by side; under a
campaign."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from pesatlas.label.archive import pack, unpack
from pesatlas.label.backend import Failed, Result
from pesatlas.label.backends import vasp
from pesatlas.testing.workdir import make_workdir
from vasp_cases import CRYSTALS, calculate, options, runs, set_up, task


def printed(place):
    return (place.scratch / "vasp.out").read_text()


def test_r2scan_starts_from_the_wavefunction_and_the_final_moments(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    pbe, first = calculate(tmp_path, "pbe")
    assert "WAVECAR not read" in printed(first)
    assert (first.handover / "WAVECAR").exists()
    assert not (first.scratch / "WAVECAR").exists()
    r2scan, second = calculate(tmp_path, "r2scan", handover=first.handover)
    assert "the WAVECAR file was read successfully" in printed(second)
    assert pbe.magmoms_muB == [0.0, 4.2, 0.0, 4.2]
    assert r2scan.settings["incar"]["MAGMOM"] == [4.2, 4.2, 0.0, 0.0]  # of the POSCAR's atoms
    assert r2scan.magmoms_muB == pytest.approx([0.0, 4.41, 0.0, 4.41])
    assert r2scan.settings["start"] == "PBE wavefunction and moments"
    assert r2scan.energy_eV != pbe.energy_eV
    assert runs(tmp_path, "PBE") == runs(tmp_path, "R2SCAN") == 1
    assert not (first.handover / "WAVECAR").exists()


def test_without_a_handover_pbe_is_calculated_in_the_same_attempt(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    pbe, first = calculate(tmp_path, "pbe")
    handed, _ = calculate(tmp_path, "r2scan", handover=first.handover)
    alone, place = calculate(tmp_path, "r2scan")
    assert "the WAVECAR file was read successfully" in printed(place)
    assert replace(alone, wall_s=0) == replace(handed, wall_s=0)
    assert alone.energy_eV != pbe.energy_eV
    assert runs(tmp_path, "PBE") == 2
    assert sorted(path.name for path in place.keep.iterdir()) == [
        *("INCAR", "OUTCAR", "POSCAR", "POTCAR.spec", "custodian.json", "vasprun.xml"),
    ]
    assert "METAGGA" in (place.keep / "INCAR").read_text()


def test_a_second_attempt_makes_its_own_start(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "r2scan/exit:1")
    _, first = calculate(tmp_path, "pbe")
    failed, _ = calculate(tmp_path, "r2scan", handover=first.handover)
    assert failed.reason == "crashed"
    again, _ = calculate(tmp_path, "r2scan", handover=first.handover)
    assert isinstance(again, Result)
    assert (runs(tmp_path, "PBE"), runs(tmp_path, "R2SCAN")) == (2, 2)


@pytest.mark.parametrize(("fault", "reason"), [("pbe/unconverged", "not_converged"), ("pbe/exit", "crashed")])
def test_when_pbe_fails_r2scan_says_so_and_does_not_run(tmp_path, monkeypatch, fault, reason):
    set_up(tmp_path, monkeypatch, fault)
    pbe, first = calculate(tmp_path, "pbe")
    before = runs(tmp_path)
    outcome, _ = calculate(tmp_path, "r2scan", handover=first.handover)
    assert isinstance(outcome, Failed)
    assert outcome.reason == pbe.reason == reason
    assert outcome.detail.startswith("the PBE calculation that it starts from failed: ")
    assert runs(tmp_path) == before
    alone, _ = calculate(tmp_path, "r2scan")
    assert (alone.reason, runs(tmp_path, "R2SCAN")) == (reason, 0)


def test_a_correction_of_the_start_is_told_and_is_not_the_labels(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "pbe/zbrent:1")
    outcome, _ = calculate(tmp_path, "r2scan")
    assert (outcome.corrections, outcome.quarantine_reasons) == ([], [])
    assert "EDIFF = 1e-06" in outcome.settings["start_corrections"][0]


def test_calculations_side_by_side_are_those_made_alone(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    alone = [calculate(tmp_path, "pbe", name)[0] for name in CRYSTALS]
    tasks = [task("pbe", name) for name in CRYSTALS for _ in range(2)]
    places = [make_workdir(tmp_path / "side" / str(i)) for i in range(len(tasks))]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(vasp.calculate, tasks, [options()] * len(tasks), places))
    for i, outcome in enumerate(together):
        assert replace(outcome, wall_s=0) == replace(alone[i // 2], wall_s=0)


def test_corrections_side_by_side_are_each_ones_own(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "unconverged:1")
    tasks = [task("pbe", name) for name in CRYSTALS]
    places = [make_workdir(tmp_path / "side" / str(i)) for i in range(len(tasks))]
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(vasp.calculate, tasks, [options()] * len(tasks), places))
    assert [len(outcome.corrections) for outcome in outcomes] == [1] * len(tasks)
    assert runs(tmp_path) == 2 * len(tasks)


def test_what_is_kept_survives_the_archive(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch, "unconverged:1")
    _, place = calculate(tmp_path, "pbe")
    files = {path.name: path for path in unpack(pack(place.keep), tmp_path / "unpacked")}
    log = json.loads(files["custodian.json"].read_text())
    assert log[0]["corrections"][0]["errors"] == ["Unconverged"]
    assert "<projected>" not in files["vasprun.xml"].read_text()
    assert "<projected>" in (place.scratch / "vasprun.xml").read_text()


def test_results_are_plain_numbers(tmp_path, monkeypatch):
    from pesatlas.label.backend import from_bytes, to_bytes

    set_up(tmp_path, monkeypatch)
    outcome, _ = calculate(tmp_path, "r2scan")
    assert from_bytes(to_bytes(outcome)) == outcome
    assert np.shape(outcome.forces_eV_per_A) == (4, 3)
