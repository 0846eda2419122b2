"""Dynamics of benchmarks: the target rises by step, and a trajectory that was stopped goes on as if it had
not been."""

import json

import numpy as np
import pytest

from known_thermodynamics import LennardJones
from pesatlas.benchmark import md
from pesatlas.benchmark.md import Plan, Run, run_batch
from pesatlas.benchmark.measure import _unpack
from pesatlas.benchmark.trajectories import repeated
from pesatlas.dynamics.ends import SURVIVED, current_name
from pesatlas.dynamics.limits import Limits
from pesatlas.dynamics.npt import NpT
from pesatlas.dynamics.relax import Start


class Stopping(LennardJones):
    """Argon that stops the program after so many evaluations."""

    def __init__(self, most=10**9):
        super().__init__()
        self.most, self.calls = most, 0

    def evaluate(self, batch):
        self.calls += 1
        if self.calls > self.most:
            raise KeyboardInterrupt
        return super().evaluate(batch)


def runs():
    argon = LennardJones()
    return [Run(f"{k:032x}", Start(*argon.crystal(1, length)), 40.0) for k, length in ((1, 5.3), (2, 5.4))]


PLAN = Plan(NpT(4.0, 100.0, 1000.0, 0.3), 60, (40.0, 80.0), Limits(temperature_ratio=100.0), 10)


def test_what_was_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(md, "CHECKPOINT_S", 0.0)
    whole = run_batch(Stopping(), runs(), PLAN, tmp_path / "whole.npz")
    stopping = Stopping(most=35)
    with pytest.raises(KeyboardInterrupt):
        run_batch(stopping, runs(), PLAN, tmp_path / "stopped.npz")
    rest = Stopping()
    again = run_batch(rest, runs(), PLAN, tmp_path / "stopped.npz")
    assert rest.calls == 60 - 34  # the checkpoint is that of the last step that was finished
    for one, other in zip(whole, again, strict=True):
        assert (one.outcome, one.steps, one.temperature_K) == (SURVIVED, 60, 80.0)
        assert (other.outcome, other.steps) == (one.outcome, one.steps)
        assert len(one.frames) == 6
        np.testing.assert_array_equal(one.frames, other.frames)


def test_a_checkpoint_of_others_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(md, "CHECKPOINT_S", 0.0)
    run_batch(Stopping(), runs(), PLAN, tmp_path / "x.npz")
    potential = Stopping()
    run_batch(potential, runs()[:1], PLAN, tmp_path / "x.npz")
    assert potential.calls == 61
    (tmp_path / "x.npz").write_bytes(b"torn")
    potential = Stopping()
    run_batch(potential, runs()[:1], PLAN, tmp_path / "x.npz")
    assert potential.calls == 61


def test_one_that_leaves_physics_does_not_change_the_other(tmp_path):
    first, second = runs()
    # a cell that is twice too small holds more heat than any limit
    bad = Run(
        first.key, Start(first.start.numbers, first.start.cell * 0.6, first.start.positions * 0.6), 40.0
    )
    found = run_batch(LennardJones(), [bad, second], PLAN, tmp_path / "x.npz")
    (alone,) = run_batch(LennardJones(), [second], PLAN, tmp_path / "y.npz")
    assert found[0].outcome != SURVIVED
    assert found[0].steps < 20
    assert found[1].outcome == SURVIVED
    np.testing.assert_allclose(found[1].frames, alone.frames, atol=1e-9)


def test_the_target_rises_in_a_straight_line_and_the_crystal_follows(tmp_path):
    plan = Plan(NpT(4.0, 20.0, np.inf, 0.3), 500, (10.0, 40.0), Limits(temperature_ratio=100.0), 1)
    assert [plan.temperature(step) for step in (0, 250, 500)] == [10.0, 25.0, 40.0]
    start = repeated(Start(*LennardJones().crystal(1, 5.3)), 10.0)
    assert len(start.numbers) == 32
    (ended,) = run_batch(LennardJones(), [Run("ab" * 16, start, 10.0)], plan, tmp_path / "x.npz")
    moves = np.diff(ended.frames, axis=0) / 4.0  # Å/fs
    moves -= moves.mean(1, keepdims=True)
    kelvin = 39.948 * (moves**2).sum((1, 2)) / 9.648533212e-3 / (3 * 31 * 8.617333262e-5)
    assert kelvin[350:450].mean() == pytest.approx(34.0, rel=0.25)
    assert kelvin[350:450].mean() > 1.4 * kelvin[50:150].mean()


def test_a_checkpoint_of_an_older_version_is_gone_on_from(tmp_path, monkeypatch):
    monkeypatch.setattr(md, "CHECKPOINT_S", 0.0)
    limits = Limits(distance_A=3.0, volume_ratio=1.3, temperature_ratio=1e9, jump_A=1e9)
    plan = Plan(NpT(4.0, 100.0, 1000.0, 0.3), 300, (100.0, 6000.0), limits, 3)
    whole = run_batch(LennardJones(), runs(), plan, tmp_path / "whole.npz")
    assert [(one.outcome, one.steps) for one in whole] == [
        ("exploded_distance", 40),
        ("exploded_distance", 80),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_batch(Stopping(most=60), runs(), plan, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        arrays = dict(file)
    # the words, and the names of arrays, that versions before wrote
    head = json.loads(str(arrays["head"]))
    assert head == {
        "keys": [run.key for run in runs()],
        "step": 59,
        "active": [1],
        "ended": {"0": ["exploded_distance", 40]},
    }
    assert {"positions", "velocities", "cells", "n_atoms", "frames-0", "frames-1"} < arrays.keys()
    head["ended"]["0"][0] = "atoms_too_close"
    np.savez(tmp_path / "x.npz", **arrays | {"head": np.asarray(json.dumps(head))})
    rest = Stopping()
    again = run_batch(rest, runs(), plan, tmp_path / "x.npz")
    assert rest.calls < 25
    for one, other in zip(whole, again, strict=True):
        assert (other.outcome, other.steps, other.temperature_K) == (
            one.outcome,
            one.steps,
            one.temperature_K,
        )
        np.testing.assert_array_equal(one.frames, other.frames)


def test_a_machine_that_fails_is_no_end_of_the_dynamics(tmp_path, monkeypatch):
    class Full(LennardJones):
        def evaluate(self, batch):
            if len(batch.n_atoms) > 1 or batch.cells[0, 0, 0] == 5.3:  # together, and the first at its start
                raise MemoryError
            return super().evaluate(batch)

    monkeypatch.setattr(md, "CHECKPOINT_S", 0.0)
    first, second = run_batch(Full(), runs(), PLAN, tmp_path / "x.npz")
    assert first.outcome is None
    assert first.failure.reason == "out_of_memory"
    assert (second.outcome, second.steps) == (SURVIVED, 60)
    # it is not remembered: the next run tries again
    assert not (tmp_path / "x.npz").exists()


def test_results_that_were_stored_under_an_older_word_have_that_of_today():
    payload = {"values": {"end_temperature": 900.0}, "failure": None, "outcome": "atoms_too_close"}
    result, wall_s = _unpack(json.dumps(payload | {"detail": "40 of 300 steps", "wall_s": 1.0}).encode())
    assert (result.outcome, result.detail, wall_s) == ("exploded_distance", "40 of 300 steps", 1.0)
    assert current_name("survived") == SURVIVED
