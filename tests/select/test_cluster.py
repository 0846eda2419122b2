import numpy as np
import pytest

from pesatlas.errors import UserError
from pesatlas.select.cluster import birch, cluster_snapshots
from pesatlas.select.pca import fit_pca
from pesatlas.tables import read_entry, read_table


def run(campaign, folder, features, pca):
    path = folder / "clusters.parquet"
    cluster_snapshots(campaign, features, pca, path)
    return read_table(path, "clusters").to_pylist(), read_entry(path).counts


def test_shards_and_their_order_do_not_matter(campaign_with, write_features, random_features, tmp_path):
    ids, structures, atoms = random_features(300)
    campaign = campaign_with(structure={"threshold": 0.1}, atoms={"threshold": 0.05})
    features, moments = write_features(tmp_path / "one", ids, structures, atoms)
    fit_pca(campaign, moments, tmp_path / "pca.npz")
    one, counts = run(campaign, tmp_path / "one", features, tmp_path / "pca.npz")
    assert counts["structure_clusters"] > 3
    assert counts["atom_clusters"] > counts["structure_clusters"]

    order = np.random.default_rng(5).permutation(300)
    mixed = [ids[i] for i in order], structures[order], [atoms[i] for i in order]
    features, moments = write_features(tmp_path / "many", *mixed, cuts=(1, 1, 40, 255))
    other, _ = run(campaign, tmp_path / "many", features, tmp_path / "pca.npz")
    assert other == one

    fit_pca(campaign, moments, tmp_path / "pca-of-many.npz")
    refitted, _ = run(campaign, tmp_path / "many", features, tmp_path / "pca-of-many.npz")
    assert [(r["structure_cluster"], r["atom_clusters"]) for r in refitted] == [
        (r["structure_cluster"], r["atom_clusters"]) for r in one
    ]


def test_two_stages_with_a_known_answer(campaign_with, write_features, tmp_path):
    # structures: two groups along the first axis; atoms: kinds 0 and 1, seen in both groups, and kind 2 in the second only
    kinds = np.array([[0.0, 1.0], [1.0, 0.0], [5.0, 5.0]])
    contents = {"a:u:T:0": [0, 1], "a:u:T:1": [1], "b:u:T:0": [0, 2], "b:u:T:1": [2, 2, 1]}
    structures = np.array([[0.0, 1.0], [0.0, 1.0], [10.0, -1.0], [10.0, -1.0]])
    atoms = [kinds[c] for c in contents.values()]
    campaign = campaign_with(structure={"components": 2}, atoms={"components": 2, "threshold": 0.01})
    features, moments = write_features(tmp_path / "f", list(contents), structures, atoms)
    fit_pca(campaign, moments, tmp_path / "pca.npz")
    rows, counts = run(campaign, tmp_path, features, tmp_path / "pca.npz")
    assert [r["snapshot_id"] for r in rows] == list(contents)
    assert [r["structure_cluster"] for r in rows] == [0, 0, 1, 1]
    # numbered through the campaign, in the order of first members; the same kind in another structure cluster is another cluster
    assert [r["atom_clusters"] for r in rows] == [[0, 1], [1], [2, 3], [3, 3, 4]]
    assert counts == {"snapshots": 4, "not_finite": 0, "structure_clusters": 2, "atom_clusters": 5}


def test_frames_without_finite_features_have_no_cluster_and_change_nothing(
    campaign_with, write_features, random_features, tmp_path
):
    ids, structures, atoms = random_features(80)
    campaign = campaign_with(structure={"threshold": 0.1})
    features, moments = write_features(tmp_path / "good", ids, structures, atoms)
    fit_pca(campaign, moments, tmp_path / "pca.npz")
    good, _ = run(campaign, tmp_path, features, tmp_path / "pca.npz")

    with_bad = (
        [*ids, "a:u:T:1"],
        np.vstack([structures, np.full(12, np.nan)]),
        [*atoms, np.full((2, 12), np.nan)],
    )
    features, moments = write_features(tmp_path / "bad", *with_bad)
    fit_pca(campaign, moments, tmp_path / "pca.npz")
    rows, counts = run(campaign, tmp_path, features, tmp_path / "pca.npz")
    assert counts["not_finite"] == 1
    assert (rows[0]["structure_cluster"], rows[0]["atom_clusters"]) == (-1, [-1, -1])
    assert rows[1:] == good


@pytest.mark.parametrize("n", [1, 40])
def test_one_frame_and_identical_frames_are_one_cluster(campaign_with, write_features, tmp_path, n):
    vector = np.random.default_rng(0).normal(size=12)
    features, moments = write_features(
        tmp_path / "f",
        [f"x:u:T:{i}" for i in range(n)],
        np.tile(vector, (n, 1)),
        [np.tile(vector, (2, 1))] * n,
    )
    fit_pca(campaign_with(), moments, tmp_path / "pca.npz")
    rows, counts = run(campaign_with(), tmp_path, features, tmp_path / "pca.npz")
    assert len(rows) == n
    assert counts["structure_clusters"] == counts["atom_clusters"] == 1


def test_features_of_another_encoder_are_refused(campaign_with, write_features, random_features, tmp_path):
    _, moments = write_features(tmp_path / "a", *random_features(20))
    features, _ = write_features(tmp_path / "b", *random_features(20), encoder_hash="b" * 64)
    fit_pca(campaign_with(), moments, tmp_path / "pca.npz")
    with pytest.raises(UserError, match="encode all again"):
        cluster_snapshots(campaign_with(), features, tmp_path / "pca.npz", tmp_path / "clusters.parquet")


def test_a_frame_in_two_shards_is_an_error(campaign_with, write_features, random_features, tmp_path):
    features, moments = write_features(tmp_path / "a", *random_features(20))
    again, _ = write_features(tmp_path / "b", *random_features(20))
    fit_pca(campaign_with(), moments, tmp_path / "pca.npz")
    with pytest.raises(UserError, match="more than once"):
        cluster_snapshots(
            campaign_with(), features + again, tmp_path / "pca.npz", tmp_path / "clusters.parquet"
        )


def test_birch_keeps_clusters_within_reach_of_the_threshold():
    points = np.random.default_rng(2).uniform(size=(2000, 2))
    labels = birch(points, 0.1)
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
    assert 20 < labels.max() < 400
    assert list(dict.fromkeys(labels.tolist())) == list(range(labels.max() + 1))
    spread = [
        np.linalg.norm(points[labels == c] - points[labels == c].mean(axis=0), axis=1).max()
        for c in range(labels.max() + 1)
    ]
    assert max(spread) < 0.3


def test_duplicates_do_not_make_more_clusters():
    base = np.random.default_rng(2).normal(size=(30, 8)) + 100
    labels = birch(np.repeat(base, 100, axis=0), 1e-6)
    np.testing.assert_array_equal(labels, np.repeat(np.arange(30), 100))
