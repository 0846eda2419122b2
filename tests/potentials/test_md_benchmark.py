"""The benchmark of dynamics takes potentials of every kind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "md.py"
EMT = f"{{kind: external, python: {sys.executable}, loader: 'ase.calculators.emt:EMT', elements: [Al, Ni]}}"


def measured(*arguments):
    command = [sys.executable, SCRIPT, "--atoms", "16", "--steps", "10", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("potential", "name", "unit", "share"),
    [
        ("{kind: chgnet}", "chgnet/0.3.0", "CPU s", r"[\d.]+%"),
        (
            EMT,
            "external/ase",
            "wall s",  # what another process does takes none of our CPU seconds
            "-",
        ),
    ],
)
def test_any_kind_of_potential_fills_batches(potential, name, unit, share):
    done = measured("--potential", potential)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name} on cpu")
    assert f"steps·atoms per {unit}" in done.stdout
    assert re.search(rf"^\| \d+ \| \d+ \| 10 \| \d+ \| [\d.]+ \| {share} \|", done.stdout, re.MULTILINE)


def test_beside_matgls_own_loop_only_its_weights_are_measured():
    command = [sys.executable, SCRIPT, "--potential", "{kind: chgnet}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "give --atoms" in done.stderr
