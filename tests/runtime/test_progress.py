"""The file of a job's progress: at the start, now and then, at the end; never a reason to stop."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pesatlas.runtime import progress
from pesatlas.runtime.progress import Progress, progress_file, report


def read(path):
    return json.loads(path.read_text())


def test_the_file_is_there_from_the_start_to_the_end(tmp_path):
    path = tmp_path / "label_batch-00003.json"
    before = time.time()
    with progress_file("label_batch", "00003", tmp_path):
        state = read(path)
        assert (state["rule"], state["batch"], state["state"]) == ("label_batch", "00003", "running")
        assert state["pid"] == os.getpid()
        assert before <= state["started"] <= state["updated"] <= time.time()
        steps = Progress("snapshots labelled", 3)
        assert (read(path)["done"], read(path)["total"]) == (0, 3)
        steps.step()
        steps.step(failed=1)
        assert read(path)["done"] == 0  # not at every step
    state = read(path)
    assert (state["state"], state["done"], state["failed"], state["total"]) == ("finished", 2, 1, 3)
    assert state["left_s"] == pytest.approx(1 / state["speed"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_it_is_written_again_after_the_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    with progress_file("encode_snapshots", folder=tmp_path):
        Progress("encoded", 10).step(4)
        assert read(tmp_path / "encode_snapshots.json")["done"] == 4


def test_an_error_is_told(tmp_path):
    with pytest.raises(ZeroDivisionError), progress_file("run_md", "00000", tmp_path):
        raise ZeroDivisionError
    assert read(tmp_path / "run_md-00000.json")["state"] == "failed"


def test_outside_a_job_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Progress("read").step()
    report("read", 1, None, now=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "work").write_text("in the way")
    with progress_file("run_md", "00000", tmp_path / "work" / "progress"):
        Progress("read", 2).step()
    assert len(caplog.records) == 1


JOB = """
import sys, time, types
from pathlib import Path
from pesatlas.campaign.job import job
from pesatlas.runtime.progress import Progress
snakemake = types.SimpleNamespace(
    wildcards={"potential": "mine", "property": "speed"}, input=[],
    threads=1, rule="label_batch", log=["logs/label_batch/00007.log"], config=__CONFIG__)
with job(snakemake):
    Progress("waits", 5)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_job_that_is_told_to_stop_says_so_and_one_that_is_killed_cannot(tmp_path):
    from pesatlas.config.presets import preset

    program = JOB.replace("__CONFIG__", repr(preset("demo")[0].model_dump(mode="json")))
    for number, state in ((signal.SIGTERM, "stopped"), (signal.SIGKILL, "running")):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        process.communicate()
        found = read(tmp_path / "work/progress/label_batch-00007.json")
        assert (found["state"], found["pid"], found["total"]) == (state, process.pid, 5)


def test_jobs_of_one_rule_that_run_at_once_have_files_of_their_own(tmp_path):
    from pesatlas.config.presets import preset

    config = preset("demo")[0].model_dump(mode="json")
    for name, batch in (
        ("grid_atoms/00003", "00003"),
        ("run_benchmark/my-own-speed-00000", "my-own-speed-00000"),
    ):
        program = JOB.replace("__CONFIG__", repr(config)).replace("time.sleep(60)", "pass")
        rule = name.split("/")[0]
        program = program.replace("label_batch/00007", name).replace('rule="label_batch"', f'rule="{rule}"')
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
        assert read(tmp_path / f"work/progress/{rule}-{batch}.json")["batch"] == batch
