"""Time of `pesatlas status` in a large campaign: python benchmarks/status.py [--labels N] [--per-job N].

Python benchmarks/status.py [--labels 500000] [--per-job 50].

The campaign is made up: manifests and the files of progress are real, tables are empty files, for `status`
never opens them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import yaml

from pesatlas.campaign.layout import path_of
from pesatlas.config.presets import preset
from pesatlas.runtime.progress import FOLDER, State
from pesatlas.tables.manifest import Entry, entry_path

RUNNING = 500
LEVELS = ("pbe", "r2scan")


def main() -> None:
    """Build the campaign, ask for its status three times, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=500_000)
    parser.add_argument("--per-job", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.9, help="how much of it is done")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches = build(folder, arguments.labels, arguments.per_job, arguments.share)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            command = [sys.executable, "-m", "pesatlas.cli.main", "status", "--json"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            times.append(time.perf_counter() - started)
        label = next(stage for stage in json.loads(done.stdout)["stages"] if stage["name"] == "label")
    print(f"{arguments.labels} structures to label in {batches} jobs, {label['batches_done']} of them done")
    print(
        f"{label['done']} labels done, {label['failed']} failed, {label['under_way']} running, "
        f"{label['left']} left"
    )
    print(f"pesatlas status: {', '.join(f'{each:.2f}' for each in times)} s")


def build(folder: Path, labels: int, per_job: int, share: float) -> int:
    """Make up a campaign that labels ``labels`` structures, of which it has done ``share``.

    Return its label jobs.
    """
    campaign = preset("demo")[0].model_dump(mode="json")
    campaign["select"]["target"] = labels
    campaign["label"]["structures_per_job"] = per_job
    (folder / "config.yaml").write_text(yaml.safe_dump(campaign))
    batches = -(-labels // per_job)
    explored = max(1, labels // 1000)
    structures = {"sources_read": labels, "accepted": labels, "failed": 0, "cells": labels}
    put(folder / path_of("structures"), 1, structures | {"trajectories": 200 * explored, "batches": explored})
    put(folder / path_of("structure_failures"), 0, {})
    put(folder / path_of("selection"), labels, {"pool": 300 * labels, "selected": labels})
    for batch in range(explored):
        counts = {"trajectories_finished": 199, "trajectories_failed": 1, "equilibrium_failed": 0}
        put(folder / path_of("snapshots", batch=f"{batch:05d}"), 200_000, counts)
        put(folder / path_of("explore_failures", batch=f"{batch:05d}"), 1, {"exploded_volume": 1})
        put(folder / path_of("features", batch=f"{batch:05d}"), 200_000, {})
    done = int(share * batches)
    for batch in range(done):
        counts = {f"{what}_{level}": n for level in LEVELS for what, n in labelled(per_job).items()}
        put(folder / path_of("labels", batch=f"{batch:05d}"), 2 * (per_job - 1), counts)
        put(folder / path_of("label_failures", batch=f"{batch:05d}"), 2, {"not_converged": 1, "timeout": 1})
    for batch in range(min(batches, done + RUNNING)):
        put_progress(folder, f"{batch:05d}", 2 * per_job, finished=batch < done)
    return batches


def labelled(per_job: int) -> dict[str, int]:
    """Return what came of a batch at one level."""
    return {"labelled": per_job - 1, "failed": 1, "quarantined": 1}


def put(path: Path, rows: int, counts: dict[str, int]) -> None:
    """Write an empty file for a table, and its real manifest entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    entry = Entry(path.name, path.parent.name, 1, rows, 100 * rows, "0" * 64, "f" * 16, counts)
    entry_path(path).write_text(json.dumps(asdict(entry), indent=1, sort_keys=True) + "\n")


def put_progress(folder: Path, batch: str, total: int, *, finished: bool) -> None:
    """Write the file of progress of a label job: of a finished one, or of one that runs (as this process)."""
    now = time.time()
    state = State("label_batch", batch, "finished" if finished else "running", "labels", total // 2, total)
    state.started, state.updated, state.left_s = now - 1, now, 1.0
    state.host, state.pid = os.uname().nodename, os.getpid()
    path = folder / FOLDER / f"label_batch-{batch}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(state)))


if __name__ == "__main__":
    main()
