"""Small campaigns that are run for real: chgnet dynamics and GPAW labels of one or two crystals."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Folder:
    """A working folder with a configuration, in which campaigns are started as a user starts them."""

    def __init__(self, path, changes):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.configuration = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
        self.change(changes)

    def change(self, changes):
        """Change values by dotted key and write config.yaml."""
        self.configuration = copy.deepcopy(self.configuration)
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = self.configuration
            for parent in parents:
                section = section[int(parent)] if isinstance(section, list) else section[parent]
            section[last] = value
        (self.path / "config.yaml").write_text(yaml.safe_dump(self.configuration))

    def command(self, *arguments):
        return [
            sys.executable,
            "-m",
            "pesatlas.cli.main",
            "run",
            "--profile",
            str(ROOT / "profiles/local"),
            "-s",
            str(ROOT / "Snakefile"),
            *arguments,
        ]

    def run(self, *arguments, expect=0):
        done = subprocess.run(
            self.command(*arguments), cwd=self.path, capture_output=True, text=True, timeout=900, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == expect, output
        return output

    def kill_after(self, seconds, *arguments):
        """Start a run in a process group of its own and kill all of it; return whether it was still running."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.2)
            return True
        return False

    def dataset(self, level):
        """Rows of the dataset, without how long they took."""
        table = pq.read_table(self.path / "results" / "dataset" / level / "part-00000.parquet")
        return table.drop_columns(["wall_s"]).to_pylist()

    def log(self, name):
        return (self.path / "logs" / name).read_text()


# One crystal of two atoms, a tenth of a picosecond, four labels: every stage for real, in a minute.
TINY = {
    "structures.sources": [{"kind": "demo", "names": ["Si"]}],
    "structures.domains.0.supercell": None,
    "explore.length_ps": 0.1,
    "explore.frame_interval_ps": 0.01,
    "select.target": 4,
    "label.structures_per_job": 2,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A finished campaign. Tests that change it work on a copy."""
    folder = Folder(tmp_path_factory.mktemp("tiny") / "campaign", TINY)
    folder.output = folder.run()
    return folder


@pytest.fixture
def make_folder(tmp_path):
    """Return a function that makes a working folder with the tiny campaign and some changes."""

    def make(changes=None, name="campaign"):
        return Folder(tmp_path / name, TINY | (changes or {}))

    return make
