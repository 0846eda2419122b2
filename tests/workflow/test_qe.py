"""Two crystals from structures to report with Quantum ESPRESSO, and their forces beside those of GPAW."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from made_once import made_once
from pesatlas.label.backend import Result, Task
from pesatlas.label.backends import gpaw
from pesatlas.levels.gpaw import levels
from pesatlas.testing.workdir import make_workdir
from qe_files import make_set, needs_pw, options
from small_campaign import TINY, SmallCampaign

pytestmark = needs_pw
K_SPACING_PER_A = 0.8


def say(folder, *command, timeout=300):
    """Run a command of pesatlas in a campaign's folder; its output, when it succeeds."""
    done = subprocess.run(
        [sys.executable, "-m", "pesatlas.cli.main", *command],
        cwd=folder.path,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The finished campaign."""
    with made_once(tmp_path_factory, "qe") as (place, is_made):
        backend = options(make_set(place / "upf", ["C", "Si"]), ["C", "Si"]).model_dump(mode="json")
        changes = {
            "structures.sources": [{"kind": "demo", "names": ["Si", "SiC"]}],
            "label.backend": backend,
            "label.levels": ["pbe"],
        }
        folder = SmallCampaign(place / "campaign", TINY | changes)
        if not is_made:
            say(folder, "run", timeout=800)
    return folder


def rows(folder):
    return pq.read_table(folder.path / "results/dataset/pbe/part-00000.parquet").to_pylist()


def test_every_pick_is_in_the_dataset_with_cohesive_energy_and_level(finished):
    found = rows(finished)
    assert len(found) == 4
    assert {row["formula"] for row in found} == {"Si", "CSi"}
    for row in found:
        assert row["code"] == "quantum-espresso 6.7MaX"
        assert -9 < row["cohesive_energy_eV_per_atom"] < -4
        assert json.loads(row["settings"])["pw"]["system"]["nspin"] == 2
        assert len(row["magmoms_muB"]) == row["n_atoms"]
    assert (finished.path / "results/report.html").is_file()
    assert "coarse quality" in (finished.path / "results/card.md").read_text()


def test_forces_are_those_of_gpaw_within_what_pseudopotentials_explain(finished, tmp_path):
    level = levels(gpaw.Options(quality="coarse"), ["pbe"])["pbe"]
    # Fermi-Dirac smearing of 0.05 eV would fill states above the gap that Gaussian smearing leaves empty
    finer = {"cutoff_eV": {"default": 600.0}, "kpoint_spacing_per_A": K_SPACING_PER_A, "width_eV": 0.005}
    level = level.model_copy(update={"settings": {**level.settings, **finer}})
    worst, stress, strongest = 0.0, 0.0, 0.0
    for i, row in enumerate(rows(finished)):
        cell, positions = np.reshape(row["cell_A"], (3, 3)), np.reshape(row["positions_A"], (-1, 3))
        task = Task(np.array(row["numbers"]), cell, positions, level)
        other = gpaw.calculate(task, gpaw.Options(), make_workdir(tmp_path / str(i), 600.0))
        assert isinstance(other, Result), other
        mine = np.reshape(row["forces_eV_per_A"], (-1, 3))
        strongest = max(strongest, np.abs(mine).max())
        worst = max(worst, np.abs(mine - other.forces_eV_per_A).max())
        stress = max(stress, np.abs(np.subtract(row["stress_eV_per_A3"], other.stress_eV_per_A3)).max())
    sys.stderr.write(
        f"forces {worst:.4f} of {strongest:.3f} eV/Å, stress {stress * 160.2177:.2f} GPa apart\n"
    )
    assert strongest > 0.3
    assert worst < 0.05
    assert stress * 160.2177 < 3.0


def test_plan_and_doctor_know_it(finished):
    plan = say(finished, "plan", "--from", ".")
    assert "measured in" in plan
    assert "backend qe" in plan
    doctor = say(finished, "doctor")
    assert "Quantum ESPRESSO 6.7MaX is started with" in doctor
    assert "Si: Si.pbe-nl-rrkjus_psl.1.0.0.UPF (USPP, PBE), 30 and 180 Ry" in doctor
    assert (finished.path / "work/doctor/pbe/pw.in").is_file()


def test_a_label_can_be_given_again(finished, tmp_path):
    wanted = rows(finished)[0]["snapshot_id"]
    say(finished, "reproduce", wanted, "--to", str(tmp_path / "again"))
    settings = json.loads((tmp_path / "again/pbe/settings.json").read_text())
    assert settings["pw"]["system"]["smearing"] == "gaussian"
