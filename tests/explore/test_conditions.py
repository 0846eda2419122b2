"""Conditions of domains: strains, ramps, lengths, limits, static cells; and bulk as ever."""

from pathlib import Path

import numpy as np
import pytest

from exploring import SHORT, Gregarious, Interrupted, Mortal, argon_rows, explore, structure_row
from known_thermodynamics import ElasticCrystal, LennardJones
from pesatlas.config.explore import Explore
from pesatlas.explore.trajectory import read_trajectories
from pesatlas.structures.crystal import STATIC, Condition, Segment
from pesatlas.tables import write_table

ARGON = LennardJones().crystal(1, 5.4)
SLAB = Condition("60K-slab", 60.0, 0.0, cell_motion="in_plane")
LIQUID = Condition("60K-liquid", 60.0, 0.0, cell_motion="isotropic", compressibility_per_GPa=0.2)
QUENCH = Condition(
    "90K-30K", 30.0, 0.0, ramp=(Segment(90.0, 90.0, 0.08), Segment(90.0, 30.0, 0.16)), length_ps=0.08
)


def keys(tmp_path, rows, **settings):
    path = tmp_path / "structures.parquet"
    write_table(path, "structures", rows, "test")
    found, _ = read_trajectories(path, 0, Explore(**{**SHORT, **settings}), 1, LennardJones())
    return {each.name: each for each in found}


def test_trajectories_of_bulk_have_the_keys_that_they_always_had(tmp_path):
    # as pesatlas 0.1.0 had them before there were other domains: stores of that time stay valid
    found = keys(tmp_path, argon_rows())
    assert {name: each.key for name, each in found.items() if name.startswith(("a1", "p1"))} == {
        "a1:unit:equilibrium": "48f82b9bb9f737a2f4a826751f55827e",
        "a1:unit:60K-0GPa": "94fb83aa8a8d33e83f9014269d95823f",
        "a1:unit:30K-0.1GPa": "53ff0bc57e06ad1c895c79bd3f954e2f",
        "a1:supercell-2x1x1:60K-0GPa": "52f6a0207c0f691a94438694c69837f7",
        "a1:supercell-2x1x1:40K-0GPa": "7577cf79ad1a3c419933901581b34bec",
        "p1:unit:equilibrium": "9b16b4d22a96b1a8906dfb39e3f68ffe",
        "p1:unit:60K-0GPa": "2af022e28d7ef0b6120bfd27c4ac2129",
    }


def test_what_a_domain_says_decides_the_key_and_its_words_do_not(tmp_path):
    base = {"temperature_K": 60.0, "pressure_GPa": 0.0}
    said = [
        {},
        {"cell_motion": "in_plane"},
        {"cell_motion": "none"},
        {"ramp": (Segment(90.0, 60.0, 0.08),)},
        {"ramp": (Segment(90.0, 60.0, 0.16),)},
        {"length_ps": 0.16},
        {"compressibility_per_GPa": 0.1},
        {"max_volume_ratio": 3.0},
        {"max_temperature_factor": 5.0},
        {"min_distance_A": 1.0},
    ]
    conditions = [Condition(f"c{i}", **base, **each) for i, each in enumerate(said)]
    found = keys(tmp_path, [structure_row("a", ARGON, variant="x", conditions=conditions)])
    assert len({each.key for each in found.values()}) == len(said)
    other = keys(
        tmp_path,
        [structure_row("b", ARGON, variant="y", conditions=[Condition("d", **base, **said[1])])],
    )
    assert other["b:y:d"].key == found["a:x:c1"].key


def test_a_cell_moves_as_its_condition_allows_whatever_shares_the_batch(tmp_path):
    fixed = Condition("60K-fixed", 60.0, 0.0, cell_motion="none")
    rows = [
        structure_row("a", ARGON, variant="slab", conditions=[SLAB, LIQUID, fixed]),
        structure_row("b", LennardJones().crystal(1, 5.3), conditions=((60.0, 0.0),)),
    ]
    table, failures = explore(tmp_path, LennardJones(), rows, max_atoms_in_memory=64)
    assert failures.num_rows == 0
    cells = {}
    for row in table.to_pylist():
        cells.setdefault((row["condition"], row["ensemble"]), []).append(np.reshape(row["cell_A"], (3, 3)))
    assert set(cells) == {
        ("equilibrium", "none"),
        ("60K-slab", "NpT-in_plane"),
        ("60K-liquid", "NpT-isotropic"),
        ("60K-fixed", "NVT"),
        ("60K-0GPa", "NpT"),
    }
    slab = np.array(cells["60K-slab", "NpT-in_plane"])
    assert (slab[:, 2] == ARGON[1][2]).all()
    assert (slab[:, :2, 2] == 0).all()
    assert np.abs(slab - ARGON[1]).max() > 1e-4
    liquid = np.array(cells["60K-liquid", "NpT-isotropic"])
    assert np.abs(liquid / liquid[:, :1, :1] - np.eye(3)).max() < 1e-12
    assert np.ptp(liquid[:, 0, 0]) > 1e-4
    assert (np.array(cells["60K-fixed", "NVT"]) == ARGON[1]).all()
    # bulk beside the others is what it is alone
    alone, _ = explore(tmp_path / "alone", LennardJones(), rows[1:])
    mine = [row["cell_A"] for row in table.to_pylist() if row["structure_id"] == "b"]
    np.testing.assert_allclose(mine, alone["cell_A"].to_pylist(), rtol=0, atol=1e-9)


def test_a_static_cell_is_one_frame_and_counts_as_a_trajectory(tmp_path):
    from pesatlas.tables import check_entry

    potential = LennardJones()
    rows = [structure_row("a", ARGON, variant="strained-xx-p0.03", conditions=[STATIC, SLAB])]
    table, _ = explore(tmp_path, potential, rows)
    (still,) = [row for row in table.to_pylist() if row["condition"] == "static"]
    assert still["snapshot_id"] == "a:strained-xx-p0.03:static:0000000"
    assert (still["ensemble"], still["instant_temperature_K"], still["lindemann"]) == ("none", None, None)
    assert still["positions_A"] == np.ravel(ARGON[2]).tolist()
    counts = check_entry(tmp_path / "out" / "00000.parquet").counts
    assert (counts["trajectories"], counts["trajectories_finished"], counts["equilibrium"]) == (2, 2, 0)


def test_a_ramp_is_followed(tmp_path):
    potential = ElasticCrystal()
    numbers, cell, positions = potential.crystal(8)
    heat = Condition(
        "100K-600K", 600.0, 0.0, ramp=(Segment(100.0, 100.0, 0.4), Segment(100.0, 600.0, 1.2)), length_ps=0.4
    )
    rows = [
        structure_row(f"e{i:02d}", (numbers, cell, positions + 1e-6 * i), variant="x", conditions=[heat])
        for i in range(40)
    ]
    table, failures = explore(
        tmp_path,
        potential,
        rows,
        timestep_fs=2.0,
        frame_interval_ps=0.04,
        thermostat_tau_fs=40.0,
        compressibility_per_GPa=0.0125,
        max_atoms_in_memory=1000,
        # atoms on springs do not feel each other
        abort={"min_distance_A": 0},
    )
    assert failures.num_rows == 0
    times, targets, found = (
        np.array(table[name].to_pylist()) for name in ("time_fs", "temperature_K", "instant_temperature_K")
    )
    assert times.max() == 2000
    np.testing.assert_allclose(targets, np.interp(times, [0, 400, 1600, 2000], [100, 100, 600, 600]))
    # the bath is ahead of the atoms by the relaxation time times the pace: 40 fs of 417 K/ps are 17 K
    late = times > 200
    for low in range(100, 600, 100):
        inside = late & (targets >= low) & (targets < low + 100)
        ratio = (found[inside] - targets[inside]).mean()
        assert -45 < ratio < 20, f"from {low} K: {ratio:.1f} K off"
    hold = times > 1700
    error = found[hold].std() / np.sqrt(hold.sum() / 4)
    assert abs(found[hold].mean() - 600) < 4 * error + 6


def test_killed_anywhere_with_masks_and_ramps(tmp_path):
    rows = [
        structure_row("a", ARGON, variant="x", conditions=[SLAB, LIQUID, QUENCH, STATIC]),
        structure_row("b", LennardJones().crystal(1, 5.3), conditions=((60.0, 0.0),)),
    ]
    through, _ = explore(tmp_path / "through", Gregarious(), rows)
    for lives in (3, 30, 60, 79):
        folder = tmp_path / str(lives)
        with pytest.raises(Interrupted):
            explore(folder, Mortal(lives), rows, checkpoint_interval_s=0)
        assert explore(folder, Gregarious(), rows)[0].equals(through)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_volume_ratio": 1.0001}, "exploded_volume"),
        ({"max_temperature_factor": 1e-3}, "exploded_temperature"),
        ({"min_distance_A": 3.9}, "exploded_distance"),
    ],
)
def test_what_counts_as_exploded_is_for_the_domain_to_say(tmp_path, limit, reason):
    rows = [
        structure_row("a", ARGON, variant="x", conditions=[Condition("c", 60.0, 0.0, **limit)]),
        structure_row("b", ARGON, variant="y", conditions=((60.0, 0.0),)),
    ]
    _, failures = explore(tmp_path, LennardJones(), rows, max_atoms_in_memory=64)
    assert [(row["key"], row["reason"]) for row in failures.to_pylist()] == [("a:x:c", reason)]


def test_atoms_that_leave_their_sites_are_told_from_those_that_vibrate(tmp_path):
    rows = [
        structure_row("cold", LennardJones().crystal(1, 5.3), variant="x", conditions=((20.0, 0.0),)),
        structure_row("hot", LennardJones().crystal(1, 5.4), variant="x", conditions=((2000.0, 0.0),)),
    ]
    table, _ = explore(tmp_path, LennardJones(), rows, length_ps=2.0, abort={"max_volume_ratio": 50})
    last = {row["structure_id"]: row["lindemann"] for row in table.to_pylist()}
    assert last["cold"] < 0.1
    assert last["hot"] > 0.3


def test_a_table_of_structures_of_an_older_version_is_explored_as_ever():
    path = Path(__file__).parents[1] / "dataset" / "schema_2" / "structures.parquet"
    found, rows = read_trajectories(path, 0, Explore(**SHORT), 1, LennardJones())
    assert rows == 2
    for each in found:
        assert (each.cell_motion, each.ramp, each.same_compressibility) == ("all", (), True)
        assert each.steps == (Explore(**SHORT).total_steps)
