"""`pesatlas doctor --strain`: stresses of levels compared with slopes of their energy."""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import synthetic_potcars
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.load import read_campaign
from pesatlas.config.presets import preset
from pesatlas.monitor.strain_gate import refusals, strain_lines
from qe_files import make_set, needs_pw, options, synthetic_upf
from vasp_cases import DOUBLE

QE_DOUBLE = Path(__file__).parents[1] / "qe_double.py"


def say(folder, *command, **environment):
    """Run a command of pesatlas in a folder; its status and what it prints, on one line."""
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", *command],
        cwd=folder,
        env=os.environ | {"COLUMNS": "300", "QE_DOUBLE_MEMORY": str(folder / "memory")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def configure(folder, label, elements=("Si",)):
    """Write the configuration of a campaign on these crystals with this section `label`."""
    raw = preset("demo")[0].model_dump(mode="json")
    raw["structures"]["sources"] = [{"kind": "demo", "names": list(elements)}]
    raw["label"] |= label
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))


@pytest.fixture
def strain(tmp_path):
    """Return a function that tests the levels of a campaign of silicon with this section `label`."""

    def run(label, elements=("Si",), **environment):
        configure(tmp_path, label, elements)
        status, said = say(tmp_path, "doctor", "--strain", **environment)
        found = sorted((tmp_path / "results/strain").glob("*.json"))
        return status, said, [json.loads(path.read_text()) for path in found]

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
    label = qe(tmp_path)
    status, said, (found,) = strain(label)
    assert status == 0, said
    assert "Si at pbe: stress, and slope of the free energy: xx " in said
    assert found["verdict"] == "passed"
    assert (found["level"], found["crystal"], found["backend"]) == ("pbe", "Si", "qe")
    assert found["code"] == {"quantum-espresso": "6.7MaX"}
    assert found["command"] == label["backend"]["command"]
    assert found["date"] == dt.datetime.now(tz=dt.UTC).date().isoformat()
    volume = 0.0
    for name, each in found["components"].items():
        assert each["stress_GPa"] == pytest.approx(each["slope_GPa"], abs=0.2)
        assert abs(each["stress_GPa"]) > 0.3
        energies = [found["free_energies_eV"][f"{name}{sign}"] for sign in ("+1", "-1")]
        volume = (energies[0] - energies[1]) / (2 * found["strain"] * each["slope_GPa"]) * EV_PER_A3_TO_GPA
        assert 30 < volume < 45  # of two atoms, compressed
    worst = max(abs(each["stress_GPa"] - each["slope_GPa"]) for each in found["components"].values())
    assert found["difference_GPa"] == pytest.approx(worst)
    outputs = {path.name for path in (tmp_path / "work/doctor/strain").glob("pbe-*/rest/*")}
    assert "data-file-schema.xml" in outputs


WRONG = ["wrong_stress", "wrong_shear", "wrong_sign", "scaled", "kbar"]


@pytest.mark.parametrize("fault", WRONG)
def test_a_level_whose_stress_is_wrong_is_caught(strain, tmp_path, fault):
    status, said, (found,) = strain(qe(tmp_path), QE_DOUBLE_FAULT=fault)
    assert status == 1
    assert "WRONG Si at pbe: stress, and slope of the free energy" in said
    assert "the code's stress is wrong at this level, or its cut-off is too low" in said
    assert found["verdict"] == "failed"
    assert found["difference_GPa"] > found["tolerance_GPa"]


def test_a_campaign_whose_level_failed_does_not_start_and_says_what_to_do(strain, tmp_path):
    strain(qe(tmp_path), QE_DOUBLE_FAULT="wrong_sign")
    shutil.rmtree(tmp_path / "work")
    status, said = say(tmp_path, "run")
    assert status == 1
    assert "the campaign does not start: level pbe failed its strain test" in said
    assert "differs from the slope of its energy by " in said
    assert "test it again: `pesatlas doctor --strain`" in said
    assert not (tmp_path / "results/structures.parquet").exists(), "not one job ran"
    status, said = say(tmp_path, "run", "-n")
    assert status == 0, said
    assert "Warning: `pesatlas run` will refuse: level pbe failed its strain test" in said
    assert "prepare_structures" in said
    _, said = say(tmp_path, "plan", "--structures", "1")
    assert "Level pbe, stress against strain: FAILED" in said
    assert "`pesatlas run` refuses: level pbe failed its strain test" in said
    status, said = say(tmp_path, "doctor")
    assert status == 1
    assert "WRONG level pbe, stress against strain: FAILED" in said


def looked_up(tmp_path):
    """Refusals of the campaign in a folder, and what is said of its levels."""
    campaign = read_campaign(tmp_path / "config.yaml", extensions=False)
    results = tmp_path / "results"
    return refusals(campaign, results), [check.text for check in strain_lines(campaign, results)]


def test_a_result_of_other_settings_is_no_result_and_a_new_one_takes_the_place_of_the_old(strain, tmp_path):
    label = qe(tmp_path)
    strain(label, QE_DOUBLE_FAULT="wrong_sign")
    assert "failed its strain test" in looked_up(tmp_path)[0][0]
    other = label | {"backend": label["backend"] | {"cutoffs_Ry": {"Si": [40, 320]}}}
    configure(tmp_path, other)
    assert looked_up(tmp_path) == (
        [],
        ["level pbe, stress against strain: not tested (`pesatlas doctor --strain`)"],
    )
    configure(tmp_path, label)
    assert "failed its strain test" in looked_up(tmp_path)[0][0]
    strain(label)
    found, (line,) = looked_up(tmp_path)
    assert found == []
    assert line.startswith("level pbe, stress against strain: 0.")


def test_levels_that_were_never_tested_start_and_need_no_programs_to_say_so(tmp_path):
    label = qe(tmp_path)
    shutil.rmtree(tmp_path / "upf")
    configure(tmp_path, label)
    assert looked_up(tmp_path) == (
        [],
        ["level pbe, stress against strain: not tested (`pesatlas doctor --strain`)"],
    )


@pytest.mark.slow
@needs_pw
def test_quantum_espresso_passes_as_it_is(strain, tmp_path):
    backend = options(make_set(tmp_path / "upf", ["Si"]), ["Si"]).model_dump(mode="json")
    status, said, (found,) = strain({"backend": backend, "levels": ["pbe"]})
    assert status == 0, said
    assert found["verdict"] == "passed"
    assert found["difference_GPa"] < 0.5


@pytest.mark.slow
def test_gpaw_passes_at_both_levels(strain):
    pytest.importorskip("gpaw")
    label = {"backend": {"kind": "gpaw", "quality": "demo"}, "levels": ["pbe", "r2scan"]}
    status, said, found = strain(label)
    assert status == 0, said
    assert [each["verdict"] for each in found] == ["passed", "passed"]


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
    assert [each["level"] for each in found] == ["pbe", "r2scan"]


def test_a_potential_is_tested_as_well(strain):
    potential = {"kind": "chgnet", "version": "0.2.0"}
    status, said, _ = strain({"backend": {"kind": "mlip", "potential": potential}, "levels": ["mlip"]})
    assert status == 0, said
    assert "Si at mlip: stress, and slope" in said


def test_a_calculation_that_fails_is_wrong_says_why_and_leaves_the_earlier_result(strain, tmp_path):
    _, _, before = strain(qe(tmp_path))
    status, said, found = strain(qe(tmp_path), QE_DOUBLE_FAULT="segfault")
    assert status == 1
    assert "Si at pbe: no label (crashed: pw.x ended with status 139" in said
    assert found == before


def test_without_a_small_crystal_of_known_elements_it_says_which_would_do(strain, tmp_path):
    status, said, found = strain(qe(tmp_path, ["Fe"]))
    assert (status, found) == (1, [])
    assert "no small crystal of the elements that the backend knows (Fe); it has Si, SiC" in said
