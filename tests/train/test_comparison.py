"""A comparison: who is trained on what, how long, and whether its statistics are right where the answer is
known."""

import json

import numpy as np
import pytest

from labelled_campaign import write_results
from pesatlas.campaign.layout import below
from pesatlas.errors import UserError
from pesatlas.tables import read_table, write_table
from pesatlas.train.arms import read_arms
from pesatlas.train.comparison import compare_arms, spreads_so_far
from pesatlas.train.comparison_arm import train_arm
from pesatlas.train.contrast import Sums, contrast
from training import campaign_in

POLICIES = [{"kind": "matpes"}, {"kind": "cover"}]


def comparing(folder, **compare):
    campaign = campaign_in(folder, epochs=2)
    raw = campaign.model_dump(mode="json")
    raw["compare"] = {"policies": POLICIES, "cost_shares": [0.5, 1.0], "seeds": [0, 1], **compare}
    return type(campaign).model_validate(raw)


def write_arms(path, picks):
    """Arms of frames that cost one each."""
    rows = [
        {"arm": arm, "snapshot_id": name, "rank": k, "cost_atoms3": k + 1.0}
        for arm, names in picks.items()
        for k, name in enumerate(names)
    ]
    full = min(len(names) for names in picks.values())
    write_table(path, "arms", rows, "test", {"full_cost_atoms3": full})


def test_arms_at_a_share_are_a_beginning_of_the_whole(tmp_path):
    write_arms(tmp_path / "arms.parquet", {"matpes": list("abcdef"), "cover": list("bdfh")})
    arms = {
        (a.policy, a.cost_share): a for a in read_arms(comparing(tmp_path).compare, tmp_path / "arms.parquet")
    }
    assert {key: "".join(arm.picks) for key, arm in arms.items()} == {
        ("matpes", 0.5): "ab",
        ("matpes", 1.0): "abcd",
        ("cover", 0.5): "bd",
        ("cover", 1.0): "bdfh",
    }
    assert arms["cover", 0.5].cost_atoms3 == 2.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One potential of a comparison, at half the cost."""
    folder = tmp_path_factory.mktemp("arms")
    results = write_results(folder / "results")
    rows = read_table(below(results, "dataset", level="pbe"), "dataset").to_pylist()
    learned = [row["snapshot_id"] for row in rows if row["split"] != "test"]
    arms = results / "arms.parquet"
    write_arms(arms, {"matpes": learned[:40], "cover": learned[10:50]})
    place = results / "compare" / "cover-0.5-1"
    campaign = comparing(folder)
    train_arm(
        campaign.train,
        campaign.compare,
        campaign.train_level,
        ("cover", 0.5, 1),
        results=results,
        arms=arms,
        folder=place,
        work=folder / "work",
        store=folder / "store",
    )
    return rows, learned[10:30], place


def test_it_is_trained_on_its_picks_alone_and_tested_on_all_that_is_held_out(trained):
    rows, picks, place = trained
    card = json.loads((place / "card.json").read_text())
    splits = {row["snapshot_id"]: row["split"] for row in rows}
    mine = [splits[name] for name in picks]
    assert card["data"]["rows"] == {
        "train": mine.count("train"),
        "valid": mine.count("valid"),
        "test": sum(split == "test" for split in splits.values()),
    }
    errors = read_table(place / "errors.parquet", "arm_errors").to_pylist()
    assert {row["snapshot_id"] for row in errors} == {
        name for name, split in splits.items() if split == "test"
    }
    # half the picks of the largest arm, so twice the epochs: as many steps
    assert card["settings"]["epochs"] == 4


def test_errors_by_frame_add_up_to_those_of_the_card(trained):
    _, _, place = trained
    errors = read_table(place / "errors.parquet", "arm_errors").to_pylist()
    (score,) = [
        each
        for each in json.loads((place / "card.json").read_text())["scores"]
        if (each["split"], each["of"], each["group"]) == ("test", "trained", "all")
    ]
    atoms = [row["n_atoms"] for row in errors]
    for name, weights in (
        ("energy_mae_meV_per_atom", None),
        ("force_mae_meV_per_A", atoms),
        ("stress_mae_GPa", None),
    ):
        mean = np.average([row[name] for row in errors], weights=weights)
        assert mean == pytest.approx(score[name], rel=1e-4)


def made_up(rng, ratio, hard, seeds=4):
    """Errors of an arm: those of the materials times ``ratio``, and some noise of every training."""
    return Sums(ratio * hard * rng.lognormal(0, 0.02, (seeds, len(hard))), np.ones(len(hard)))


def test_intervals_hold_what_was_put_in():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(40):
        hard = rng.lognormal(0, 1, 200)
        # each arm meets every material with a luck of its own
        arm, base = (made_up(rng, ratio, hard * rng.lognormal(0, 0.3, 200)) for ratio in (0.9, 1.0))
        found = contrast(arm, base, seed)
        hits += found.ratio_low <= 0.9 <= found.ratio_high
    # 95 %, of few seeds somewhat less
    assert 33 <= hits <= 40


def test_pairing_by_material_sees_what_intervals_that_overlap_hide():
    rng = np.random.default_rng(4)
    hard = rng.lognormal(0, 1, 100)
    base = made_up(rng, 1.0, hard)
    found = contrast(made_up(rng, 0.9, hard), base, 0)
    assert found.high > contrast(base, base, 0).low  # each by itself is uncertain
    assert found.ratio == pytest.approx(0.9, abs=0.02)
    assert found.verdict == "lower"
    assert contrast(made_up(rng, 1.1, hard), base, 0).verdict == "higher"


def test_the_same_is_undecided_and_two_seeds_apart_too():
    rng = np.random.default_rng(5)
    hard = rng.lognormal(0, 1, 100)
    base = made_up(rng, 1.0, hard)
    assert contrast(made_up(rng, 1.0, hard), base, 0).verdict == "undecided"
    # trainings that differ by a fifth say nothing of an arm that is 5 % better
    luck = np.array([0.8, 1.0, 1.2])[:, None]
    shaky = Sums(0.95 * hard * luck, np.ones(100))
    assert contrast(shaky, Sums(hard * luck, np.ones(100)), 0).verdict == "undecided"


def errors_of(path, arm, share, seed, frames):
    rows = [
        {
            "arm": arm, "cost_share": share, "seed": seed, "level": "pbe", "snapshot_id": f"{material}:{k}",
            "structure_id": material, "equilibrium": k == 0, "n_atoms": n, "energy_mae_meV_per_atom": 1.0,
            "force_mae_meV_per_A": force, "stress_mae_GPa": 0.1,
        }
        for material, k, n, force in frames
    ]  # fmt: skip
    write_table(path, "arm_errors", rows, "test")


def compare(campaign, arms, errors, comparison, contrasts, efficiency):
    compare_arms(
        campaign.compare,
        campaign.train_level,
        campaign.campaign.seed,
        arms=arms,
        errors=errors,
        comparison=comparison,
        contrasts=contrasts,
        efficiency=efficiency,
    )


def test_only_frames_that_all_know_count_and_forces_by_atom(tmp_path):
    campaign = comparing(tmp_path)
    write_arms(tmp_path / "arms.parquet", {"matpes": list("abcd"), "cover": list("bdfh")})
    paths = []
    for arm, share, seed in campaign.compare.runs:
        paths.append(tmp_path / f"{arm}-{share}-{seed}.parquet")
        best = 0.5 if (arm, share) == ("cover", 1.0) else 1.0
        frames = [("x", 0, 1, 7.0), ("x", 1, 1, 10.0 * best), ("y", 1, 3, 30.0 * best)]
        # one potential only was asked about z
        errors_of(paths[-1], arm, share, seed, [*frames, ("z", 1, 9, 1e3)] if seed and share < 1 else frames)
    tables = [tmp_path / f"{name}.parquet" for name in ("comparison", "contrasts", "efficiency")]
    compare(campaign, tmp_path / "arms.parquet", paths, *tables)
    runs = read_table(tables[0], "comparison").to_pylist()
    dynamics = [row for row in runs if row["frames"] == "dynamics"]
    assert len(dynamics) == len(campaign.compare.runs)
    assert {(row["test_frames"], row["test_materials"]) for row in dynamics} == {(2, 2)}
    means = {(row["arm"], row["cost_share"]): row["force_mae_meV_per_A"] for row in dynamics}
    assert means["matpes", 1.0] == pytest.approx((10 + 3 * 30) / 4)
    found = {
        (row["arm"], row["cost_share"]): row
        for row in read_table(tables[1], "contrasts").to_pylist()
        if (row["frames"], row["error"]) == ("dynamics", "force_mae_meV_per_A")
    }
    assert found["matpes", 1.0]["ratio"] == 1.0
    # clear as it is, of two materials it says nothing of others
    assert found["cover", 1.0]["ratio_high"] < 1
    assert found["cover", 1.0]["verdict"] == "undecided"
    assert found["cover", 1.0]["ratio"] == pytest.approx(0.5)
    assert found["cover", 0.5]["verdict"] == "undecided"
    assert {row["reference"] for row in found.values()} == {"matpes at 1"}
    (efficient,) = [
        row
        for row in read_table(tables[2], "efficiency").to_pylist()
        if (row["frames"], row["error"]) == ("dynamics", "force_mae_meV_per_A")
    ]
    # cover is as good as matpes at half the cost, and better at the whole
    assert (efficient["arm"], efficient["reference"]) == ("cover", "matpes at 1")
    assert (efficient["cost_ratio"], efficient["bound"]) == (pytest.approx(0.5), "")
    assert (efficient["cost_ratio_low"], efficient["cost_ratio_high"]) == (pytest.approx(0.5),) * 2
    assert efficient["verdict"] == "undecided"
    assert 0 < efficient["detectable_ratio"] <= 1


def test_without_a_common_frame_it_says_so(tmp_path):
    campaign = comparing(tmp_path)
    write_arms(tmp_path / "arms.parquet", {"matpes": list("ab"), "cover": list("bd")})
    paths = []
    for k, (arm, share, seed) in enumerate(campaign.compare.runs):
        paths.append(tmp_path / f"{k}.parquet")
        errors_of(paths[-1], arm, share, seed, [(f"m-{k}", 1, 1, 1.0)])
    with pytest.raises(UserError, match="elements that every arm was trained on"):
        compare(campaign, tmp_path / "arms.parquet", paths, *(tmp_path / f"{k}.parquet" for k in "abc"))


def test_spreads_come_from_trainings_that_have_finished(tmp_path):
    settings = comparing(tmp_path, seeds=[0, 1, 2]).compare
    rng, paths = np.random.default_rng(0), {}
    for run in settings.runs:
        frames = [(f"m-{k}", step, 2, rng.lognormal(3, 0.3)) for k in range(8) for step in (1, 2, 3)]
        paths[run] = tmp_path / f"{'-'.join(map(str, run))}.parquet"
        errors_of(paths[run], *run, [*frames, ("given", 0, 2, 1.0)])
    assert spreads_so_far(settings, {}) is None
    one_seed = {run: path for run, path in paths.items() if run[2] == 0 or run[0] == "matpes"}
    assert spreads_so_far(settings, one_seed) is None
    half = {run: path for run, path in paths.items() if run[1] == 0.5}
    for there in (half, paths):
        spreads, materials, frames = spreads_so_far(settings, there)
        assert (materials, frames) == (8, 24)
        assert 0 < spreads.seeds < 0.15
        assert 0 < spreads.materials < 0.4
    assert spreads_so_far(settings, paths)[0] != spreads_so_far(settings, half)[0]
