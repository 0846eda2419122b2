"""The outputs that docs/vasp.md shows of existing runs are what is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from existing_runs import collection

PAGE = Path(__file__).parents[2] / "docs" / "vasp.md"
COMMAND = re.compile(r"```console\n\$ (pesatlas (?:import|compatible) [^\n]*)\n(.*?)```", re.DOTALL)
SHOWN = dict(COMMAND.findall(PAGE.read_text()))


def lines(text):
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return collection(tmp_path_factory.mktemp("docs")).parent


def test_there_are_commands():
    assert len(SHOWN) == 2


@pytest.mark.parametrize(("command", "status"), list(zip(SHOWN, (0, 1), strict=True)))
def test_the_page_shows_what_is_printed(folder, command, status):
    words = [sys.executable, "-m", "pesatlas.cli.main", *command.split()[1:]]
    environment = {**os.environ, "COLUMNS": "130"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert lines(done.stdout) == lines(SHOWN[command])
