"""Stale results, counted by stage and shown."""

import io
from pathlib import Path

from rich.console import Console

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.monitor.counts import Stage
from pesatlas.monitor.screen import screen
from pesatlas.monitor.stale import count_stale
from pesatlas.monitor.status import read_status

DONE = {
    "structures": 1,
    "explore": 3,
    "encode": 2,
    "select": 4,
    "atoms": 1,
    "label": 5,
    "dataset": 3,
    "train": 1,
    "report": 2,
}


def counted(*names):
    stages = [Stage(name, "jobs", batches=count + 1, batches_done=count) for name, count in DONE.items()]
    count_stale(stages, [Path(name) for name in names])
    return {stage.name: stage.stale for stage in stages if stage.stale}


def test_jobs_are_counted_once_and_with_what_follows_from_them():
    whole = {name: DONE[name] for name in ("select", "label", "dataset", "train", "report")}
    one = ("results/snapshots/00001.parquet", "results/failures/explore/00001.parquet")
    assert counted(*one) == {"explore": 1, "encode": 1, **whole}
    assert counted("results/labels/00002.parquet", "results/failures/label/00003.parquet") == {
        "label": 2,
        **{name: DONE[name] for name in ("dataset", "train", "report")},
    }
    assert counted("results/structures.parquet") == DONE
    assert counted("results/labels/atoms.parquet").keys() == {"atoms", "dataset", "train", "report"}
    assert counted("results/manifest.json") == {"dataset": 1, "train": 1, "report": 2}
    assert counted("results/card.json", "results/card.md", "results/exports/mace/export.json") == {
        "dataset": 2
    }
    assert counted("results/report.html") == {"report": 1}
    assert counted() == {}


def test_stale_results_are_shown_with_the_reason_and_the_campaign_is_not_finished(halfway):
    campaign = read_campaign(halfway.folder / "config.yaml", extensions=False)
    status = read_status(halfway.folder, campaign, job_prefix(halfway.folder))
    assert status.as_json()["stale"] == []
    for stage in status.stages:
        stage.batches = stage.batches_done = 2
    assert status.finished
    status.stages[1].stale = 1
    status.stale = {Path("results/snapshots/00000.parquet"): ("explore.timestep_fs was 2.0, is [1.0]",)}
    assert not status.finished
    console = Console(file=io.StringIO(), width=200)
    console.print(screen(status, console))
    said = " ".join(console.file.getvalue().split())
    assert "that differ from the configuration: explore 1/2. explore.timestep_fs was 2.0, is [1.0]." in said
    assert "finished" not in said
    (found,) = status.as_json()["stale"]
    assert found["file"] == "results/snapshots/00000.parquet"
