"""The examples in the help of commands, run on a finished campaign, a new one, or on crystals."""

import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pesatlas.cli.examples import EXAMPLES
from pesatlas.cli.main import app
from pesatlas.cli.new_config import new_config

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"
ROW = "mp-149:unit:300K-0.0001GPa:500"
# Where an example runs, and its number among those of its command.
RUN = {
    "init": ("crystals", 0),
    "run": ("new", 0),
    "stop": ("new", 0),
    "status": ("new", 2),
    "plan": ("new", 1),
    "store repair": ("new", 0),
    "config new": ("new", 1),
    "config check": ("new", 0),
    "config schema": ("new", 0),
    "summary": ("finished", 0),
    "verify": ("finished", 0),
    "query": ("finished", 2),
    "failures": ("finished", 0),
    "explain": ("finished", 0),
    "export": ("finished", 0),
    "release": ("finished", 0),
    "diff": ("finished", 0),
    "describe": ("finished", 0),
    "gaps": ("finished", 0),
}
# They take minutes, a cluster, or calculations: tests of their own run them.
ELSEWHERE = {
    "demo": "tests/workflow/test_wheel.py",
    "doctor": "tests/monitor/test_doctor.py",
    "cluster": "tests/monitor/test_cluster.py",
    "retry": "tests/cli/test_retry.py",
    "outputs": "tests/label/test_outputs.py",
    "reproduce": "tests/workflow/test_reproduce.py",
    "import": "tests/cli/test_import_runs.py",
    "compatible": "tests/cli/test_compatible.py",
    "select": "tests/cli/test_select.py",
    "benchmark": "tests/benchmark/test_command.py",
    "report": "tests/cli/test_report.py",
    "convergence": "tests/cli/test_convergence.py",
    "validate": "tests/cli/test_validate.py",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make the folder in which an example is typed."""

    def made(kind):
        monkeypatch.chdir(tmp_path)
        if kind == "crystals":
            write_cell()
            return tmp_path
        Path("config.yaml").write_text(new_config("demo", None, every=False))
        Path("config").mkdir()
        Path("config/matpes.yaml").write_text(new_config("demo", None, every=True))
        Path("store").mkdir()
        if kind == "finished":
            shutil.copytree(FINISHED, "results")
        return tmp_path

    return made


def write_cell():
    from ase.build import bulk

    Path("cells").mkdir()
    bulk("NaCl", "rocksalt", a=5.64).write("cells/NaCl.cif")


def test_every_command_has_an_example_that_a_test_runs():
    assert EXAMPLES.keys() == RUN.keys() | ELSEWHERE.keys()
    assert not RUN.keys() & ELSEWHERE.keys()
    assert [path for path in ELSEWHERE.values() if not (FINISHED.parents[2] / path).is_file()] == []


@pytest.mark.parametrize("name", RUN)
def test_an_example_in_the_help_runs(place, monkeypatch, name):
    kind, number = RUN[name]
    place(kind)
    monkeypatch.setenv("COLUMNS", "200")
    typed, _ = EXAMPLES[name][number]
    if name == "diff":
        CliRunner().invoke(app, ["release", "2026.1"])
    row = pq.read_table(FINISHED / "selection.parquet", columns=["snapshot_id"])["snapshot_id"][0].as_py()
    words = shlex.split(typed.split(" > ")[0].replace(ROW, row))
    assert words[0] == "pesatlas"
    done = CliRunner().invoke(app, words[1:], prog_name="pesatlas")
    assert done.exit_code == 0, done.output
