"""Labels that ran out of time, tried again with more of it."""

import subprocess
import sys

import pyarrow.parquet as pq

from pesatlas.campaign.layout import path_of
from pesatlas.dataset.verify import verify


def pesatlas(folder, *arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_labels_that_ran_out_of_time_are_tried_again_with_more(make_folder, tiny):
    folder = make_folder({"label.timeout_min": 0.002, "label.attempts": 1})
    folder.run("--until", "label_batch", "label_atoms")
    assert "label: 8 timeout" in pesatlas(folder, "status")
    folder.change({"label.timeout_min": 60})
    assert "10 calculations will be repeated" in pesatlas(folder, "retry", "--reason", "timeout")
    folder.run()
    assert verify(folder.path / "results") == []
    for level in ("pbe", "r2scan"):
        assert folder.dataset(level) == tiny.dataset(level)
    labels = pq.read_table(folder.path / path_of("labels", batch=0))
    assert len(labels) == 4
