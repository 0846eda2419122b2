"""Every policy keeps what is promised of all, and is good at its own purpose."""

import numpy as np
import pytest

from pesatlas import testing
from pesatlas.config.plugins import available
from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.centres import Centres
from pesatlas.tables import read_table
from pesatlas.testing.selecting import frames_of_twelve_crystals, select

POLICIES = available("pesatlas.select.policies")


OTHER = {"facility": {"cost_exponent": 0.5}}

for kind in POLICIES:
    parts = {"kind": kind, "fewest": 31, "other_options": OTHER.get(kind, {}), "__module__": __name__}
    globals()[f"Test_{kind}"] = type(f"Test_{kind}", (testing.PolicyTests,), parts)


@pytest.fixture
def frames():
    return frames_of_twelve_crystals()


def options(policy, **more):
    return {
        "policy": {"kind": policy},
        "structure": {"threshold": 0.1},
        "atoms": {"threshold": 0.02},
        "target": 60,
        **more,
    }


def test_cover_reaches_every_atomic_cluster_for_less_than_matpes(frames, tmp_path):
    found = {}
    for policy in ("cover", "matpes"):
        folder = tmp_path / policy
        rows, counts = select(
            Select(**options(policy, target=300, include_equilibrium=False)), folder, frames
        )
        assert counts["over_target"] == 0
        found[policy] = rows
        clusters = {
            row["snapshot_id"]: row["atom_clusters"]
            for row in read_table(folder / "select/clusters/00000.parquet", "clusters").to_pylist()
        }
        covered = {c for row in rows for c in clusters[row["snapshot_id"]]}
        assert len(covered) == len(Centres.read(folder / "select/atoms.npz")[0].weights)
    cost = {policy: sum(row["n_atoms"] ** 3 for row in rows) for policy, rows in found.items()}
    assert cost["cover"] <= cost["matpes"]


def test_mixed_takes_turns_between_rare_environments_and_frequent_frames(frames, tmp_path):
    found = {}
    for policy in ("mixed", "cover", "facility"):
        chosen = options(policy, target=300, include_equilibrium=False)
        rows, _ = select(Select(**chosen), tmp_path / policy, frames)
        found[policy] = [row["snapshot_id"] for row in rows]
    alone = zip(found["cover"], found["facility"], strict=False)
    assert found["mixed"][:20] == list(dict.fromkeys(name for both in alone for name in both))[:20]
    assert len({*found["cover"][:10]} & {*found["facility"][:10]}) < 5


def test_disagree_goes_where_the_committee_is_expected_to_be_wrong(frames, tmp_path):
    """One crystal of twelve has a disagreement ten times that of the others; frames cost the same but for
    their number of atoms."""
    wrong = "x-3"

    def said(row):
        return np.full(len(row["atom_clusters"]), 1.0 if row["snapshot_id"].startswith(wrong) else 0.1)

    found = {}
    for policy in ("disagree", "cover"):
        chosen = options(policy, target=12, include_equilibrium=False)
        rows, _ = select(Select(**chosen), tmp_path / policy, frames, said=said)
        found[policy] = sum(row["structure_id"] == wrong for row in rows)
        if policy == "disagree":
            # calibrated by the factor 2
            assert rows[0]["structure_id"] == wrong
            assert rows[0]["reason"].startswith("expected force error 2 eV/Å")
            # the others get some, too: what a label more brings falls as they grow
            assert len({row["structure_id"] for row in rows}) > 3
    assert found["disagree"] >= 3 * max(1, found["cover"])


def test_a_committee_that_can_say_nothing_is_an_error(frames, tmp_path):
    with pytest.raises(UserError, match="could not evaluate one candidate"):
        select(Select(**options("disagree")), tmp_path, frames, said=lambda _: None)


@pytest.mark.parametrize("policy", ["cover", "matpes", "disagree"])
def test_what_is_labelled_already_is_not_picked_again(policy, frames, tmp_path):
    rows, structures, atoms = frames
    settings = Select(**options(policy, target=300))
    first, counts = select(settings, tmp_path / "first", frames)
    place = {row["snapshot_id"]: i for i, row in enumerate(rows)}
    picked = [place[row["snapshot_id"]] for row in first]
    known = [rows[i] for i in picked], structures[picked], [atoms[i] for i in picked]
    again, after = select(settings, tmp_path / "again", frames, reference=known)
    # the reference adds weight to what it covers, so that clusters may shift a little, but hardly anything is
    # new
    assert after["known"] == len(first)
    assert len(again) <= 0.15 * len(first)
    half = [i for i in picked if structures[i][0] > np.median(structures[picked, 0])]
    known = [rows[i] for i in half], structures[half], [atoms[i] for i in half]
    rest, after = select(settings, tmp_path / "rest", frames, reference=known)
    assert after["known"] == len(half)
    assert not {row["snapshot_id"] for row in rest} & {rows[i]["snapshot_id"] for i in half}
    assert 0.3 * len(first) < len(rest) < 0.75 * len(first)
    assert counts["known"] == 0


def test_farthest_spreads_structures_more_than_random(frames, tmp_path):
    nearest = {}
    for policy in ("farthest", "random"):
        chosen = options(policy, target=12, include_equilibrium=False)
        rows, _ = select(Select(**chosen), tmp_path / policy, frames)
        nearest[policy] = min(row["novelty"] for row in rows[1:])
    assert nearest["farthest"] > nearest["random"]


def test_random_depends_on_the_seed_alone(frames, tmp_path):
    found = []
    for seed in (1, 1, 2):
        rows, _ = select(Select(**options("random")), tmp_path / f"{len(found)}", frames, seed=seed)
        found.append([row["snapshot_id"] for row in rows])
    assert found[0] == found[1] != found[2]
