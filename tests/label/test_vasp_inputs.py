"""Inputs are exactly ``MatPESStaticSet``, results come back in the task's order, POTCARs are those of the
level."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import SETTINGS, Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar, Potcar
from pymatgen.io.vasp.sets import MatPESStaticSet

from pesatlas.atoms.elements import symbol_of
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Result, Task
from pesatlas.label.backends import vasp
from pesatlas.label.vasp import inputs
from pesatlas.levels.vasp import at_precision, precision_of
from pesatlas.testing.workdir import make_workdir
from vasp_cases import CRYSTALS, calculate, crystal, options, runs, set_up, task

# The one difference: a PBE run writes the wavefunction that r2SCAN starts from.
EXTRA = {"pbe": {"LWAVE": True}, "r2scan": {}}


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("level", ["pbe", "r2scan"])
def test_inputs_are_matpes_static_set_key_by_key(tmp_path, monkeypatch, name, level):
    set_up(tmp_path, monkeypatch)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "potcars"))  # pymatgen reads it once
    numbers, cell, positions = crystal(name)
    structure = Structure(
        Lattice(cell), [symbol_of(int(z)) for z in numbers], positions, coords_are_cartesian=True
    )
    expected = MatPESStaticSet(structure, xc_functional=level.upper())
    inputs.write(tmp_path, task(level, name), level.upper(), allow_unknown_potcars=True)
    written, wanted = Incar.from_file(tmp_path / "INCAR"), Incar.from_str(str(expected.incar))
    assert written.keys() == wanted.keys()
    for key in wanted:
        assert written[key] == EXTRA[level].get(key, wanted[key]), key
    assert (tmp_path / "POSCAR").read_text() == str(expected.poscar)
    assert (tmp_path / "POTCAR").read_text() == str(expected.potcar)
    assert Poscar.from_file(tmp_path / "POSCAR").site_symbols == [
        s.split("_")[0] for s in Potcar.from_file(str(tmp_path / "POTCAR")).symbols
    ]
    assert expected.kpoints is None
    assert not (tmp_path / "KPOINTS").exists()


def test_the_settings_of_the_publication(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    pbe = inputs.write(tmp_path, task("pbe"), "PBE", allow_unknown_potcars=True).incar
    r2scan = inputs.write(tmp_path, task("r2scan"), "R2SCAN", allow_unknown_potcars=True).incar
    for incar in (pbe, r2scan):
        wanted = {
            "ENCUT": 680,
            "EDIFF": 1e-5,
            "KSPACING": 0.22,
            "ISMEAR": 0,
            "SIGMA": 0.05,
            "ISPIN": 2,
            "NSW": 0,
        }
        assert {key: incar[key] for key in wanted} == wanted
        assert incar["MAGMOM"] == [5.0, 5.0, 0.6, 0.6]
        assert not any(key.startswith("LDAU") for key in incar)
    assert (pbe["GGA"], "METAGGA" in pbe) == ("Pe", False)
    assert (r2scan["METAGGA"], "GGA" in r2scan) == ("R2scan", False)


def test_moments_follow_their_atoms(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    written = inputs.write(
        tmp_path, task("r2scan"), "R2SCAN", [0.1, 4.0, -0.2, -3.5], allow_unknown_potcars=True
    )
    assert written.incar["MAGMOM"] == [4.0, -3.5, 0.1, -0.2]
    assert written.order == [1, 3, 0, 2]
    assert written.in_order_of_task(np.array([4.0, -3.5, 0.1, -0.2])).tolist() == [0.1, 4.0, -0.2, -3.5]


def test_the_order_of_atoms_changes_nothing_but_the_order(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    first, _ = calculate(tmp_path, "pbe")
    order = [3, 0, 2, 1]
    whole = task("pbe")
    shuffled = Task(whole.numbers[order], whole.cell, whole.positions[order], whole.level)
    monkeypatch.setattr("vasp_cases.task", lambda *_: shuffled)
    second, _ = calculate(tmp_path, "pbe")
    assert second.energy_eV == pytest.approx(first.energy_eV, abs=1e-7)
    assert second.magmoms_muB == [first.magmoms_muB[i] for i in order] == [4.2, 0.0, 0.0, 4.2]
    expected = np.array(first.forces_eV_per_A)[order]
    assert np.abs(np.array(second.forces_eV_per_A) - expected).max() < 1e-7
    assert np.abs(expected - np.array(first.forces_eV_per_A)).max() > 1e-2


def test_a_left_handed_cell_is_the_same_crystal(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    right, _ = calculate(tmp_path, "pbe")
    whole = task("pbe")
    left_handed = Task(whole.numbers, whole.cell[[0, 2, 1]], whole.positions, whole.level)
    assert np.linalg.det(left_handed.cell) < 0
    monkeypatch.setattr("vasp_cases.task", lambda *_: left_handed)
    left, _ = calculate(tmp_path, "pbe")
    assert left.energy_eV == pytest.approx(right.energy_eV, abs=1e-7)
    assert np.abs(np.subtract(left.forces_eV_per_A, right.forces_eV_per_A)).max() < 1e-6
    assert left.stress_eV_per_A3 == pytest.approx(right.stress_eV_per_A3, abs=1e-8)


def test_an_isolated_atom_has_the_same_settings(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    level = task("pbe").level
    box = np.array(level.settings["atom_box_A"])
    assert box.tolist() == [15.0, 15.1, 15.2]
    atom = Task(np.array([8]), np.diag(box), box[None, :] / 2, level, isolated=True)
    monkeypatch.setattr("vasp_cases.task", lambda *_: atom)
    outcome, _ = calculate(tmp_path, "pbe")
    assert outcome.band_gap_eV is None
    assert outcome.settings["kpoints"] == [2, 2, 2]  # 2π/15/0.22 = 1.9
    assert outcome.settings["incar"]["ENCUT"] == 680


def test_potcars_are_hashed_and_never_kept(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    outcome, place = calculate(tmp_path, "pbe")
    spec = json.loads((place.keep / "POTCAR.spec").read_text())
    assert [entry["symbol"] for entry in spec] == ["Fe_pv", "O"]
    assert {e["symbol"].split("_")[0]: e["sha256"] for e in spec} == outcome.pseudopotentials
    for path in place.keep.iterdir():
        assert b"PSCTR" not in path.read_bytes(), path.name
        assert path.name not in {"POTCAR", "WAVECAR", "CHGCAR", "AECCAR0", "AECCAR2"}


def test_an_element_without_potcar_is_a_failure(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    (tmp_path / "potcars/POT_PAW_PBE_64/Fe_pv/POTCAR").unlink()
    outcome, _ = calculate(tmp_path, "pbe")
    assert isinstance(outcome, Failed)
    assert outcome.reason == "missing_pseudopotential"
    assert "no POTCAR Fe_pv" in outcome.detail
    assert "PMG_VASP_PSP_DIR" in outcome.detail


def test_an_unknown_potcar_stops_production(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"is not the PBE_64 POTCAR Fe_pv that pymatgen knows.*pmg config -p"):
        calculate(tmp_path, "pbe", about=options(allow_unknown_potcars=False))


@pytest.mark.parametrize("level", ["pbe", "r2scan"])
def test_a_level_with_another_cut_off_and_k_points_is_calculated_with_them_from_its_pbe_start_on(
    tmp_path, monkeypatch, level
):
    set_up(tmp_path, monkeypatch)
    plain = task(level)
    own = precision_of(plain.level, plain.numbers.tolist(), plain.cell)
    assert (own.cutoff_eV, own.kpoint_spacing_per_A) == (680, 0.22)
    denser = at_precision(at_precision(plain.level, cutoff_eV=900.0), kpoint_spacing_per_A=0.15)
    assert denser.fingerprint != plain.level.fingerprint
    assert precision_of(denser, plain.numbers.tolist(), plain.cell).kpoints > own.kpoints
    for functional in ("PBE", level.upper()):
        usual = inputs.write(tmp_path, plain, functional, allow_unknown_potcars=True).incar
        found = inputs.write(
            tmp_path, replace(plain, level=denser), functional, allow_unknown_potcars=True
        ).incar
        assert found == usual | {"ENCUT": 900, "KSPACING": 0.15}
    place = make_workdir(tmp_path / "run")
    result = vasp.calculate(replace(plain, level=denser), options(), place)
    assert isinstance(result, Result), result
    assert (result.settings["incar"]["ENCUT"], result.quarantine_reasons) == (900, [])
    assert runs(tmp_path) == (1 if level == "pbe" else 2)
