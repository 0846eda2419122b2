"""Arms of a comparison: equal cost, materials that are held out, nothing labelled twice."""

import numpy as np
import pytest

from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import preset
from pesatlas.errors import UserError
from pesatlas.select.candidates import find_candidates
from pesatlas.select.centres import Centres
from pesatlas.select.comparison_picks import Explored, divide, pick_arms
from pesatlas.tables import read_entry, read_table, write_table
from pesatlas.tables.schemas import VARIANCES
from pesatlas.testing.blank import blank

CRYSTALS, FRAMES = 24, 12


def campaign_of(target=40, **compare):
    raw = preset("demo")[0].model_dump(mode="json")
    raw["select"] |= {"target": target}
    raw["dataset"]["split"] = {"by": "structure", "valid": 0.1, "test": 0.3}
    raw["label"]["structures_per_job"] = 7
    return Campaign.model_validate(raw | {"train": {}, "compare": {"test_frames": 20} | compare})


@pytest.fixture
def pool(snapshot, write_clusters, tmp_path):
    """Cells of 1 to 5 atoms, a crystal as given and eleven frames of each; atoms in 60 clusters drawn by
    lot."""
    rng = np.random.default_rng(5)
    rows, clusters = [], {}
    for crystal in range(CRYSTALS):
        n = 1 + crystal % 5
        for step in range(FRAMES):
            condition = "300K" if step else "equilibrium"
            name = f"m-{crystal}:unit:{condition}:{step}"
            positions = np.arange(n)[:, None] * [2.5, 0.0, 0.0] + 0.01 * step + 0.1 * crystal
            rows.append(snapshot(name, positions))
            clusters[name] = (crystal % 3, rng.integers(60, size=n).tolist(), [float(crystal), 0.1 * step])
    shards, tables = write_clusters(rows, clusters, metadata={VARIANCES: "[10.0, 1.0]"})
    structures = [
        blank("structures") | {"structure_id": f"m-{k}", "numbers": [18], "cell_A": [0.0] * 9}
        for k in range(CRYSTALS)
    ]
    write_table(tmp_path / "structures.parquet", "structures", structures, "test")
    means = np.arange(60.0)[:, None] * [1.0, 0.3]
    Centres(0.1, np.array([0, 60]), means, np.ones(60)).write(tmp_path / "atoms.npz", "test")
    return tmp_path, shards, tables


def pick(campaign, pool, name="first"):
    path, shards, tables = pool
    folder = path / name
    folder.mkdir()
    atoms = path / "atoms.npz"
    seed = campaign.campaign.seed
    find_candidates(campaign.select, seed, shards, tables[0], atoms, folder / "c.parquet", folder / "c.npy")
    explored = Explored(
        path / "structures.parquet", shards, tables, [folder / "c.parquet"], [folder / "c.npy"], atoms
    )
    pick_arms(
        campaign.compare,
        campaign.select,
        campaign.dataset.split,
        seed,
        explored,
        selection=folder / "selection.parquet",
        arms=folder / "arms.parquet",
        structures_per_job=campaign.label.structures_per_job,
    )
    selection = read_table(folder / "selection.parquet", "selection").to_pylist()
    return selection, read_table(folder / "arms.parquet", "arms").to_pylist(), folder


def of(arms, name):
    return [row for row in arms if row["arm"] == name]


def test_arms_cost_the_same_within_one_structure(pool):
    _, arms, folder = pick(campaign_of(), pool)
    full = read_entry(folder / "arms.parquet").counts["full_cost_atoms3"]
    spent = [of(arms, name)[-1]["cost_atoms3"] for name in ("matpes", "facility", "random")]
    assert max(spent) == full
    assert all(full - 5**3 < cost <= full for cost in spent)
    # and each is what it says: the cube of atoms, in the order of picking
    for name in ("matpes", "facility", "random"):
        atoms = [1 + int(row["snapshot_id"].split(":")[0][2:]) % 5 for row in of(arms, name)]
        assert [row["cost_atoms3"] for row in of(arms, name)] == np.cumsum(np.array(atoms) ** 3.0).tolist()
        assert len({row["snapshot_id"] for row in of(arms, name)}) == len(atoms) <= 40


def test_nobody_learns_from_what_is_held_out(pool):
    campaign = campaign_of()
    _, arms, _ = pick(campaign, pool)
    learned, held_out = divide(campaign.dataset.split, campaign.campaign.seed, pool[0] / "structures.parquet")
    assert not learned & held_out
    assert len(learned | held_out) == CRYSTALS
    test = {row["snapshot_id"] for row in of(arms, "test")}
    assert {name.split(":")[0] for name in test} <= held_out
    assert {row["snapshot_id"].split(":")[0] for row in arms if row["arm"] != "test"} <= learned
    # as many frames of dynamics as asked for, and the crystals as given
    assert sum(":300K:" in name for name in test) == 20
    assert {name.split(":")[0] for name in test if ":equilibrium:" in name} == held_out


def test_what_arms_share_is_labelled_once_and_every_frame_is_accounted_for(pool):
    campaign = campaign_of()
    selection, arms, folder = pick(campaign, pool)
    ids = [row["snapshot_id"] for row in selection]
    assert len(set(ids)) == len(ids) < len(arms)
    assert set(ids) == {row["snapshot_id"] for row in arms}
    assert [row["rank"] for row in selection] == list(range(len(ids)))
    assert max(row["batch"] for row in selection) < campaign.label_batches
    counts = read_entry(folder / "selection.parquet").counts
    assert counts["selected"] == len(ids)
    assert (
        counts["pool"] == sum(count for name, count in counts.items() if name != "pool") == CRYSTALS * FRAMES
    )


def test_an_arm_does_not_depend_on_the_others_nor_on_the_day(pool):
    first = pick(campaign_of(), pool)
    assert pick(campaign_of(), pool, "again")[:2] == first[:2]
    alone = pick(campaign_of(policies=[{"kind": "facility"}, {"kind": "random"}]), pool, "two")
    both = min(len(of(alone[1], "facility")), len(of(first[1], "facility")))
    assert both
    assert of(alone[1], "facility")[:both] == of(first[1], "facility")[:both]


def test_without_materials_on_both_sides_it_says_so(pool):
    campaign = campaign_of()
    split = campaign.dataset.split.model_copy(update={"test": 1e-9})
    lonely = campaign.model_copy(update={"dataset": campaign.dataset.model_copy(update={"split": split})})
    with pytest.raises(UserError, match="of 24 crystals, 0 are held out"):
        pick(lonely, pool)


def test_elements_that_no_arm_meets_are_told_before_anything_is_labelled(pool, tmp_path):
    path, shards, _ = pool
    campaign = campaign_of()
    _, held_out = divide(campaign.dataset.split, campaign.campaign.seed, path / "structures.parquet")
    for shard in shards:
        rows = read_table(shard, "snapshots").to_pylist()
        strange = [
            row | ({"numbers": [36] * row["n_atoms"]} if row["structure_id"] in held_out else {})
            for row in rows
        ]
        write_table(shard, "snapshots", strange, "test")
    with pytest.raises(UserError, match="no held-out frame has only elements"):
        pick(campaign_of(), pool)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": None}, "section train"),
        ({"compare": {"policies": [{"kind": "cover"}, {"kind": "cover"}]}}, "twice"),
        ({"compare": {"cost_shares": [0.5, 0.5]}}, "once"),
        ({"dataset": {"split": {"test": 0.0}}}, "no material is held out"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(changes, said):
    raw = preset("demo")[0].model_dump(mode="json")
    with pytest.raises(ValueError, match=said):
        Campaign.model_validate(raw | {"train": {}, "compare": {}} | changes)
