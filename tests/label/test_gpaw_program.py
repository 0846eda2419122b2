"""GPAW as a program: what it gives back, how it ends, and that it leaves nothing behind."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pesatlas.label.backend import Charges, Failed, Task
from pesatlas.label.backends import gpaw
from pesatlas.levels.gpaw import levels
from pesatlas.tables import FailureReason
from pesatlas.testing.workdir import alive, make_workdir

SILICON = np.array([[0, 2.7155, 2.7155], [2.7155, 0, 2.7155], [2.7155, 2.7155, 0]])


def silicon(level, second=(1.35775, 1.35775, 1.35775)):
    return Task(np.array([14, 14]), SILICON, np.array([[0.0, 0, 0], second]), level)


@pytest.fixture(scope="module")
def pbe():
    return levels(gpaw.Options(quality="demo"), ["pbe"])["pbe"]


def changed(level, **settings):
    return level.model_copy(update={"settings": {**level.settings, **settings}})


def test_a_calculation_that_does_not_converge_gives_no_numbers(pbe, tmp_path):
    outcome = gpaw.calculate(silicon(changed(pbe, max_iterations=2)), gpaw.Options(), make_workdir(tmp_path))
    assert isinstance(outcome, Failed)
    assert outcome.reason == FailureReason.NOT_CONVERGED


def test_a_missing_paw_dataset_is_named(pbe, tmp_path):
    technetium = Task(np.array([43]), 3 * np.eye(3), np.zeros((1, 3)), pbe)
    outcome = gpaw.calculate(technetium, gpaw.Options(), make_workdir(tmp_path))
    assert (outcome.reason, outcome.detail) == (
        FailureReason.MISSING_PSEUDOPOTENTIAL,
        "no PAW dataset Tc.PBE.gz",
    )


def test_time_out_leaves_no_process_behind(pbe, tmp_path):
    outcome = gpaw.calculate(
        silicon(changed(pbe, kpoint_spacing_per_A=0.1)), gpaw.Options(), make_workdir(tmp_path, 3.0)
    )
    assert outcome.reason == FailureReason.TIMEOUT
    assert alive(tmp_path) == []


PARENT = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from pesatlas.testing.workdir import make_workdir
from pesatlas.label.backends import gpaw
from pesatlas.label.backend import Charges, Failed, Task
from pesatlas.levels.gpaw import levels
level = levels(gpaw.Options(quality="demo"), ["pbe"])["pbe"]
level = level.model_copy(update={"settings": {**level.settings, "kpoint_spacing_per_A": 0.1}})
cell = 2.7155 * (1 - np.eye(3))
gpaw.calculate(Task(np.array([14, 14]), cell, np.array([[0.0, 0, 0], [1.35775] * 3]), level), gpaw.Options(), make_workdir(Path(sys.argv[1]), 600))
"""


def test_it_dies_with_its_parent(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parents[1])])
    deadline = time.monotonic() + 60
    while not alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)  # past the start of Python
    assert alive(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(tmp_path) == []


GOOD = {
    "numbers": [14, 14],
    "cell": SILICON.tolist(),
    "positions": [[0.0, 0, 0], [1.35775] * 3],
    "energy": -10.0,
    "free_energy": -10.0,
    "forces": [[0.0] * 3] * 2,
    "stress": [0.0] * 6,
    "magmoms": None,
    "band_gap": 0.5,
    "scf_steps": 9,
    "converged": True,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": [[0.0, 0, 0], [1.3578] * 3]}, "wrong_structure"),
        ({"numbers": [14, 32]}, "wrong_structure"),
        ({"cell": (1.001 * SILICON).tolist()}, "wrong_structure"),
        ({"energy": float("nan")}, "not_finite"),
        ({"stress": [float("inf")] + [0.0] * 5}, "not_finite"),
        ({"converged": False}, "not_converged"),
        ({"forces": [[0.0] * 3]}, "bad_output"),
        ({"stress": [0.0] * 9}, "bad_output"),
        ({"energy": "low"}, "bad_output"),
        ({"failed": "tired", "detail": "?"}, "bad_output"),
    ],
)
def test_output_that_is_not_a_label_is_refused(pbe, tmp_path, change, reason):
    (tmp_path / "out.json").write_text(json.dumps(GOOD | change))
    assert gpaw.parse(silicon(pbe), {}, tmp_path, 1.0).reason == reason


@pytest.mark.parametrize("text", [None, "", '{"energy": -1', "[]", '{"energy": -1}'])
def test_missing_or_torn_output_is_refused(pbe, tmp_path, text):
    if text is not None:
        (tmp_path / "out.json").write_text(text)
    assert gpaw.parse(silicon(pbe), {}, tmp_path, 1.0).reason == "bad_output"


def test_good_output_is_a_label(pbe, tmp_path):
    (tmp_path / "out.json").write_text(json.dumps(GOOD))
    assert gpaw.parse(silicon(pbe), {}, tmp_path, 1.0).energy_eV == -10.0


def test_a_program_that_dies_on_the_density_leaves_the_label_without_charges(pbe, tmp_path, monkeypatch):
    killed = Failed(FailureReason.OUT_OF_MEMORY, "GPAW was killed")
    task = replace(silicon(pbe), charges=True)

    def calculate(name, failure, *, whole):
        def run(place):
            if whole:
                (place.scratch / "out.json").write_text(json.dumps(GOOD))
            return failure

        monkeypatch.setattr(gpaw, "run", run)
        return gpaw.calculate(task, gpaw.Options(quality="demo"), make_workdir(tmp_path / name))

    assert calculate("a", killed, whole=False) == killed
    result = calculate("b", killed, whole=True)
    assert result.energy_eV == -10.0
    assert result.charges == Charges(missing="after the label was calculated: GPAW was killed")
    assert "GPAW's density can't be read" in calculate("c", None, whole=True).charges.missing
