"""Killed anywhere, any number of times: the same frames as without, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from torch import OutOfMemoryError

from exploring import Gregarious, Interrupted, Mortal, explore
from pesatlas.storage.ledger import Ledger

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    potential = Gregarious()
    table, _ = explore(folder, potential)
    return table, potential.evaluated


def test_company_shows_in_the_last_bits(tmp_path, uninterrupted):
    # without this the tests below would prove little
    other, _ = explore(tmp_path, max_atoms_in_memory=9)
    assert other["snapshot_id"].equals(uninterrupted[0]["snapshot_id"])
    assert not other["positions_A"].equals(uninterrupted[0]["positions_A"])


@pytest.mark.parametrize("lives", [0, 1, 2, 47, 83, 84, 121, 160])
def test_interrupted_once(tmp_path, uninterrupted, lives):
    with pytest.raises(Interrupted):
        explore(tmp_path, Mortal(lives), checkpoint_interval_s=0)
    potential = Gregarious()
    table, failures = explore(tmp_path, potential)
    assert table.equals(uninterrupted[0])
    assert failures.num_rows == 0


@pytest.mark.parametrize("records", range(15))
def test_interrupted_between_two_records(tmp_path, uninterrupted, monkeypatch, records):
    """Crystals at rest are evaluated together, and stored one after the other."""
    append, left = Ledger.append, records

    def mortal(self, *of_a_record):
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted
        append(self, *of_a_record)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", mortal)
        with pytest.raises(Interrupted):
            explore(tmp_path, checkpoint_interval_s=0)
    assert explore(tmp_path)[0].equals(uninterrupted[0])


def test_interrupted_again_and_again(tmp_path, uninterrupted):
    deaths, evaluated = 0, 0
    while True:
        potential = Mortal(23)
        try:
            table, _ = explore(tmp_path, potential, checkpoint_interval_s=0)
        except Interrupted:
            deaths += 1
            evaluated += potential.evaluated
            continue
        break
    assert deaths >= 6
    assert table.equals(uninterrupted[0])
    # each death costs the step it interrupted, no more
    assert evaluated + potential.evaluated <= uninterrupted[1] + deaths * 6


def test_interrupted_before_the_first_checkpoint_interval(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        explore(tmp_path, Mortal(100), checkpoint_interval_s=1e9)
    # some trajectories have ended since the only checkpoint, which is of the very start
    assert explore(tmp_path)[0].equals(uninterrupted[0])


def test_trajectories_that_wait_for_memory_survive_a_kill(tmp_path, uninterrupted):
    class Shrinking(Mortal):
        """Has room for everything at first, then for ten atoms, then dies."""

        def evaluate(self, batch):
            if self.lives < 30 and len(batch.numbers) > 10:
                self.lives -= 1
                raise OutOfMemoryError
            return super().evaluate(batch)

    with pytest.raises(Interrupted):
        explore(tmp_path, Shrinking(60), max_atoms_in_memory=100, checkpoint_interval_s=0)
    (checkpoint,) = tmp_path.glob("work/*/00000/checkpoint.npz")
    with np.load(checkpoint) as data:
        assert json.loads(str(data["head"]))["paused"]
    table, failures = explore(tmp_path)
    assert failures.num_rows == 0
    assert table["snapshot_id"].equals(uninterrupted[0]["snapshot_id"])
    for one, other in zip(
        table["positions_A"].to_pylist(), uninterrupted[0]["positions_A"].to_pylist(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-8)


def interrupted(folder, lives=60):
    with pytest.raises(Interrupted):
        explore(folder, Mortal(lives), checkpoint_interval_s=0)
    (checkpoint,) = folder.glob("work/*/00000/checkpoint.npz")
    return checkpoint


@pytest.mark.parametrize("damage", ["torn", "empty", "garbage"])
def test_a_damaged_checkpoint_is_ignored(tmp_path, uninterrupted, caplog, damage):
    checkpoint = interrupted(tmp_path)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes({"torn": whole[: len(whole) // 2], "empty": b"", "garbage": b"\0" * 5000}[damage])
    assert explore(tmp_path)[0].equals(uninterrupted[0])
    assert "starting from the beginning" in caplog.text


def test_lost_frames_make_a_checkpoint_useless(tmp_path, uninterrupted, caplog):
    checkpoint = interrupted(tmp_path)
    frames = checkpoint.with_name("frames.ledger")
    frames.write_bytes(frames.read_bytes()[:-200])
    assert explore(tmp_path)[0].equals(uninterrupted[0])
    assert "frames are missing" in caplog.text


def test_frames_after_the_checkpoint_do_not_count(tmp_path, uninterrupted):
    checkpoint = interrupted(tmp_path, 58)
    before = checkpoint.read_bytes()
    with pytest.raises(Interrupted):
        explore(tmp_path, Mortal(8), checkpoint_interval_s=0)
    # frames were appended, but the checkpoint that counts them was never written
    assert before != checkpoint.read_bytes()
    checkpoint.write_bytes(before)
    assert explore(tmp_path)[0].equals(uninterrupted[0])


def test_a_checkpoint_of_something_else_is_ignored(tmp_path, uninterrupted, caplog):
    foreign = interrupted(tmp_path / "foreign", 40)
    with pytest.raises(Interrupted):
        explore(tmp_path / "own", Mortal(40), seed=2, checkpoint_interval_s=0)
    (own,) = (tmp_path / "own").glob("work/*/00000")
    other, _ = explore(tmp_path / "reference", seed=2)
    for name in ("checkpoint.npz", "frames.ledger"):
        (own / name).write_bytes(foreign.with_name(name).read_bytes())
    assert explore(tmp_path / "own", seed=2)[0].equals(other)
    assert "not a checkpoint of this batch" in caplog.text


def program(folder):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return subprocess.Popen([sys.executable, str(TESTS / "exploring.py"), str(folder)], env=environment)


def wait_for(path_pattern, folder, process):
    while process.poll() is None and not list(folder.glob(path_pattern)):
        time.sleep(0.01)


def test_kill_9_at_random_moments(tmp_path, uninterrupted):
    random = np.random.default_rng()
    kills = 0
    for _ in range(20):
        process = program(tmp_path)
        if kills < 4:
            wait_for("work/*/00000.lock", tmp_path, process)
            delay = random.uniform(0.0, 0.9)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    assert process.returncode == 0
    assert kills >= 3
    potential = Gregarious()
    table, _ = explore(tmp_path, potential)
    assert potential.evaluated == 0
    assert table.equals(uninterrupted[0])


def test_two_jobs_on_the_same_batch(tmp_path, uninterrupted):
    jobs = [program(tmp_path) for _ in range(2)]
    assert [job.wait() for job in jobs] == [0, 0]
    potential = Gregarious()
    table, _ = explore(tmp_path, potential)
    assert potential.evaluated == 0
    assert table.equals(uninterrupted[0])
    (segment,) = tmp_path.glob("store/*.ledger")
    assert segment.read_bytes().count(b'{"key"') == 9 + 4, "each outcome is stored once"
