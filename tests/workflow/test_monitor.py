"""Status, plan and outputs of a campaign that was really run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

from small_campaign import ROOT


def pesatlas(folder, *arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder.path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stages(folder):
    raw = json.loads(pesatlas(folder, "status", "--json"))
    return raw, {stage["name"]: stage for stage in raw["stages"]}


def test_a_finished_campaign_is_said_to_be_finished(tiny):
    raw, found = stages(tiny)
    assert raw["finished"]
    assert raw["jobs"] == []
    assert {name: stage["left"] for name, stage in found.items()} == dict.fromkeys(found, 0)
    assert (found["label"]["done"], found["encode"]["done"], found["atoms"]["done"]) == (8, 11, 2)


def test_a_plan_takes_the_rates_of_a_campaign_that_was_run(tiny):
    plan = pesatlas(tiny, "plan", "--from", str(tiny.path))
    rows = {line.split("  ")[0].strip(): line for line in plan.splitlines()}
    assert "16 labels" not in plan
    assert re.search(r"explore +1 trajectories, 100 steps·atoms", plan)
    assert re.search(r"label +8 labels at pbe, r2scan +2 ", plan)
    assert sum(f"measured in {tiny.path}" in line for line in rows.values()) >= 8
    assert "other" not in plan
    assert "?" not in plan


def test_outputs_of_a_label_come_back(tiny, tmp_path):
    name = tiny.dataset("pbe")[0]["snapshot_id"]
    pesatlas(tiny, "outputs", name, "--to", str(tmp_path / "unpacked"))
    for level in ("pbe", "r2scan"):
        assert (tmp_path / "unpacked" / level / "gpaw.txt").stat().st_size > 1000


def test_a_campaign_is_watched_from_its_start_through_a_kill_to_its_orphans(make_folder):
    folder = make_folder()
    # before isolated atoms have their table, all waits to be looked at
    atoms = {"event": "os.rename", "path": r"labels/atoms\.parquet$", "waits": True}
    waits = {"KILL_AT": json.dumps(atoms | {"happened": str(folder.path / "happened")})}
    killing = [str(ROOT / "tests" / "killing"), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.Popen(
        folder.command(),
        cwd=folder.path,
        env=os.environ | waits | {"PYTHONPATH": os.pathsep.join(killing)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        seen, waits = [], False
        while not waits:
            assert run.poll() is None
            assert len(seen) < 200
            waits = (folder.path / "happened").exists()
            seen.append(stages(folder))
            time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    raw, _ = seen[-1]
    assert (raw["controller"]["pid"], raw["controller"]["alive"]) == (run.pid, True)
    assert raw["head"] == raw["controller"]
    job = next(job for job in raw["jobs"] if job["rule"] == "label_atoms")
    assert (job["fate"], job["total"]) == ("running", 2)
    # every sum closed at every look, and nothing was ever undone
    for _, each in seen:
        assert all(
            s["total"] == s["done"] + s["failed"] + s["under_way"] + s["left"]
            for s in each.values()
            if s["total"] is not None
        )
    explored = [each["explore"]["batches_done"] for _, each in seen]
    assert explored == sorted(explored)
    for _ in range(60):
        raw, _ = stages(folder)
        if all(job["fate"] == "killed" for job in raw["jobs"]):
            break
        time.sleep(0.5)
    assert raw["controller"]["alive"] is False
    assert [job["rule"] for job in raw["jobs"] if job["fate"] == "killed"]
    assert "was killed; the same command continues" in pesatlas(folder, "status")
