"""The summary of a campaign: complete, and readable on a narrow terminal."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from pesatlas.campaign.layout import below
from pesatlas.report.summary import summary
from pesatlas.tables import FailureReason, write_table
from pesatlas.tables.failures import failure_row

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_2"


def shown(results):
    console = Console(file=io.StringIO(), width=80)
    console.print(summary(results))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FINISHED, "results")
    return Path("results")


def test_it_tells_what_came_of_it_and_where_it_is(results):
    below(results, "report").touch()
    (results / "exports" / "mace").mkdir(parents=True)
    (results / "exports" / "mace" / "export.json").touch()
    lines = shown(results)
    told = [" ".join(line.split()) for line in lines]
    for expected in (
        "Campaign test",
        "structures 2 of 3 read",
        "snapshots 6 of which 0 equilibrium crystals",
        "selected 4 of 6",
        "exported pbe 4 of 4 selected",
        "structures - unreadable 1",
        "dataset results/dataset/r2scan/",
        "to train on results/exports/: mace",
        "report results/report.html",
        "check it pesatlas verify results",
    ):
        assert expected in told
    assert not any("card" in line for line in lines)  # there is none here
    assert max(map(len, lines)) <= 80


def test_labels_that_failed_are_told_by_level_and_reason_with_what_to_do(results):
    manifest = json.loads(below(results, "manifest").read_text())
    for entry in manifest["files"]:
        if entry["file"] == "labels/00001.parquet":
            entry["counts"]["failed_r2scan"] = 2
        if entry["file"] == "dataset/pbe/part-00000.parquet":
            entry["counts"] |= {"accepted": 0, "flagged": 3, "quarantined": 1}
        if entry["file"] == "dataset/r2scan/part-00000.parquet":
            entry["counts"]["accepted"] = 2
        if entry["file"] == "failures/label/00001.parquet":
            rows = [
                failure_row("label", f"s{i}", "s", FailureReason.TIMEOUT, "", level="r2scan")
                for i in range(2)
            ]
            write_table(results / entry["file"], "failures", rows, "x")
            entry["rows"] = 2
    below(results, "manifest").write_text(json.dumps(manifest))
    told = [" ".join(line.split()) for line in shown(results)]
    assert "exported pbe 0 of 4 selected: 3 flagged, 1 quarantined" in told
    assert "exported r2scan 2 of 4 selected: 2 failed (timeout 2)" in told
    assert "label r2scan timeout 2" in told
    assert "`pesatlas retry`" in " ".join(told)


def test_crystals_read_with_warnings_are_counted_and_the_kinds_told(results):
    from pesatlas.tables import read_table

    assert not any("warnings" in line for line in shown(results))
    path = below(results, "structures")
    rows = read_table(path, "structures").to_pylist()
    first = {row["structure_id"] for row in rows[:1]}
    for row in rows:
        row["warnings"] = []
        if row["structure_id"] in first:
            row["warnings"] = ["a.cif: deuterium (D) is read as hydrogen", "a.cif: O1 moved by 0.002 Å"]
    write_table(path, "structures", rows, "x")
    told = " ".join(" ".join(shown(results)).split())
    assert "1 of 2 crystals were read with warnings: deuterium (D) is read as hydrogen (1); O1 moved" in told
    assert "column 'warnings' of structures.parquet" in told
