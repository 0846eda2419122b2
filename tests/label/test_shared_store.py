"""Two campaigns on one store, one of them killed again and again: both get what they get alone, and nothing
is calculated anew."""

import os
import random
import signal
import subprocess
import sys
import time

from pesatlas.storage.salvage import repair_store
from pesatlas.tables import read_table

JOB = """
import os, sys, time, types
from pathlib import Path
from pesatlas.config import plugins
from pesatlas.storage import store
from pesatlas.config.campaign import Campaign
from pesatlas.label.batch import label_batch
from pesatlas.label.backend import Failed, Result
from pesatlas.tables import FailureReason

config, selection, out, calls, pause = sys.argv[1:]
store._INDEX_AFTER = 3  # the index is written again and again as well

def calculate(task, options, place):
    with open(calls, "a") as handle:
        handle.write(f"{os.getpid()} {task.level.name} {task.positions.sum():.6f}\\n")
    (place.keep / "out.txt").write_bytes(os.urandom(20_000))
    time.sleep(float(pause))
    forces = task.positions.mean(axis=0) - task.positions
    energy = 0.5 * float((forces**2).sum()) + (task.level.name == "r2scan")
    if 4.4 < task.positions.max() < 4.6:
        return Failed(FailureReason.NOT_CONVERGED, "always")
    return Result(energy, energy, forces.tolist(), [0.0] * 6, None, 1.0, 5, True, [], {}, {}, 0.1)

plugins.find = lambda package, name: types.SimpleNamespace(calculate=calculate)
campaign = Campaign.model_validate_json(Path(config).read_text())
out = Path(out)
paths = {"selection": Path(selection), "labels": out / "labels.parquet", "failures": out / "failures.parquet", "work": out / "work"}
label_batch(campaign.label, campaign.campaign, 0, **paths)
"""
KILLS = 6


class Labelling:
    """The one batch of a campaign, as a process."""

    def __init__(self, campaign, name, store, selection, folder):
        raw = campaign.model_dump(mode="json")
        raw["campaign"] |= {"name": name, "store": str(store)}
        self.folder = folder / f"{name}-{store.name}"
        self.folder.mkdir()
        (self.folder / "campaign.json").write_text(type(campaign).model_validate(raw).model_dump_json())
        self.selection, self.calls = selection, self.folder / "calls.txt"

    def start(self, pause=0.0):
        paths = [self.folder / "campaign.json", self.selection, self.folder / "out", self.calls, pause]
        return subprocess.Popen([sys.executable, "-c", JOB, *map(str, paths)], start_new_session=True)

    def made(self, process=None):
        """Calculations that were begun, by one process or all."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [
            line.split(" ", 1)[1] for line in lines if process is None or line.split()[0] == str(process.pid)
        ]

    def rows(self):
        return [
            [{k: v for k, v in row.items() if k != "wall_s"} for row in read_table(path, name).to_pylist()]
            for path, name in (
                (self.folder / "out/labels.parquet", "labels"),
                (self.folder / "out/failures.parquet", "failures"),
            )
        ]


def kill_while_it_calculates(labelling, dice):
    """Start it, and kill it in the middle of one of its first calculations; return whether that was before
    its end."""
    process = labelling.start(0.15)
    until, deadline = dice.randint(1, 3), time.monotonic() + 120
    while len(labelling.made(process)) < until and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 0.2))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_two_campaigns_on_one_store_one_of_them_killed_throughout(campaign, select, tmp_path):
    shared, every = [3 + n / 10 for n in range(14)], [3 + n / 10 for n in range(20)]
    ours, theirs = select(*shared, 6.1, name="ours"), select(*every, 6.2, name="theirs")
    quiet = [
        Labelling(campaign, name, tmp_path / f"quiet-{name}", selection, tmp_path)
        for name, selection in (("calm", ours), ("killed", theirs))
    ]
    calm = Labelling(campaign, "calm", tmp_path / "store", ours, tmp_path)
    killed = Labelling(campaign, "killed", tmp_path / "store", theirs, tmp_path)
    undisturbed = [each.start() for each in quiet]
    other = calm.start(0.3)
    dice = random.Random(15)
    kills = sum(kill_while_it_calculates(killed, dice) for _ in range(KILLS))
    assert kills >= KILLS - 1
    assert other.wait(timeout=300) == 0
    assert killed.start().wait(timeout=300) == 0
    assert [each.wait(timeout=300) for each in undisturbed] == [0, 0]
    assert calm.rows() == quiet[0].rows()
    assert killed.rows() == quiet[1].rows()
    assert len(killed.rows()[1]) == 2, "what fails, fails at both levels"
    # by itself nobody calculates twice what was finished; what the other is just calculating is not known to
    # it
    assert len(calm.made()) == len(set(calm.made()))
    assert len(killed.made()) <= len(set(killed.made())) + kills
    # nothing is left to do for a third, whoever killed whom
    third = Labelling(campaign, "third", tmp_path / "store", theirs, tmp_path)
    assert third.start().wait(timeout=300) == 0
    assert (third.made(), third.rows()) == ([], killed.rows())
    assert sum(each.back for each in repair_store(tmp_path / "store")) == 0
