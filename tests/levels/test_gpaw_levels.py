"""Levels are fingerprinted objects; settings of a calculation follow from their rules."""

import subprocess
import sys

import numpy as np
import pytest

from pesatlas.atoms.elements import atomic_number
from pesatlas.config.label import Label
from pesatlas.errors import UserError
from pesatlas.label.backends.gpaw import Options
from pesatlas.levels import gpaw
from pesatlas.levels.level import difference
from pesatlas.levels.lookup import levels_of, supported_elements


@pytest.fixture(scope="module")
def demo():
    return gpaw.levels(Options(quality="demo"), ["pbe", "r2scan"])


def test_fingerprints_are_the_same_in_another_process(demo):
    program = (
        "from pesatlas.label.backends.gpaw import Options; from pesatlas.levels.gpaw import levels; "
        "print(levels(Options(quality='demo'), ['pbe'])['pbe'].fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert other == demo["pbe"].fingerprint


def test_any_difference_changes_the_fingerprint_and_is_named(demo):
    standard = gpaw.levels(Options(quality="standard"), ["pbe"])["pbe"]
    assert len({demo["pbe"].fingerprint, demo["r2scan"].fingerprint, standard.fingerprint}) == 3
    assert difference(demo["pbe"], demo["pbe"]) == []
    assert {"functional", "name"} <= set(difference(demo["pbe"], demo["r2scan"]))
    assert "settings.cutoff_eV.default" in difference(demo["pbe"], standard)
    newer = demo["pbe"].model_copy(update={"code": {**demo["pbe"].code, "gpaw": "99.0"}})
    assert difference(demo["pbe"], newer) == ["code.gpaw"]
    assert newer.fingerprint != demo["pbe"].fingerprint


def test_a_level_never_changes(demo):
    with pytest.raises(ValueError, match="frozen"):
        demo["pbe"].functional = "LDA"


def test_kpoints_follow_the_reciprocal_lattice(demo):
    # cubic, a = 4 Å: |b| = 2π/4 = 1.571 /Å; 1.571/0.75 = 2.09 -> 3. c doubled: 1.05 -> 2
    settings = gpaw.crystal_settings(demo["pbe"], [14], np.diag([4.0, 4.0, 8.0]))
    assert settings["kpoints"] == [3, 3, 2]


def test_cutoff_is_that_of_the_hardest_element(demo):
    cell = 4 * np.eye(3)
    assert gpaw.crystal_settings(demo["pbe"], [14], cell)["cutoff_eV"] == 350
    assert gpaw.crystal_settings(demo["pbe"], [12, 8], cell)["cutoff_eV"] == 500
    standard = gpaw.levels(Options(quality="standard"), ["pbe"])["pbe"]
    assert gpaw.crystal_settings(standard, [12, 8], cell)["cutoff_eV"] == 1000


def test_spin_only_where_elements_are_magnetic(demo):
    cell = 4 * np.eye(3)
    assert gpaw.crystal_settings(demo["pbe"], [12, 8], cell)["moments_muB"] is None
    assert gpaw.crystal_settings(demo["pbe"], [26, 8], cell)["moments_muB"] == [5.0, 0.0]
    assert gpaw.atom_settings(demo["pbe"], 8)["moments_muB"] == [2.0]


def test_elements_with_paw_data():
    known = supported_elements(Label().backend)
    assert {atomic_number(s) for s in ("H", "O", "Si", "Fe", "La", "Rn")} <= known
    assert not {atomic_number(s) for s in ("Tc", "Po", "At", "Fr", "Ra", "U")} & known


def test_levels_come_by_the_kind_of_backend(demo):
    backend = Label.model_validate({"backend": {"kind": "gpaw", "quality": "demo"}}).backend
    assert levels_of(backend, ["r2scan"])["r2scan"] == demo["r2scan"]


def test_without_gpaw_there_is_a_message(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="not installed"):
        gpaw.paw_folder()
