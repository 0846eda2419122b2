"""Trajectories that end when they show nothing new: by their own frames alone, kills or not."""

import numpy as np
import pytest

from exploring import (
    SATURATED,
    Gregarious,
    Interrupted,
    Mortal,
    Shells,
    argon_rows,
    explore,
    structure_row,
    to_saturation,
)
from known_thermodynamics import LennardJones
from pesatlas.errors import UserError
from pesatlas.explore.saturation import Saturation
from pesatlas.structures.crystal import Condition, Segment

FIXED = {name: SATURATED[name] for name in ("length_ps", "frame_interval_ps")}


def rows_of(table, name):
    """Rows of one trajectory in a table of frames."""
    return [row for row in table.to_pylist() if row["snapshot_id"].startswith(f"{name}:")]


def name_of(end):
    return f"{end['structure_id']}:{end['variant']}:{end['condition']}"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return to_saturation(tmp_path_factory.mktemp("uninterrupted"), Gregarious())


def test_each_trajectory_says_why_and_when_it_ended(uninterrupted):
    snapshots, ends, features = uninterrupted
    assert sorted(map(name_of, ends.to_pylist())) == sorted(
        {name.rpartition(":")[0] for name in snapshots["snapshot_id"].to_pylist()}
        - {"p1:unit:equilibrium"}
        - {f"a{i}:unit:equilibrium" for i in (1, 2, 3)}
    )
    assert set(ends["ended"].to_pylist()) == {"saturated", "survived"}
    for end in ends.to_pylist():
        frames = rows_of(snapshots, name_of(end))
        assert (end["frames"], end["steps"]) == (len(frames), frames[-1]["step"])
        assert end["length_ps"] == pytest.approx(frames[-1]["time_fs"] / 1000)
        assert end["longest_steps"] == 120
        assert (end["steps"] < 120) == (end["ended"] == "saturated")
        assert 1 <= end["new_frames"] <= end["frames"]
        if end["ended"] == "saturated":
            # the second half of its time, and the shortest length
            assert end["length_ps"] >= max(0.16, 2 * end["last_new_ps"]) - 1e-9
            assert end["detail"] == f"nothing was new after step {round(end['last_new_ps'] * 250)}"
    described = set(features["snapshot_id"].to_pylist())
    assert described == {name for name in snapshots["snapshot_id"].to_pylist() if ":equilibrium:" not in name}


def test_a_trajectory_that_ends_early_is_the_beginning_of_one_that_does_not(tmp_path):
    # a potential that does not mind who is evaluated together, for the others go on longer
    full, _ = explore(tmp_path, LennardJones(), out="full", **FIXED)
    snapshots, ends, _ = to_saturation(tmp_path, LennardJones())
    for end in ends.to_pylist():
        mine, whole = (rows_of(table, name_of(end)) for table in (snapshots, full))
        assert len(whole) == 30
        assert mine == whole[: len(mine)]


def test_neither_neighbours_nor_order_count(tmp_path):
    snapshots, ends, features = to_saturation(tmp_path, LennardJones(), store="one")
    again = to_saturation(tmp_path, LennardJones(), argon_rows()[::-1], store="two", max_atoms_in_memory=9)
    assert again[0].equals(snapshots)
    assert again[1].equals(ends)
    assert again[2].equals(features)
    for i, row in enumerate(argon_rows()):
        alone, _, vectors = to_saturation(tmp_path, LennardJones(), [row], store=f"alone-{i}")
        name = f"{row['structure_id']}:{row['variant']}:{row['conditions'][0]['condition']}"
        assert rows_of(alone, name) == rows_of(snapshots, name)
        assert rows_of(vectors, name) == rows_of(features, name)


@pytest.mark.parametrize("lives", [0, 1, 40, 83, 121, 150])
def test_killed_in_the_potential(tmp_path, uninterrupted, lives):
    with pytest.raises(Interrupted):
        to_saturation(tmp_path, Mortal(lives), checkpoint_interval_s=0)
    for found, expected in zip(to_saturation(tmp_path, Gregarious()), uninterrupted, strict=True):
        assert found.equals(expected)


@pytest.mark.parametrize("interval", [0, 1e9])
def test_killed_in_the_encoder_again_and_again(tmp_path, uninterrupted, interval):
    made_up = Shells()
    Saturation(settings(), made_up)
    lives, deaths = made_up.asked + 31, 0
    while True:
        encoder = Shells(lives)
        try:
            found = to_saturation(tmp_path, Gregarious(), encoder=encoder, checkpoint_interval_s=interval)
            break
        except Interrupted:
            deaths += 1
            # without checkpoints nothing but what has ended is kept
            lives += 0 if interval == 0 else 60
    assert deaths >= 3
    for one, other in zip(found, uninterrupted, strict=True):
        assert one.equals(other)


def test_what_was_stored_is_unpacked_once(tmp_path, uninterrupted, monkeypatch):
    from pesatlas.explore import explore_batch

    to_saturation(tmp_path, Gregarious())
    asked = []
    unpack = explore_batch.unpack
    monkeypatch.setattr(explore_batch, "unpack", lambda payload: asked.append(payload) or unpack(payload))
    for found, expected in zip(to_saturation(tmp_path, Gregarious()), uninterrupted, strict=True):
        assert found.equals(expected)
    assert len(asked) == len(set(asked)) > 0


def test_frames_of_a_checkpoint_are_not_encoded_again(tmp_path, uninterrupted):
    made_up = Shells()
    Saturation(settings(), made_up)
    with pytest.raises(Interrupted):
        to_saturation(tmp_path, Mortal(60), checkpoint_interval_s=0)
    encoder = Shells()
    to_saturation(tmp_path, Gregarious(), encoder=encoder)
    later = encoder.asked - made_up.asked
    assert 0 < later < len(uninterrupted[2]) - 20


def settings(**stop):
    from pesatlas.config.explore import Explore

    return Explore(**{**FIXED, "timestep_fs": 4.0, "stop": {**SATURATED["stop"], **stop}})


def test_what_ended_is_found_by_rule_and_encoder(tmp_path, uninterrupted):
    to_saturation(tmp_path, Gregarious())
    potential = Gregarious()
    found = to_saturation(tmp_path, potential)
    assert potential.evaluated == 0
    assert found[0].equals(uninterrupted[0])

    class Retrained(Shells):
        weights_hash = "6" * 64

    def moved(**changes):
        potential = Gregarious()
        _, ends, _ = to_saturation(tmp_path, potential, **changes)
        return potential.evaluated > 0, ends

    for changes in (
        {"encoder": Retrained()},
        {"stop": {**SATURATED["stop"], "atoms": 0.0061}},
        {"stop": {**SATURATED["stop"], "structures": 0.0051}},
        {"stop": {**SATURATED["stop"], "patience": 0.4}},
        {"stop": {**SATURATED["stop"], "min_length_ps": 0.32}},
    ):
        again, ends = moved(**changes)
        assert again
        assert set(ends["key"].to_pylist()).isdisjoint(found[1]["key"].to_pylist())


def test_ramps_are_gone_through(tmp_path):
    numbers, cell, positions = LennardJones().crystal(1, 5.3)
    hot = Condition("ramp", 60.0, 0.0, ramp=(Segment(20.0, 60.0, 0.32),))
    row = structure_row("r1", (numbers, cell, positions), conditions=(hot,))
    _, ends, _ = to_saturation(
        tmp_path, LennardJones(), [row], stop={**SATURATED["stop"], "atoms": 5.0, "structures": 5.0}
    )
    (end,) = ends.to_pylist()
    assert end["ended"] == "saturated"
    assert end["length_ps"] == pytest.approx(0.32 + 0.16, abs=0.064)


def test_a_failure_says_so_and_keeps_its_frames_and_features(tmp_path):
    snapshots, ends, features = to_saturation(
        tmp_path,
        LennardJones(),
        abort={"max_volume_ratio": 1.02},
        stop={**SATURATED["stop"], "atoms": 0.004},
    )
    failed = [end for end in ends.to_pylist() if end["ended"] == "exploded_volume"]
    assert failed
    for end in failed:
        assert "volume" in end["detail"]
        assert len(rows_of(snapshots, name_of(end))) == len(rows_of(features, name_of(end))) == end["frames"]


def test_frames_without_finite_features_are_not_new(tmp_path):
    class Blind(Shells):
        def encode(self, frames):
            structures, atoms = super().encode(frames)
            return structures, atoms * np.where(abs(atoms[:, 4:] - 2.2) < 0.6, np.nan, 1)

    # the made-up crystals keep a few finite atoms, those of other elements
    _, ends, features = to_saturation(tmp_path, LennardJones(), encoder=Blind())
    assert set(ends["new_frames"].to_pylist()) == {0}
    assert len(features) == sum(ends["frames"].to_pylist())


def test_an_element_that_the_encoder_does_not_know(tmp_path):
    class Neonless(Shells):
        elements = frozenset({10, 36})

    with pytest.raises(UserError, match=r"shells/1 does not know.*\[18\].*explore\.stop\.encoder"):
        to_saturation(tmp_path, LennardJones(), encoder=Neonless())


def test_an_encoder_that_tells_nothing_apart(tmp_path):
    class Same(Shells):
        def encode(self, frames):
            structures, atoms = super().encode(frames)
            return structures * 0, atoms * 0

    with pytest.raises(UserError, match="same features"):
        to_saturation(tmp_path, LennardJones(), encoder=Same())


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ({"min_length_ps": 0.016}, r"stop\.min_length_ps: 0\.016 ps is less than 4 frames"),
        ({"min_length_ps": 9.0}, r"stop\.min_length_ps: 9 ps is more than length_ps"),
        ({"patience": 1.0}, "less than 1"),
        ({"atoms": 0.0}, "greater than 0"),
        ({"structures": -1.0}, "greater than 0"),
        ({"kind": "tired"}, "fixed.*saturated"),
        ({"encoder": {"kind": "none"}}, "does not match any of the expected tags"),
    ],
)
def test_settings_that_cannot_be(stop, said):
    with pytest.raises(ValueError, match=said):
        settings(**stop)
