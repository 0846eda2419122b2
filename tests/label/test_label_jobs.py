"""Label jobs as processes: one at a time on a batch, killed at any moment."""

import subprocess
import sys
import time

from pesatlas.tables import read_table

# A job with a backend that says when it begins and when it ends, and takes its time.
JOB = """
import os, sys, time, types
from pathlib import Path
import numpy as np
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.label.batch import label_batch
from pesatlas.label.backend import Result

config, selection, out, work, calls, pause = sys.argv[1:]

def say(word):
    with open(calls, "a") as handle:
        handle.write(f"{word} {os.getpid()}\\n")

def calculate(task, options, place):
    say("begin")
    time.sleep(float(pause))
    say("end")
    return Result(0.0, 0.0, np.zeros((len(task.numbers), 3)).tolist(), [0.0] * 6, None, 1.0, 5, True, [], {}, {}, 0.1)

plugins.find = lambda package, name: types.SimpleNamespace(calculate=calculate)
campaign = Campaign.model_validate_json(Path(config).read_text())
paths = {"selection": Path(selection), "labels": Path(out) / "labels.parquet", "failures": Path(out) / "failures.parquet", "work": Path(work)}
label_batch(campaign.label, campaign.campaign, 0, **paths)
"""


def start(campaign, selection, folder, pause, out="out"):
    config = folder / "campaign.json"
    config.write_text(campaign.model_dump_json())
    paths = [config, selection, folder / out, folder / "work", folder / "calls.txt", pause]
    return subprocess.Popen([sys.executable, "-c", JOB, *map(str, paths)])


def words(folder, word):
    calls = folder / "calls.txt"
    return (
        [line for line in calls.read_text().splitlines() if line.startswith(word)] if calls.exists() else []
    )


def test_a_killed_job_loses_only_the_label_it_was_in(campaign, select, tmp_path):
    selection = select(3.0, 3.5, 4.0)  # 6 labels
    job = start(campaign, selection, tmp_path, 0.4)
    deadline = time.monotonic() + 90
    while len(words(tmp_path, "begin")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    job.kill()
    assert job.wait() == -9
    begun = len(words(tmp_path, "begin"))
    assert 4 <= begun < 6
    assert not (tmp_path / "out" / "labels.parquet").exists()
    assert start(campaign, selection, tmp_path, 0).wait(timeout=90) == 0
    assert len(words(tmp_path, "begin")) <= 6 + 1
    assert read_table(tmp_path / "out" / "labels.parquet", "labels").num_rows == 6


def test_two_jobs_on_one_batch_take_turns_and_calculate_once(campaign, select, tmp_path):
    selection = select(3.0, 3.5)
    jobs = [start(campaign, selection, tmp_path, 0.3, out=f"out{i}") for i in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert len(words(tmp_path, "begin")) == 4
    assert len({line.split()[1] for line in words(tmp_path, "begin")}) == 1
    tables = [read_table(tmp_path / f"out{i}" / "labels.parquet", "labels").to_pylist() for i in range(2)]
    assert tables[0] == tables[1]
