"""`pesatlas doctor --strain`: stresses of levels compared with slopes of their energy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import synthetic_potcars
from pesatlas.config.presets import preset
from qe_files import options, synthetic_upf
from vasp_cases import DOUBLE

QE_DOUBLE = Path(__file__).parents[1] / "qe_double.py"


@pytest.fixture
def strain(tmp_path):
    """Return a function that tests the levels of a campaign of silicon with this section `label`."""

    def run(label, elements=("Si",), **environment):
        raw = preset("demo")[0].model_dump(mode="json")
        raw["structures"]["sources"] = [{"kind": "demo", "names": list(elements)}]
        raw["label"] |= label
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
        done = subprocess.run(
            [sys.executable, "-m", "pesatlas.cli.main", "doctor", "--strain"],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "300", "QE_DOUBLE_MEMORY": str(tmp_path / "memory")} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        found = sorted((tmp_path / "work/doctor/strain").glob("*.json"))
        return done.returncode, done.stdout + done.stderr, [json.loads(path.read_text()) for path in found]

    return run


def qe(tmp_path, elements=("Si",)):
    for element in elements:
        synthetic_upf(tmp_path / "upf", element)
    cutoffs = {element: [30, 240] for element in elements}
    backend = options(
        tmp_path / "upf", (), command=f"{sys.executable} {QE_DOUBLE}", cutoffs_Ry=cutoffs, quality="standard"
    )
    return {"backend": backend.model_dump(mode="json"), "levels": ["pbe"]}


def test_a_stress_that_is_a_slope_is_well_and_the_numbers_are_beside_the_level(strain, tmp_path):
    status, said, (found,) = strain(qe(tmp_path))
    assert status == 0, said
    assert "Si at pbe: stress, and slope of the free energy: xx " in said
    assert found["ok"]
    assert found["crystal"] == "demo-Si"
    assert found["level"]["code"] == {"quantum-espresso": "6.7MaX"}
    for each in (found["xx"], found["yz"]):
        assert each["stress_GPa"] == pytest.approx(each["slope_GPa"], abs=0.2)
        assert abs(each["stress_GPa"]) > 0.3
    outputs = {path.name for path in (tmp_path / "work/doctor/strain").glob("pbe-*/rest/*")}
    assert "data-file-schema.xml" in outputs


@pytest.mark.parametrize("fault", ["wrong_stress", "wrong_shear"])
def test_a_level_whose_stress_is_wrong_is_caught(strain, tmp_path, fault):
    status, said, (found,) = strain(qe(tmp_path), QE_DOUBLE_FAULT=fault)
    assert status == 1
    assert "WRONG  Si at pbe: stress, and slope of the free energy" in said
    assert "the code's stress is wrong at this level, or its cut-off is too low" in said
    assert not found["ok"]


def test_both_levels_of_vasp_are_tested(strain, tmp_path):
    potcars = str(synthetic_potcars.make(tmp_path / "potcars", ["Si"]))
    backend = {
        "kind": "vasp",
        "command": f"{sys.executable} {DOUBLE}",
        "vasp_version": "6.4.3",
        "allow_unknown_potcars": True,
    }
    memory = {"PMG_VASP_PSP_DIR": potcars, "VASP_DOUBLE_MEMORY": str(tmp_path / "vasp")}
    status, said, found = strain({"backend": backend, "levels": ["pbe", "r2scan"]}, **memory)
    assert status == 0, said
    assert [each["level"]["name"] for each in found] == ["pbe", "r2scan"]


def test_a_potential_is_tested_as_well(strain):
    potential = {"kind": "chgnet", "version": "0.2.0"}
    status, said, _ = strain({"backend": {"kind": "mlip", "potential": potential}, "levels": ["mlip"]})
    assert status == 0, said
    assert "Si at mlip: stress, and slope" in said


def test_a_calculation_that_fails_is_wrong_and_says_why(strain, tmp_path):
    status, said, (found,) = strain(qe(tmp_path), QE_DOUBLE_FAULT="segfault")
    assert status == 1
    assert "Si at pbe: no label (crashed: pw.x ended with status 139" in said
    assert not found["ok"]


def test_without_a_small_crystal_of_known_elements_it_says_which_would_do(strain, tmp_path):
    status, said, found = strain(qe(tmp_path, ["Fe"]))
    assert (status, found) == (1, [])
    assert "no small crystal of the elements that the backend knows (Fe); it has Si, SiC" in said
