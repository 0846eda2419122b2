"""Answers of `pesatlas retry`: failures there are, words it knows, and refusals."""

import json
import subprocess
import sys

import pytest
import yaml

from pesatlas.campaign.layout import path_of
from pesatlas.cli.lock import campaign_lock
from pesatlas.config.presets import preset
from pesatlas.runtime.progress import progress_file
from pesatlas.tables import FailureReason, write_table
from pesatlas.tables.failures import failure_row


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A campaign with one label that ran out of time, and an isolated atom that crashed."""
    monkeypatch.chdir(tmp_path)
    raw = preset("demo")[0].model_dump(mode="json")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    write_table(tmp_path / path_of("labels", batch=0), "labels", [], "s")
    write_table(tmp_path / path_of("atoms"), "atoms", [], "s", {"wanted": 1, "failed": 1})
    late = failure_row("label", "a:unit:300K-0GPa:0000050", "a", FailureReason.TIMEOUT, "", level="pbe")
    gone = failure_row("label", "atom:Si", "atom:Si", FailureReason.CRASHED, "", level="r2scan")
    write_table(tmp_path / path_of("label_failures", batch=0), "failures", [late], "s")
    write_table(tmp_path / path_of("atom_failures"), "failures", [gone], "s")
    return tmp_path


def retry(*arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", "retry", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and path.name != ".pesatlas.lock"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "1 timeout at pbe, 1 crashed at r2scan"),
        (
            ("--reason", "bad_output"),
            "nothing in results matches. There are: 1 timeout at pbe, 1 crashed at r2scan",
        ),
        (("--quarantined",), "nothing in results matches"),
        (("--reason", "tiemout"), "labels fail for one of bad_output, crashed, missing_pseudopotential"),
        (("--reason", "exploded_volume"), "a reason of another stage"),
        (("--reason", "quarantined"), "only with --quarantined"),
        (("--reason", "timeout"), "does not have a:unit:300K-0GPa:0000050"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(folder, arguments, message):
    write_table(folder / path_of("selection"), "selection", [], "s")
    before = files(folder)
    status, output = retry(*arguments)
    assert status == 1
    assert message in output
    assert "Traceback" not in output
    assert {path for path in files(folder) if path.parts[-3:-1] != ("store", "labels")} == before


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--reason", "timeout")])
def test_where_nothing_failed_there_is_nothing_to_repeat(folder, arguments):
    for table in (path_of("label_failures", batch=0), path_of("atom_failures")):
        write_table(folder / table, "failures", [], "s")
    status, output = retry(*arguments)
    assert (status, output.partition(". ")[0]) == (0, "Nothing failed, so there is nothing to repeat")


def test_a_dry_run_only_tells(folder):
    before = files(folder)
    status, output = retry("--reason", "crashed", "--dry-run")
    assert (status, files(folder)) == (0, before)
    assert "1 crashed at r2scan, in 1 of the tables" in output


def test_it_is_refused_while_a_run_is_alive(folder):
    before = files(folder)
    with campaign_lock(folder):
        status, output = retry("--reason", "crashed")
    assert (status, files(folder)) == (1, before)
    assert "another `pesatlas run`" in output


def test_it_is_refused_while_orphans_are_alive(folder):
    with progress_file("label_batch", "00001"):
        status, output = retry("--reason", "crashed")
    assert status == 1
    assert "1 jobs of this campaign are active" in output
    assert (folder / path_of("atoms")).exists()


def test_tables_go_and_the_rest_stays(folder):
    status, output = retry("--reason", "crashed")
    assert status == 0
    assert "1 crashed at r2scan" in output
    assert not (folder / path_of("atoms")).exists()
    assert (folder / path_of("labels", batch=0)).exists()


def test_what_would_be_repeated_is_json_for_programs(folder):
    command = [
        sys.executable,
        "-m",
        "pesatlas.cli.main",
        "retry",
        "--reason",
        "timeout",
        "--dry-run",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "labels": [{"level": "pbe", "reason": "timeout", "rows": 1}],
        "tables": 1,
        "repeated": 0,
    }
