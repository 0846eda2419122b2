"""Small campaigns that are run for real: chgnet dynamics and GPAW labels of one or two crystals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from made_once import made_once
from small_campaign import TINY, SmallCampaign


class Folder(SmallCampaign):
    """A small campaign that is started as a user starts it, in a folder with nothing but its
    configuration."""

    def command(self, *arguments):
        return [sys.executable, "-m", "pesatlas.cli.main", "run", *arguments]

    def run(self, *arguments, expect=0):
        done = subprocess.run(
            self.command(*arguments), cwd=self.path, capture_output=True, text=True, timeout=900, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == expect, output
        return output

    def kill_after(self, seconds, *arguments):
        """Start a run in a process group of its own and kill all of it; return whether it was still
        running."""
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

    def log(self, name):
        return (self.path / "logs" / name).read_text()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A finished campaign. Tests that change it, or run it once more, work on a copy: workers read it at the
    same time."""
    with made_once(tmp_path_factory, "tiny") as (place, is_made):
        folder = Folder(place / "campaign", TINY)
        if not is_made:
            (place / "output.txt").write_text(folder.run())
        folder.output = (place / "output.txt").read_text()
    return folder


@pytest.fixture
def make_folder(tmp_path):
    """Return a function that makes a working folder with the tiny campaign and some changes."""

    def make(changes=None, name="campaign"):
        return Folder(tmp_path / name, TINY | (changes or {}))

    return make
