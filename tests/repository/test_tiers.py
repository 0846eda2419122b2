"""Tiers of tests follow from measured durations, and fit in the times that are promised for them."""

import os
import re
import subprocess
import sys

import pytest

import changed
import tiers

MEASURED = tiers.read_durations()
AT_ONCE = 3  # how many ran beside each other when they were measured, on two cores
# CI's machine took 1,491 s (2026-11-29) for what comes to 481 s by this file; collecting, fixtures and tests
# that take no time included.
SLOWER = 3.1


def test_measured_tests_are_still_there():
    gone = [name for name in MEASURED if not tiers.is_there(name)]
    assert gone == [], "rename them in tests/durations.json, or take them out"


def collected(*arguments):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, *arguments], cwd=tiers.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 5}, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_every_test_is_in_one_of_both_parts_and_the_proof_is_in_the_first():
    where = "tests/workflow/test_campaign.py"
    first, rest, everything = (collected(where, *marks) for marks in (["-m", "not slow"], ["-m", "slow"], []))
    assert first | rest == everything
    assert not first & rest
    proof = collected(where, "-m", "proof")
    assert proof
    assert proof <= first
    assert collected(where, "-m", "quick") < first


TWO_TESTS = """
import time
import pytest

def test_later():
    pass

@pytest.mark.first
def test_earlier():
    time.sleep(4)
"""


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        (["--minutes", "0.05"], ["test_later"]),
        (["--minutes", "0", "-n", "1"], ["test_earlier", "test_later"]),
        (["--minutes", "10", "-n", "1"], []),
    ],
)
def test_what_has_not_begun_within_its_minutes_is_skipped_and_named(options, left_out, tmp_path):
    (tmp_path / "test_two.py").write_text(TWO_TESTS)
    settings = ["-p", "conftest", "-c", tiers.ROOT / "pyproject.toml", "--rootdir", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *settings, *options, "test_two.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tiers.ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^test_two.py::(\w+)$", done.stdout, re.MULTILINE) == left_out
    assert ("`make test-rest` runs them all" in done.stdout) == bool(left_out)


def proofs():
    for path in (tiers.ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(
            r"^@pytest\.mark\.proof\n(?:[@ )].*\n)*def (\w+)", path.read_text(), re.MULTILINE
        ):
            yield f"{path.relative_to(tiers.ROOT)}::{name}"


def test_make_test_fits_in_a_quarter_of_an_hour():
    proof = set(proofs())
    assert {"tests/report/test_page.py", "tests/workflow/test_campaign.py"} <= {
        name.split("::")[0] for name in proof
    }
    total = sum(s for name, s in MEASURED.items() if s <= tiers.SLOW_S or name in proof)
    assert total / AT_ONCE * SLOWER < 15 * 60


def test_the_quick_tests_of_every_stage_fit_in_a_minute():
    for folder in {name.rsplit("/", 1)[0] for name in MEASURED if ".py::" in name}:
        total = sum(s for name, s in MEASURED.items() if name.startswith(f"{folder}/") and s <= tiers.QUICK_S)
        assert total / AT_ONCE < 60, folder


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["src/pesatlas/label/batch.py", "tests/select/test_pick.py"], ["label", "repository", "select"]),
        (["workflow/rules/label.smk", "scripts/pick.py", "Snakefile"], ["repository", "workflow"]),
        (["docs/vasp.md", "config.yaml", "tests/made_once.py"], ["config", "docs", "repository"]),
        (["src/pesatlas/errors.py", "Makefile"], ["repository"]),
        ([], ["repository"]),
    ],
)
def test_changed_files_have_their_folders_of_tests(paths, found):
    assert changed.folders(paths) == [f"tests/{name}" for name in found]
