"""Levels of Quantum ESPRESSO: the user's pseudopotentials are read, and are in the fingerprint."""

import hashlib
import json
import re
import sys

import numpy as np
import pytest
import yaml

from pesatlas.campaign.load import load_campaign
from pesatlas.errors import UserError
from pesatlas.levels import upf
from pesatlas.levels.level import difference
from pesatlas.levels.qe import cutoffs, elements, kpoints, levels, polarisation
from qe_files import FILES, FOLDER, needs_pw, options, synthetic_upf
from small_campaign import ROOT


@pytest.fixture
def folder(tmp_path):
    for element in ("Si", "C"):
        synthetic_upf(tmp_path / "upf", element)
    return tmp_path / "upf"


def level(folder, **changes):
    return levels(options(folder, ("Si", "C"), **changes), ["pbe"])["pbe"]


def test_settings_are_those_of_matpes_where_the_codes_agree(folder):
    settings = level(folder, quality="standard").settings
    assert settings["kpoint_spacing_per_A"] == 0.22
    assert (settings["smearing"], settings["width_eV"]) == ("gaussian", 0.05)
    assert settings["max_steps"] == 200
    assert settings["moments_muB"]["Fe"] == 5.0
    assert settings["moments_muB"]["Co"] == 0.6
    assert settings["moments_muB"]["others"] == 0.6


def test_all_that_decides_a_label_is_in_the_fingerprint(folder):
    first = level(folder)
    assert level(folder).fingerprint == first.fingerprint
    assert difference(first, level(folder, quality="standard"))
    assert difference(first, level(folder, qe_version="7.5")) == ["code.quantum-espresso"]
    more = {"Si": [30, 180], "C": [45, 360]}
    assert "settings.pseudopotentials.C.ecutwfc_Ry" in difference(first, level(folder, cutoffs_Ry=more))
    synthetic_upf(folder, "C", comment="one byte more is another file")
    assert set(difference(first, level(folder))) == {
        "pseudopotentials",
        "settings.pseudopotentials.C.sha256",
    }


def test_another_place_of_the_same_set_is_the_same_level(folder, tmp_path):
    other = tmp_path / "copied"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert level(other).fingerprint == level(folder).fingerprint


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("6.7MaX", "would have wrong stresses"),
        ("7.5", "broken before 7.6"),
        ("7.6", "no stress of spin-polarised meta-GGA calculations"),
    ],
)
def test_r2scan_is_refused_with_its_reason(folder, version, reason):
    with pytest.raises(UserError, match=reason):
        levels(options(folder, ("Si", "C"), qe_version=version), ["pbe", "r2scan"])


def test_a_configuration_is_checked_before_any_job(folder):
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    raw["label"]["backend"] = options(folder, ("Si", "C"), command=sys.executable).model_dump(mode="json")
    with pytest.raises(UserError, match=r"label\.levels \(qe\): r2scan .* broken before 7\.6") as error:
        load_campaign(raw)
    assert "1 problem(s)" in str(error.value)
    raw["label"]["levels"] = ["pbe"]
    load_campaign(raw)
    raw["label"]["backend"] |= {"pseudopotentials": "nowhere", "command": "no-such-program"}
    with pytest.raises(UserError, match="there is no program 'no-such-program' here"):
        load_campaign(raw)
    raw["label"]["backend"]["command"] = sys.executable
    with pytest.raises(UserError, match=r"label\.backend\.pseudopotentials: nowhere is not a folder"):
        load_campaign(raw)


def test_the_mesh_is_that_of_kspacing_and_cut_offs_are_the_highest(folder):
    # cubic, a = 4 Å: |b| = 2π/4 = 1.571 /Å; 1.571/0.22 = 7.1 -> 8. c doubled: 3.6 -> 4
    assert kpoints(level(folder, quality="standard"), np.diag([4.0, 4.0, 8.0])) == [8, 8, 4]
    assert cutoffs(level(folder), [14]) == (30.0, 180.0)
    assert cutoffs(level(folder), [14, 6, 14]) == (40.0, 320.0)


def test_moments_are_given_as_a_share_of_the_valence_electrons(folder):
    synthetic_upf(folder, "Fe", z_valence="16.0")
    synthetic_upf(folder, "Eu", z_valence="9.0")
    many = {element: [30, 240] for element in ("Si", "C", "Fe", "Eu")}
    found = level(folder, cutoffs_Ry=many)
    assert polarisation(found, 26, isolated=False) == 5 / 16
    assert polarisation(found, 14, isolated=False) == 0.6 / 4
    # 10 of 9 electrons: pw.x would take 1 and more for a moment
    assert polarisation(found, 63, isolated=False) == 0.9
    # Hund: carbon has two unpaired electrons
    assert polarisation(found, 6, isolated=True) == 2 / 4


def test_elements_are_those_of_the_folder(folder):
    assert elements(options(folder, ("Si", "C"))) == {6, 14}


def test_recommendations_choose_the_file_and_give_cut_offs(folder, tmp_path):
    other = synthetic_upf(folder, "Si", name="Si.other.upf", comment="another")
    advice = {
        "Si": {
            "filename": "Si.other.upf",
            "md5": hashlib.md5(other.read_bytes()).hexdigest(),
            "cutoff_wfc": 44.0,
            "cutoff_rho": 175.0 + 1,
        },
        "C": {"filename": "C.UPF", "cutoff_wfc": 45.0, "cutoff_rho": 360.0},
    }
    file = tmp_path / "SSSP.json"
    file.write_text(json.dumps(advice))
    given = {"recommendations": file, "cutoffs_Ry": {"C": [50, 400]}}
    found = level(folder, **given).settings["pseudopotentials"]
    assert found["Si"]["file"] == "Si.other.upf"
    assert (found["Si"]["ecutwfc_Ry"], found["Si"]["ecutrho_Ry"]) == (44.0, 176.0)
    assert (found["C"]["ecutwfc_Ry"], found["C"]["ecutrho_Ry"]) == (50.0, 400.0)
    other.write_text(other.read_text() + "\n")
    with pytest.raises(UserError, match="damaged or of another release"):
        level(folder, **given)


@pytest.fixture
def reports(folder, tmp_path):
    """A folder with reports as PseudoDojo has them: cut-offs in Hartree, and the md5 of the UPF file."""
    place = tmp_path / "djrepo"
    place.mkdir()

    def report(element, name=None, **changes):
        about = {
            "symbol": element,
            "basename": f"{element}.psp8",
            "pseudo_type": "NC",
            "md5": "of the psp8 file",
            "md5_upf": hashlib.md5((folder / f"{element}.UPF").read_bytes()).hexdigest(),
            "ppgen_hints": {hint: {"ecut": 99.0, "pawecutdg": 99.0} for hint in ("low", "normal", "high")},
            "hints": {
                hint: {"ecut": ecut, "pawecutdg": ecut}
                for hint, ecut in (("low", 14.0), ("normal", 18.0), ("high", 24.5))
            },
        }
        about = {key: value for key, value in (about | changes).items() if value is not None}
        (place / f"{name or element}.djrepo").write_text(json.dumps(about))

    report("Si")
    report("C", hints={"normal": {"ecut": 41.0}, "high": {"ecut": 45.0}})
    report.folder = place
    return report


def test_reports_of_pseudodojo_give_cut_offs_and_the_file(folder, reports):
    synthetic_upf(folder, "Si", name="Si.other.upf", comment="another")

    def found(hint, **more):
        given = {"recommendations": {"djrepo": reports.folder, "hint": hint}, "cutoffs_Ry": more}
        files = level(folder, **given).settings["pseudopotentials"]
        return {e: (each["file"], each["ecutwfc_Ry"], each["ecutrho_Ry"]) for e, each in files.items()}

    assert found("normal") == {"C": ("C.UPF", 82.0, 328.0), "Si": ("Si.UPF", 36.0, 144.0)}
    assert found("high") == {"C": ("C.UPF", 90.0, 360.0), "Si": ("Si.UPF", 49.0, 196.0)}
    with pytest.raises(UserError, match=r"C: no cut-offs \(C\.djrepo has no hint 'low' from tests\)"):
        found("low")
    assert found("low", C=(70.0, 280.0))["C"] == ("C.UPF", 70.0, 280.0)
    reports("Si", md5_upf="f" * 32)
    with pytest.raises(UserError, match=r"Si: Si\.UPF, Si\.other\.upf is damaged or of another release"):
        found("normal")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Si-high", {}, "has several reports on Si"),
        ("Si", {"pseudo_type": "PAW"}, "is no report of PseudoDojo on a norm-conserving"),
        ("Si", {"symbol": None}, "is no report of PseudoDojo on a norm-conserving"),
    ],
)
def test_what_is_wrong_with_reports_is_told(folder, reports, name, changes, message):
    reports("Si", name, **changes)
    with pytest.raises(UserError, match=message):
        level(folder, recommendations={"djrepo": reports.folder}, cutoffs_Ry={})
    with pytest.raises(UserError, match=r"is a folder\. Name the JSON file of SSSP; for a folder"):
        level(folder, recommendations=reports.folder)
    with pytest.raises(UserError, match=r"is not a folder with reports \(\*\.djrepo\)"):
        level(folder, recommendations={"djrepo": folder})


NOWHERE, EMPTY, OTHER_JSON = "nowhere", "empty", "other.json"
WRONG = [
    # a file that is added (its element and header), changes of the options, and the message
    (("C", {"functional": "PBESOL"}), {}, "C.UPF is for PBESOL, the level is PBE"),
    (("C", {"has_so": "true"}), {}, "C.UPF is fully relativistic"),
    (
        ("Si", {"name": "Si.x.UPF"}),
        {},
        "Si: there are 2 files (Si.UPF, Si.x.UPF); leave one Si in the folder",
    ),
    (("Xx", {}), {}, "Xx.UPF is not a UPF file that pesatlas can read (ValueError: its element is 'Xx')"),
    (None, {"cutoffs_Ry": {"Si": [30, 240]}}, "C: no cut-offs; add label.backend.recommendations"),
    (None, {"cutoffs_Ry": {"Si": [30, 100], "C": [30, 240]}}, "100 Ry, is less than four times 30 Ry"),
    (None, {"cutoffs_Ry": {e: [30, 240] for e in ("Si", "C", "Fe")}}, "cutoffs_Ry names Fe, of which"),
    (None, {"pseudopotentials": NOWHERE}, "is not a folder"),
    (None, {"pseudopotentials": EMPTY}, "has no UPF files"),
    (None, {"recommendations": NOWHERE}, "cannot be read (No such file or directory)"),
    (None, {"recommendations": OTHER_JSON}, "has no cutoff_wfc and cutoff_rho for Si"),
]


@pytest.mark.parametrize(("added", "changes", "message"), WRONG)
def test_what_is_wrong_with_a_set_is_told_before_anything_runs(folder, monkeypatch, added, changes, message):
    monkeypatch.chdir(folder)
    (folder / EMPTY).mkdir()
    (folder / OTHER_JSON).write_text('{"Si": {"hints": {}}}')
    if added:
        synthetic_upf(folder, added[0], **added[1])
    with pytest.raises(UserError) as error:
        level(folder, **changes)
    assert message in str(error.value)


def test_a_file_that_is_no_pseudopotential_is_named(folder):
    (folder / "C.UPF").write_text("404 not found\n")
    with pytest.raises(UserError, match=r"C\.UPF is not a UPF file .* \(ValueError: it has no PP_HEADER\)"):
        level(folder)


VERSION_1 = """<PP_HEADER>
   0                   Version Number
  Rh                   Element
   US                  Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional
   15.00000000000      Z valence
</PP_HEADER>
"""


def test_files_of_version_1_are_read(tmp_path):
    path = tmp_path / "Rh.UPF"
    path.write_text(f"<PP_INFO>\n</PP_INFO>\n{VERSION_1}")
    found = upf.read(path)
    assert (found.element, found.kind, found.functional, found.valence) == ("Rh", "US", "PBE", 15.0)
    assert not found.spin_orbit
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(VERSION_1 + "<PP_ADDINFO>\n</PP_ADDINFO>\n")
    assert upf.read(path).spin_orbit


@needs_pw
def test_every_file_of_debian_is_read_as_its_name_says():
    found = [file for files in upf.read_folder(FOLDER).values() for file in files]
    assert len(found) > 60
    for file in found:
        # such as Fe.rel-pbe-spn-rrkjus_psl.0.2.1.UPF
        named = re.match(r"([A-Z][a-z]?)\.(rel-)?(pbe|pbesol|pz|blyp|tpss)-", file.path.name)
        if named:
            assert file.element == named[1]
            assert file.spin_orbit == bool(named[2]), file
            assert (file.functional == "PBE") == (named[3] == "pbe"), file
    kinds = {file.path.name: file.kind for file in found}
    assert [kinds[FILES[element]] for element in ("C", "Si", "Ni")] == ["PAW", "USPP", "US"]
