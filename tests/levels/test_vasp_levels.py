"""VASP's levels: what is in a fingerprint, and which POTCARs are the ones."""

import gzip
import os
import subprocess
import sys

import pytest
from pymatgen.io.vasp.inputs import POTCAR_FUNCTIONAL_MAP, PotcarSingle, _load_potcar_summary_stats
from pymatgen.io.vasp.sets import MatPESStaticSet

import synthetic_potcars as synthetic
from pesatlas.atoms.elements import atomic_number
from pesatlas.config.label import Label
from pesatlas.errors import UserError
from pesatlas.label.backends import vasp
from pesatlas.levels import potcars
from pesatlas.levels.level import difference
from pesatlas.levels.lookup import levels_of, supported_elements
from pesatlas.levels.vasp import levels

OPTIONS = vasp.Options(command=f"{sys.executable} -V", vasp_version="6.4.3")
UNKNOWN = OPTIONS.model_copy(update={"allow_unknown_potcars": True})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = synthetic.make(tmp_path / "potcars", ["Mg", "O"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(made))
    return made / "POT_PAW_PBE_64"


@pytest.fixture(scope="module")
def pbe():
    return levels(OPTIONS, ["pbe"])["pbe"]


def test_a_level_has_everything_that_decides_a_label(pbe):
    r2scan = levels(OPTIONS, ["r2scan"])["r2scan"]
    assert (pbe.functional, r2scan.functional) == ("PBE", "R2SCAN")
    assert pbe.code["vasp"] == "6.4.3"
    assert set(pbe.code) == {"vasp", "pymatgen", "pymatgen-core"}
    incar = pbe.settings["incar"]
    assert (incar["ENCUT"], incar["KSPACING"], incar["SIGMA"]) == (680, 0.22, 0.05)
    assert pbe.settings["potcars"]["symbols"] == MatPESStaticSet.CONFIG["POTCAR"]
    assert pbe.settings["atom_box_A"] == [15.0, 15.1, 15.2]
    assert {"functional", "settings.incar.METAGGA", "settings.incar.GGA"} <= set(difference(pbe, r2scan))


def test_another_version_is_another_level(pbe):
    other = levels(OPTIONS.model_copy(update={"vasp_version": "6.5.0"}), ["pbe"])["pbe"]
    assert difference(pbe, other) == ["code.vasp"]
    assert other.fingerprint != pbe.fingerprint


def test_the_command_is_no_part_of_a_level(pbe):
    other = levels(OPTIONS.model_copy(update={"command": "mpirun vasp_std"}), ["pbe"])["pbe"]
    assert other == pbe


def test_fingerprints_are_the_same_in_another_process_and_without_potcars(pbe, tmp_path):
    program = (
        "from pesatlas.label.backends.vasp import Options; from pesatlas.levels.vasp import levels;"
        "print(levels(Options(vasp_version='6.4.3'), ['pbe'])['pbe'].fingerprint)"
    )
    environment = {**os.environ, "PMG_VASP_PSP_DIR": str(tmp_path)}
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert other.stdout.strip() == pbe.fingerprint


def test_potcars_of_other_elements_change_nothing(pbe, folder):
    synthetic.make(folder.parent, ["Fe"])
    assert levels(OPTIONS, ["pbe"])["pbe"] == pbe


def test_unknown_potcars_are_the_files_that_are_there(pbe, folder):
    first = levels(UNKNOWN, ["pbe"])["pbe"]
    assert difference(first, pbe) == ["pseudopotentials"]
    assert levels(UNKNOWN, ["pbe"])["pbe"] == first
    (folder / "O" / "POTCAR").write_text(synthetic.potcar("O").replace("98.7", "98.8"))
    os.utime(folder / "O" / "POTCAR", (1e9, 1e9))
    assert difference(levels(UNKNOWN, ["pbe"])["pbe"], first) == ["pseudopotentials"]


def test_pymatgen_knows_every_potcar_of_the_set():
    known = potcars.known_data(potcars.symbols())
    assert set(known) == set(potcars.symbols().values())
    assert len(potcars.symbols()) > 90


def test_elements_are_those_with_a_potcar(folder):
    assert supported_elements(UNKNOWN) == {atomic_number("Mg"), atomic_number("O")}


def test_the_levels_come_by_the_kind_of_backend(pbe):
    raw = {"backend": {"kind": "vasp", "vasp_version": "6.4.3"}}
    assert levels_of(Label.model_validate(raw).backend, ["pbe"])["pbe"] == pbe


def test_folder_and_layout_are_pymatgens(folder):
    assert folder.name == POTCAR_FUNCTIONAL_MAP["PBE_64"]
    text = (folder / "Mg_pv" / "POTCAR").read_text()
    (folder / "Mg_pv" / "POTCAR").unlink()
    with pytest.raises(potcars.MissingPotcarError, match="Mg_pv"):
        potcars.read("Mg_pv")
    (folder / "POTCAR.Mg_pv.gz").write_bytes(gzip.compress(text.encode()))
    packed = potcars.read("Mg_pv")
    assert (packed.text, packed.title, packed.known) == (text, "PAW_PBE Mg_pv 24Nov2026", False)


def test_a_potcar_is_known_by_its_numbers_and_its_symbol(folder, monkeypatch):
    text = synthetic.potcar("O")
    single = PotcarSingle(text, symbol="O")
    about = {"LEXCH": "PE", "VRHFIN": single.VRHFIN.replace(" ", ""), "symbol": "O", "ZVAL": single.ZVAL}
    database = _load_potcar_summary_stats()
    monkeypatch.setitem(
        database["PBE_64"], single.TITEL.replace(" ", ""), [{**about, **single._summary_stats}]
    )
    assert potcars.read("O").known
    (folder / "O" / "POTCAR").write_text(text.replace("98.7", "98.8"))
    os.utime(folder / "O" / "POTCAR", (1e9, 1e9))
    assert not potcars.read("O").known
    (folder / "Mg_pv" / "POTCAR").write_text(text)
    assert not potcars.read("Mg_pv").known


def test_what_is_no_potcar_is_named(folder):
    (folder / "O" / "POTCAR").write_text("not a potential\n")
    with pytest.raises(UserError, match=r"O/POTCAR is not a POTCAR"):
        potcars.read("O")


@pytest.mark.parametrize("value", [None, "/no/such/folder"])
def test_without_potcars_there_is_a_message(monkeypatch, value):
    monkeypatch.setattr(potcars, "_pymatgen_settings", dict)
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    if value:
        monkeypatch.setenv("PMG_VASP_PSP_DIR", value)
    with pytest.raises(UserError, match=r"PMG_VASP_PSP_DIR.*pmg config -p potpaw_PBE.64"):
        vasp.check(OPTIONS)


def test_a_command_that_is_not_there_is_named(folder):
    vasp.check(OPTIONS)
    with pytest.raises(UserError, match="there is no program 'no-such-vasp' here"):
        vasp.check(OPTIONS.model_copy(update={"command": "no-such-vasp"}))
    with pytest.raises(UserError, match=r"'\./vasp' is a relative path"):
        vasp.check(OPTIONS.model_copy(update={"command": "./vasp {cores}"}))
    with pytest.raises(ValueError, match="no command"):
        vasp.Options(vasp_version="6.4.3", command=" ")


def test_a_diagnosis_of_what_is_well(folder, tmp_path):
    found = vasp.diagnose(UNKNOWN, ["O", "Mg"], tmp_path / "inputs")
    assert all(ok for ok, _, _ in found), found
    text = " / ".join(said for _, said, _ in found)
    for part in (
        "VASP is started with",
        "O: PAW_PBE O",
        "Mg: PAW_PBE Mg_pv",
        "does not know",
        "look at them",
    ):
        assert part in text
    for level, word in (("pbe", "GGA = Pe"), ("r2scan", "METAGGA = R2scan")):
        assert word in (tmp_path / "inputs" / level / "INCAR").read_text()
        assert (tmp_path / "inputs" / level / "POTCAR.spec").read_text().split() == ["Mg_pv", "O"]
        assert not (tmp_path / "inputs" / level / "POTCAR").exists()


def test_a_diagnosis_of_what_is_not(folder, tmp_path, monkeypatch):
    options = OPTIONS.model_copy(update={"command": "no-such-vasp"})
    found = vasp.diagnose(options, ["O", "Fe", "Bk"], tmp_path / "inputs")
    bad = [f"{said} {remedy}" for ok, said, remedy in found if not ok]
    assert len(bad) == 4
    for part in ("no-such-vasp", "O/POTCAR", "no POTCAR Fe_pv", "no pseudopotential for Bk"):
        assert any(part in line for line in bad), part
    assert not (tmp_path / "inputs").exists()
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    assert any("no POTCARs" in said for _, said, _ in vasp.diagnose(options, ["O"], tmp_path / "inputs"))
