"""`pesatlas doctor --reference-labels`: the user's VASP, here the double, against the records that MatPES
published."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import yaml

import synthetic_potcars
from pesatlas.config.presets import preset
from pesatlas.levels.matpes_records import element_records
from vasp_cases import DOUBLE

pytestmark = pytest.mark.skipif(find_spec("matcalc") is None, reason="matcalc has the published records")
ELEMENTS = ("Al", "Si", "As", "Fe", "O")
FUNCTIONALS = {"pbe": "PBE", "r2scan": "R2SCAN"}


@pytest.fixture
def folder(tmp_path):
    """A campaign of silicon with the double as its VASP."""
    raw = preset("demo")[0].model_dump(mode="json")
    raw["structures"]["sources"] = [{"kind": "demo", "names": ["Si"]}]
    raw["label"] |= {
        "backend": {
            "kind": "vasp",
            "command": f"{sys.executable} {DOUBLE}",
            "vasp_version": "6.4.3",
            "allow_unknown_potcars": True,
        },
        "levels": ["pbe", "r2scan"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    synthetic_potcars.make(tmp_path / "potcars", ELEMENTS)
    return tmp_path


def doctor(folder, change=lambda record: record):
    """Run the doctor with a double that returns the published records, as changed."""
    records = {}
    for level, functional in FUNCTIONALS.items():
        records[functional] = {
            f"{element}{len(record.numbers)}": change(
                {
                    "energy_eV": record.energy_eV,
                    "forces_eV_per_A": record.forces_eV_per_A.tolist(),
                    "stress_eV_per_A3": [
                        [record.stress_eV_per_A3[i] for i in row] for row in ((0, 5, 4), (5, 1, 3), (4, 3, 2))
                    ],
                }
            )
            for element, record in element_records(level).items()
            if element in ELEMENTS
        }
    (folder / "records.json").write_text(json.dumps(records))
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "PMG_VASP_PSP_DIR": str(folder / "potcars"),
        "VASP_DOUBLE_RECORDS": str(folder / "records.json"),
    }
    command = [sys.executable, "-m", "pesatlas.cli.main", "doctor", "--reference-labels"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_vasp_that_gives_the_published_numbers_is_well(folder):
    status, said = doctor(folder)
    assert status == 0, said
    # silicon is the campaign's, aluminium cheap; on arsenic's atoms there are forces; iron is magnetic,
    # oxygen has too many atoms
    assert "reference labels: Si, Al, As at pbe, r2scan" in said
    for element in ("Si", "Al", "As"):
        for level in FUNCTIONALS:
            line = next(line for line in said.splitlines() if f" {element} at {level}:" in line)
            assert line.startswith("ok")
            assert " 0.0 meV/atom from MatPES (mp-" in line
            assert line.endswith("forces within 0.0 meV/Å, stress within 0.00 GPa")
    assert (folder / "work" / "doctor" / "As-pbe" / "OUTCAR").is_file()


@pytest.mark.parametrize("what", ["energy_eV", "forces_eV_per_A", "stress_eV_per_A3"])
def test_a_vasp_that_gives_others_is_wrong(folder, what):
    def change(record):
        moved = np.array(record[what])
        off = {"energy_eV": 0.006, "forces_eV_per_A": 0.03, "stress_eV_per_A3": 0.002}[what]
        return {**record, what: (moved + off).tolist()}

    status, said = doctor(folder, change)
    assert status == 1
    wrong = [line for line in said.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 6
    assert "6 wrong." in said
    if what == "energy_eV":
        assert "Al at pbe: 6.0 meV/atom from MatPES" in said
        assert "Si at pbe: 3.0 meV/atom from MatPES" in said


def test_a_calculation_that_fails_is_wrong_and_says_why(folder):
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["label"]["backend"]["vasp_version"] = "6.5.0"
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    status, said = doctor(folder)
    assert status == 1
    assert "this was VASP 6.4.3, the level is VASP 6.5.0" in said


def test_with_gpaw_it_says_why_it_does_not_apply(folder):
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["label"]["backend"] = {"kind": "gpaw"}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    status, said = doctor(folder)
    assert status == 1
    assert "do not apply to the backend gpaw: MatPES was calculated with VASP" in " ".join(said.split())


def test_without_a_potcar_of_a_cheap_element_it_says_which_would_do(folder):
    for symbol in ("Si", "Al", "As"):
        (folder / "potcars" / "POT_PAW_PBE_64" / symbol / "POTCAR").unlink()
    status, said = doctor(folder)
    assert status == 1
    assert "not magnetic, at most 4 atoms" in " ".join(said.split())
