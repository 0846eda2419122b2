"""What every policy promises, and what each is for."""

import numpy as np
import pytest

from pesatlas.errors import UserError
from pesatlas.registry import available
from pesatlas.select.candidates import find_candidates
from pesatlas.select.centres import Centres
from pesatlas.select.disagreement import Committee
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.reference import Reference
from pesatlas.tables import read_entry, read_table, write_table

POLICIES = available("pesatlas.select.policies")


@pytest.fixture
def frames(snapshot, random_features):
    """300 frames of 12 crystals, a few of them twice: (snapshots, structure vectors, atom vectors)."""
    ids, structures, atoms = random_features(300, groups=12)
    rng = np.random.default_rng(3)
    rows = [snapshot(name, rng.uniform(0, 10, size=(len(x), 3))) for name, x in zip(ids, atoms, strict=True)]
    for i in range(0, 300, 60):
        twin = next(j for j in range(i + 1, 300) if len(atoms[j]) == len(atoms[i]))
        rows[twin]["positions_A"], structures[twin], atoms[twin] = (
            rows[i]["positions_A"],
            structures[i],
            atoms[i],
        )
    for i in range(5, 300, 50):
        rows[i]["condition"] = "equilibrium"
    return rows, structures, atoms


def disagree(candidates, clusters, said=None):
    """Write what a committee says of candidates: by ``said``, or of every frame its own, whoever is asked with it."""
    wanted = set(read_table(candidates, "candidates")["snapshot_id"].to_pylist())
    rows = []
    for row in read_table(clusters, "clusters").to_pylist():
        name, n = row["snapshot_id"], len(row["atom_clusters"])
        if name in wanted:
            std = said(row) if said else np.random.default_rng(sum(name.encode())).uniform(0.1, 1, n)
            rows.append(
                {
                    "snapshot_id": name,
                    "structure_id": name.split(":")[0],
                    "domain": "bulk",
                    "n_atoms": n,
                    "numbers": [18] * n,
                    "atom_clusters": row["atom_clusters"],
                    "force_std_eV_per_A": std,
                    "reason": None if std is not None else "unsupported_element",
                    "code_version": "test",
                }
            )
    path = candidates.with_name(f"disagreement-{candidates.name}")
    write_table(path, "disagreement", rows, "test")
    return path


def calibrated(path, factor=2.0):
    """Write a table ``calibration``."""
    numbers = ("values", "std", "expected", "error", "error_low", "error_high")
    row = dict.fromkeys(numbers, 1.0) | {"quantity": "forces", "bin": 0, "factor": factor, "values": 1}
    write_table(path, "calibration", [row | {"held_out": True, "code_version": "test"}], "test")
    return path


@pytest.fixture
def select(write_features, cluster):
    """Run the whole stage on frames in ``order``, in shards cut before ``cuts``, in ``groups`` of shards."""

    def select(campaign, folder, frames, order=None, *, cuts=(), groups=None, reference=None):
        rows, structures, atoms = frames
        order = np.arange(len(rows)) if order is None else order
        ids = [rows[i]["snapshot_id"] for i in order]
        features, moments = write_features(
            folder / "f", ids, structures[order], [atoms[i] for i in order], cuts
        )
        shards, edges = [], [0, *cuts, len(order)]
        for k in range(len(features)):
            shards.append(folder / f"s{k}.parquet")
            write_table(shards[-1], "snapshots", [rows[i] for i in order[edges[k] : edges[k + 1]]], "test")
        parts = [list(range(len(shards)))] if groups is None else groups
        of_features = [[features[i] for i in part] for part in parts]
        of_shards = [[shards[i] for i in part] for part in parts]
        if reference:
            known, x, y = reference
            names = [row["snapshot_id"] for row in known]
            more, sums = write_features(folder / "known", names, x, y)
            moments = moments + sums
            of_features.append(more)
            write_table(folder / "known.parquet", "snapshots", known, "test")
        fit_pca(campaign, moments, folder / "pca.npz")
        tables = cluster(campaign, folder / "c", [], folder / "pca.npz", of_features)
        known_clusters = Reference(folder / "known.parquet", tables.pop()) if reference else None
        kept, hashes, asked = [], [], []
        for k, (part, table) in enumerate(zip(of_shards, tables, strict=True)):
            kept.append(folder / f"candidates-{k}.parquet")
            hashes.append(folder / f"candidates-{k}.npy")
            find_candidates(campaign, part, table, folder / "c/atoms.npz", kept[-1], hashes[-1])
            asked.append(disagree(kept[-1], table))
        pick_snapshots(
            campaign,
            shards,
            kept,
            hashes,
            atoms=folder / "c/atoms.npz",
            reference=known_clusters,
            selection=folder / "selection.parquet",
            committee=Committee(asked, calibrated(folder / "calibration.parquet")),
        )
        counts = read_entry(folder / "selection.parquet").counts
        assert counts["pool"] == sum(n for name, n in counts.items() if name != "pool")
        return read_table(folder / "selection.parquet", "selection").to_pylist(), counts

    return select


def options(policy, **more):
    return {
        "policy": {"kind": policy},
        "structure": {"threshold": 0.1},
        "atoms": {"threshold": 0.02},
        "target": 60,
        **more,
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_ten_orders_and_partitions_give_the_identical_selection(
    policy, campaign_with, frames, select, tmp_path
):
    campaign = campaign_with(**options(policy))
    one, counts = select(campaign, tmp_path / "one", frames)
    assert counts["selected"] > 30
    assert counts["duplicate"] == 5
    for seed in range(10):
        rng = np.random.default_rng(seed)
        cuts = sorted(rng.integers(0, 301, size=4).tolist())
        groups = [[4, 0], [2], [1, 3]] if seed % 2 else None
        folder = tmp_path / f"{seed}"
        other, of_other = select(campaign, folder, frames, rng.permutation(300), cuts=cuts, groups=groups)
        assert other == one
        assert of_other == counts


@pytest.mark.parametrize("policy", POLICIES)
def test_no_geometry_is_picked_twice_and_a_smaller_target_is_a_beginning(
    policy, campaign_with, frames, select, tmp_path
):
    rows, _ = select(campaign_with(**options(policy)), tmp_path / "many", frames)
    assert len({tuple(row["positions_A"]) for row in rows}) == len(rows)
    crystals = {row["structure_id"] for row in frames[0] if row["condition"] == "equilibrium"}
    first, rest = rows[: len(crystals)], rows[len(crystals) :]
    assert {row["structure_id"] for row in first} == crystals
    assert {row["policy"] for row in first} == {"equilibrium"}
    assert {row["policy"] for row in rest} == {policy}
    few, _ = select(campaign_with(**options(policy, target=20)), tmp_path / "few", frames)
    assert few == rows[:20]


def test_cover_reaches_every_atomic_cluster_for_less_than_matpes(campaign_with, frames, select, tmp_path):
    found = {}
    for policy in ("cover", "matpes"):
        folder = tmp_path / policy
        rows, counts = select(
            campaign_with(**options(policy, target=300, include_equilibrium=False)), folder, frames
        )
        assert counts["over_target"] == 0
        found[policy] = rows
        clusters = {
            row["snapshot_id"]: row["atom_clusters"]
            for row in read_table(folder / "c/clusters-0.parquet", "clusters").to_pylist()
        }
        covered = {c for row in rows for c in clusters[row["snapshot_id"]]}
        assert len(covered) == len(Centres.read(folder / "c/atoms.npz")[0].weights)
    cost = {policy: sum(row["n_atoms"] ** 3 for row in rows) for policy, rows in found.items()}
    assert cost["cover"] <= cost["matpes"]


def test_a_budget_ends_where_core_hours_end(campaign_with, frames, select, tmp_path):
    whole, _ = select(campaign_with(**options("cover", target=300)), tmp_path / "whole", frames)
    budget = {"core_hours": 1.0, "core_hours_of_64_atoms": 1024.0}  # n atoms take (n/16)³ hours x 4
    rows, counts = select(campaign_with(**options("cover", budget=budget)), tmp_path / "cut", frames)
    hours = np.cumsum([row["n_atoms"] ** 3 * 1024 / 64**3 for row in whole])
    assert counts["selected"] == (hours <= 1.0).sum() < len(whole)
    assert rows == whole[: len(rows)]
    assert hours[len(rows) - 1] <= 1.0 < hours[len(rows)]


def test_disagree_goes_where_the_committee_is_expected_to_be_wrong(
    campaign_with, frames, select, tmp_path, monkeypatch
):
    """One crystal of twelve has a disagreement ten times that of the others; frames cost the same but for their number of atoms."""
    wrong = "x-3"

    def said(row):
        return np.full(len(row["atom_clusters"]), 1.0 if row["snapshot_id"].startswith(wrong) else 0.1)

    monkeypatch.setitem(globals(), "disagree", lambda a, b, original=disagree: original(a, b, said))
    found = {}
    for policy in ("disagree", "cover"):
        chosen = options(policy, target=12, include_equilibrium=False)
        rows, _ = select(campaign_with(**chosen), tmp_path / policy, frames)
        found[policy] = sum(row["structure_id"] == wrong for row in rows)
        if policy == "disagree":
            # calibrated by the factor 2
            assert rows[0]["structure_id"] == wrong
            assert rows[0]["reason"].startswith("expected force error 2 eV/Å")
            # the others get some, too: what a label more brings falls as they grow
            assert len({row["structure_id"] for row in rows}) > 3
    assert found["disagree"] >= 3 * max(1, found["cover"])


def test_a_committee_that_can_say_nothing_is_an_error(campaign_with, frames, select, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "disagree", lambda a, b, original=disagree: original(a, b, lambda _: None))
    with pytest.raises(UserError, match="could not evaluate one candidate"):
        select(campaign_with(**options("disagree")), tmp_path, frames)


@pytest.mark.parametrize("policy", ["cover", "matpes", "disagree"])
def test_what_is_labelled_already_is_not_picked_again(policy, campaign_with, frames, select, tmp_path):
    rows, structures, atoms = frames
    campaign = campaign_with(**options(policy, target=300))
    first, counts = select(campaign, tmp_path / "first", frames)
    place = {row["snapshot_id"]: i for i, row in enumerate(rows)}
    picked = [place[row["snapshot_id"]] for row in first]
    known = [rows[i] for i in picked], structures[picked], [atoms[i] for i in picked]
    again, after = select(campaign, tmp_path / "again", frames, reference=known)
    # the reference adds weight to what it covers, so that clusters may shift a little, but hardly anything is new
    assert after["known"] == len(first)
    assert len(again) <= 0.15 * len(first)
    half = [i for i in picked if structures[i][0] > np.median(structures[picked, 0])]
    known = [rows[i] for i in half], structures[half], [atoms[i] for i in half]
    rest, after = select(campaign, tmp_path / "rest", frames, reference=known)
    assert after["known"] == len(half)
    assert not {row["snapshot_id"] for row in rest} & {rows[i]["snapshot_id"] for i in half}
    assert 0.3 * len(first) < len(rest) < 0.75 * len(first)
    assert counts["known"] == 0


def test_farthest_spreads_structures_more_than_random(campaign_with, frames, select, tmp_path):
    nearest = {}
    for policy in ("farthest", "random"):
        chosen = options(policy, target=12, include_equilibrium=False)
        rows, _ = select(campaign_with(**chosen), tmp_path / policy, frames)
        nearest[policy] = min(row["novelty"] for row in rows[1:])
    assert nearest["farthest"] > nearest["random"]


def test_random_depends_on_the_seed_alone(campaign_with, frames, select, tmp_path):
    found = []
    for seed in (1, 1, 2):
        campaign = campaign_with(**options("random"))
        campaign.campaign.seed = seed
        rows, _ = select(campaign, tmp_path / f"{len(found)}", frames)
        found.append([row["snapshot_id"] for row in rows])
    assert found[0] == found[1] != found[2]
