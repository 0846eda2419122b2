"""Jobs that Slurm holds because their start failed."""

import io
import os
import time

import pytest
from rich.console import Console

from pesatlas.cli import held_jobs

_SQUEUE = """#!/bin/sh
if grep -q scancel {calls}; then exit; fi
printf '7|PENDING|cpu|0:00|launch failed requeued held||pesatlas-a|rule_label_batch_wildcards_00003\\n'
printf '8|PENDING|cpu|0:00|Priority||pesatlas-a|rule_label_batch_wildcards_00004\\n'
"""
_NOTED = """#!/bin/sh
echo "$(basename $0) $*" >> {calls}
{ending}
"""


@pytest.mark.parametrize("ending", ["", "echo 'scancel: error: Access denied' >&2; exit 1"])
def test_a_job_that_no_release_helps_is_cancelled_so_that_snakemake_submits_a_new_one(
    tmp_path, monkeypatch, ending
):
    """By programs that stand in for Slurm's: no real one can be made to refuse one job for ever."""
    calls = tmp_path / "calls"
    calls.touch()
    texts = {"squeue": _SQUEUE, "scontrol": _NOTED, "scancel": _NOTED}
    for name, text in texts.items():
        (tmp_path / name).write_text(text.format(calls=calls, ending=ending * (name == "scancel")))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(held_jobs, "EVERY_S", 0.05)
    told = io.StringIO()
    with held_jobs.held_jobs_released("pesatlas-a", Console(file=told, width=1000)):
        for _ in range(400):
            if "scancel" in calls.read_text() and "times" in told.getvalue():
                break
            time.sleep(0.05)
    assert calls.read_text().splitlines() == ["scontrol release 7"] * 3 + ["scancel 7"]
    assert told.getvalue().count("is released, so that it is tried again") == 3
    said = "Slurm job 7 (label_batch 00003) could not be started 4 times. "
    said += "It cannot be cancelled: Access denied" if ending else "It is cancelled, and submitted again"
    assert said in told.getvalue().replace("scancel: error: ", "")
