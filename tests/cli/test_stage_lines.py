"""A line as each stage begins, and what to look at in the end."""

import io
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from pesatlas.campaign.rules import RULES
from pesatlas.cli.controller import Stopped
from pesatlas.cli.ending import closing_lines, look_at
from pesatlas.cli.stage_lines import DEMO_TIMES, begun_since, stage_line, stage_lines
from pesatlas.config.presets import preset
from pesatlas.runtime.progress import FOLDER

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"


def begin(folder, job, at=None):
    path = folder / FOLDER / f"{job}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    if at is not None:
        os.utime(path, (at, at))


def test_a_stage_begins_with_its_first_job_of_this_run(tmp_path):
    now = time.time()
    begin(tmp_path, "prepare_structures-", now - 100)
    begin(tmp_path, "run_md-00000", now)
    begin(tmp_path, "label_batch-00000", now + 1)
    begin(tmp_path, "label_batch-00001", now + 2)
    assert begun_since(tmp_path, now - 1, set()) == ["explore", "label"]
    assert begun_since(tmp_path, now - 1, {"explore"}) == ["label"]
    assert begun_since(tmp_path / "nowhere", 0, set()) == []


def test_every_stage_has_a_line_that_names_potential_and_code(tmp_path):
    campaign, _, _ = preset("demo")
    lines = {stage: stage_line(stage, campaign, tmp_path, timed=True) for stage in RULES}
    assert "chgnet/0.3.0 on cpu" in lines["explore"]
    assert "0.5 ps" in lines["explore"]
    assert "up to 12 frames with gpaw at pbe and r2scan" in lines["label"]
    for stage, line in lines.items():
        assert line.endswith(".")
        assert ("About" in line) == (stage in DEMO_TIMES), stage


@pytest.mark.parametrize("name", ["demo", "battery"])
def test_only_the_first_run_of_the_demo_says_how_long(tmp_path, name):
    def told():
        console = Console(file=io.StringIO(), width=200)
        with stage_lines(tmp_path, preset(name)[0], console):
            begin(tmp_path, "run_md-00000")
            deadline = time.monotonic() + 10
            while "explore: " not in console.file.getvalue() and time.monotonic() < deadline:
                time.sleep(0.1)
        return console.file.getvalue()

    assert ("About 10 seconds on two cores." in told()) == (name == "demo")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "manifest.json").write_text("{}")
    assert "explore: " in told()
    assert "About" not in told()


def test_a_line_is_printed_once_while_a_run_is_under_way(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    with stage_lines(tmp_path, preset("demo")[0], console):
        for job in ("run_md-00000", "run_md-00001"):
            begin(tmp_path, job)
            deadline = time.monotonic() + 10
            while "explore: " not in console.file.getvalue() and time.monotonic() < deadline:
                time.sleep(0.1)
        time.sleep(1.5)
    assert console.file.getvalue().count("explore: molecular dynamics with chgnet/0.3.0") == 1


def test_what_to_look_at_is_there(tmp_path, monkeypatch):
    shutil.copytree(FINISHED, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    lines = look_at(Path("results"))
    assert len(lines) == 4
    assert "results/report.html" in lines[1]
    manifest = json.loads(Path("results/manifest.json").read_text())
    assert manifest["levels"]
    assert lines[3].split()[:3] == ["pesatlas", "explain", "NaCl-2:unit:300K-0GPa:0000050"]


def test_after_a_stop_what_is_there_can_be_looked_at(tmp_path):
    stopped = Stopped("quietly", "SIGTERM")
    assert "pesatlas summary" not in closing_lines(tmp_path, set(), 1, stopped=stopped, refused=[])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "structures.parquet").write_text("")
    said = closing_lines(tmp_path, set(), 1, stopped=stopped, refused=[])
    assert "nothing needs to be repaired" in said
    assert "What is there so far: `pesatlas status`, `pesatlas summary`" in said
