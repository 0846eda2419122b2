"""`pesatlas failures` and other looks at a campaign, also one that has not finished."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import pesatlas
from pesatlas.campaign.layout import below
from pesatlas.cli.failures import SHOWN, show_failures
from pesatlas.cli.query import explain_row, query
from pesatlas.dataset.remedies import REMEDIES
from pesatlas.errors import UserError
from pesatlas.report.summary import summary
from pesatlas.tables import FailureReason, read_table, write_table
from pesatlas.tables.failures import failure_row

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"


@pytest.fixture
def results(tmp_path):
    shutil.copytree(FINISHED, tmp_path / "campaign" / "results")
    return tmp_path / "campaign" / "results"


@pytest.fixture
def halfway(results):
    """One batch of labels is there, and no dataset."""
    for gone in ("manifest.json", "labels/00001.parquet"):
        (results / gone).unlink()
    for gone in ("dataset", "quarantine"):
        shutil.rmtree(results / gone)
    rows = [
        failure_row("explore", f"s:unit:300K:{i}", "s", FailureReason.EXPLODED_VOLUME, f"volume {i}")
        for i in range(SHOWN + 3)
    ]
    write_table(below(results, "explore_failures", batch=0), "failures", rows, "x")
    return results


def printed(show, *arguments, **options):
    console = Console(file=io.StringIO(), width=200)
    show(*arguments, console=console, **options)
    return " ".join(console.file.getvalue().split())


def failures(results, *reasons, to=None, every=False, as_json=False):
    return printed(show_failures, results, reasons, to, every=every, as_json=as_json)


def test_every_reason_has_a_remedy():
    assert REMEDIES.keys() == set(FailureReason)


def test_failures_are_listed_with_sentence_and_remedy_while_the_campaign_runs(halfway, tmp_path):
    told = failures(halfway)
    assert "This campaign has not finished. Not there yet: labels: 1 of 2; dataset: none yet" in told
    assert f"explore: exploded_volume ({SHOWN + 3})" in told
    assert "s:unit:300K:0: volume 0" in told
    assert REMEDIES[FailureReason.EXPLODED_VOLUME] in told
    assert "… and 3 more" in told
    assert f"volume {SHOWN + 2}" in failures(halfway, every=True)
    assert "unreadable" not in failures(halfway, "exploded_volume")
    failures(halfway, "exploded_volume", to=tmp_path / "rows.csv")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == SHOWN + 4
    rows = json.loads(failures(halfway, as_json=True))
    assert rows[0]["remedy"] == REMEDIES[FailureReason(rows[0]["reason"])].replace("KEY", rows[0]["key"])
    with pytest.raises(UserError, match=r"no failure has the reason 'timeout'\. There are: exploded_volume"):
        failures(halfway, "timeout")


def test_tables_are_open_while_a_campaign_runs(halfway):
    told = printed(query, "SELECT count(*) AS n FROM labels", halfway, None)
    assert "This campaign has not finished." in told
    labelled, waiting = (
        read_table(halfway / "selection.parquet", "selection")["snapshot_id"].to_pylist()[i] for i in (0, 3)
    )
    assert "none yet: the dataset is collected when all labels are there" in printed(
        explain_row, labelled, halfway
    )
    assert "it waits for its calculation" in printed(explain_row, waiting, halfway)
    told = printed(explain_row, labelled.split(":")[0], halfway)
    assert "picks 3: 3 bulk" in told
    assert "labels at pbe so far 2" in told
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(halfway))
    told = " ".join(console.file.getvalue().split())
    assert "labelled pbe 2 of 4 selected: 2 pending" in told
    assert pesatlas.open(halfway, so_far=True).unfinished


def test_counts_of_an_unfinished_campaign_are_of_the_batches_that_are_there(halfway):
    (halfway.parent / "config.yaml").write_text("campaign: {name: named}")
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(halfway))
    told = " ".join(console.file.getvalue().split())
    assert told.startswith("Campaign named ")
    assert re.search(r"trajectories (\d+) of \d+ in the batches so far", told)


def test_before_anything_is_selected_that_is_said(halfway):
    for name in ("selection.parquet", "labels"):
        path = halfway / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    snapshot = read_table(halfway / "snapshots/00000.parquet", "snapshots")["snapshot_id"][0].as_py()
    assert "nothing is selected before all batches are encoded" in printed(explain_row, snapshot, halfway)


def test_a_folder_without_a_campaign_is_no_unfinished_one(tmp_path):
    with pytest.raises(UserError, match="no finished campaign"):
        pesatlas.open(tmp_path, so_far=True)


def test_a_finished_campaign_is_opened_as_before(results):
    assert pesatlas.open(results, so_far=True).unfinished == []
