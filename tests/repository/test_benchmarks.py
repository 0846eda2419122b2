"""Every program in benchmarks/ starts, and says what it is for; those that take no time run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forked import run_in_forks

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "benchmarks").glob("*.py"))
SMALLEST = {"export.py": ["--rows", "20"]}


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}


def run(program, *arguments, folder):
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_a_program(path):
    return any(isinstance(node, ast.If) for node in ast.parse(path.read_text()).body)


HELP = """
import runpy, sys
sys.argv = [{path!r}, "--help"]
sys.path.insert(0, {folder!r})
runpy.run_path({path!r}, run_name="__main__")
"""


def test_a_benchmark_starts_and_says_what_it_is_for(tmp_path):
    programs = [path for path in PROGRAMS if is_a_program(path)]
    found = run_in_forks(
        {path.name: HELP.format(path=str(path), folder=str(path.parent)) for path in programs},
        ["torch", "ase.build", "pymatgen.core", "pesatlas.config.campaign", "pesatlas.cli.main"],
        cwd=tmp_path,
        env=environment(),
    )
    wrong = {}
    for path in programs:
        purpose = ast.get_docstring(ast.parse(path.read_text())).split()
        status, said = found[path.name]
        if status or " ".join(purpose[:6]) not in " ".join(said.split()):
            wrong[path.name] = said
    assert wrong == {}
    assert len(programs) > 15


@pytest.mark.parametrize("name", SMALLEST)
def test_a_quick_benchmark_runs(name, tmp_path):
    said = run(ROOT / "benchmarks" / name, *SMALLEST[name], folder=tmp_path)
    assert len([line for line in said.splitlines() if line.startswith("|")]) > 5


def test_what_the_consumers_are_compared_by_finds_a_wrong_sign_and_a_lost_row(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import consumers

    row = {
        "energy_eV": -1.0,
        "free_energy_eV": -1.5,
        "forces_eV_per_A": [0.0, 0.0, 2.0],
        "stress_eV_per_A3": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
    stress = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
    read = {"energy": -1.5, "forces": [[0.0, 0.0, 2.0]], "stress": stress}
    found = consumers.deviations({"a": read}, {"a": row})
    assert found == {"energy": 0.5, "free energy": 0.0, "forces": 0.0, "stress": 0.0}
    read["stress"] = [[-each for each in line] for line in stress]
    assert consumers.deviations({"a": read}, {"a": row})["stress"] == 12.0
    with pytest.raises(RuntimeError, match="1 rows of 2"):
        consumers.deviations({"a": read}, {"a": row, "b": row})
