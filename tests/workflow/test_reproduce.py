"""A label that is calculated again from what `pesatlas reproduce` writes is the same label."""

import os
import subprocess
import sys

from typer.testing import CliRunner

from pesatlas.cli.main import app


def test_a_label_given_again_by_gpaw_is_the_same(tiny, tmp_path):
    name = tiny.dataset("pbe")[-1]["snapshot_id"]
    done = CliRunner().invoke(
        app, ["reproduce", name, str(tiny.path / "results"), "--to", str(tmp_path / "again")]
    )
    assert done.exit_code == 0, done.output
    place = tmp_path / "again/pbe"
    for command in (["calculate.py", "in.json", "out.json"], ["compare.py"]):
        said = subprocess.run(
            [sys.executable, *command],
            cwd=place,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    differences = {line.split()[0]: float(line.split()[-1]) for line in said.splitlines()}
    assert set(differences) == {"energy_eV", "free_energy_eV", "forces_eV_per_A", "stress_eV_per_A3"}
    assert max(differences.values()) < 1e-4
