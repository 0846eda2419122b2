import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.centres import Centres
from pesatlas.select.clustering import cluster_structures, grid_structures
from pesatlas.select.grid import Cells, Gathering
from pesatlas.select.pca import fit_pca
from pesatlas.tables import read_entry, read_table


@pytest.fixture
def run(cluster):
    def run(settings, folder, features, pca, groups=None):
        tables = cluster(settings, folder, features, pca, groups)
        rows = [row for path in tables for row in read_table(path, "clusters").to_pylist()]
        structures, atoms = (
            Centres.read(folder / "select" / name)[0] for name in ("structures.npz", "atoms.npz")
        )
        counts = {
            "not_finite": sum(read_entry(path).counts["not_finite"] for path in tables),
            "structures": len(structures.weights),
            "atoms": len(atoms.weights),
        }
        return sorted(rows, key=lambda row: row["snapshot_id"]), counts

    return run


@pytest.mark.parametrize("seed", range(10))
def test_order_and_partition_change_nothing(write_features, random_features, tmp_path, run, seed):
    ids, structures, atoms = random_features(300)
    settings = Select(structure={"threshold": 0.1}, atoms={"threshold": 0.05})
    features, moments = write_features(tmp_path / "one", ids, structures, atoms)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    one, counts = run(settings, tmp_path / "one", features, tmp_path / "pca.npz")
    assert counts["structures"] > 3
    assert counts["atoms"] > counts["structures"]

    rng = np.random.default_rng(seed)
    order = rng.permutation(300)
    cuts = sorted(rng.integers(0, 301, size=5).tolist())
    mixed = [ids[i] for i in order], structures[order], [atoms[i] for i in order]
    features, moments = write_features(tmp_path / "many", *mixed, cuts=cuts)
    fit_pca(settings, moments, tmp_path / "pca-of-many.npz")
    assert (tmp_path / "pca-of-many.npz").read_bytes() == (tmp_path / "pca.npz").read_bytes()
    groups = [features[4:], features[1:3], features[3:4], features[:1]]
    other, _ = run(settings, tmp_path / "many", features, tmp_path / "pca-of-many.npz", groups)
    assert other == one


@pytest.mark.parametrize("room", [30_000, 3_000, 300])
def test_a_grid_too_fine_for_memory_is_the_same_for_any_order_and_parts(room):
    rng = np.random.default_rng(room)
    n, owners = 20_000, 40
    owner = np.minimum(rng.geometric(0.1, size=n) - 1, owners - 1).astype(np.int32)
    points = rng.normal(size=(n, 3)) * 0.03 * (1 + owner[:, None])

    def gather(order, cuts):
        whole = Gathering(0.01, owners, 3, room)
        parts = []
        for rows in np.split(order, cuts):
            part = Gathering(0.01, owners, 3, room)
            part.add_points(owner[rows], points[rows])
            parts.append(part.cells())
        for i in rng.permutation(len(parts)):
            whole.add(parts[i])
        return whole.cells()

    one = gather(np.arange(n), [])
    assert one.counts.sum() == n
    assert len(one.counts) <= room
    # coarser or not, the mean of all points of an owner is that of its cells
    features = one.features()
    for i in range(owners):
        mine = one.owners == i
        if mine.any():
            mean = np.average(features.means[mine], axis=0, weights=features.weights[mine])
            np.testing.assert_allclose(mean, points[owner == i].mean(axis=0), atol=1e-4)
    for order in (np.argsort(owner), np.argsort(points[:, 0]), rng.permutation(n)):
        other = gather(order, np.sort(rng.integers(0, n, size=6)))
        for name in ("most", "levels", "owners", "coordinates", "counts", "sums"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_two_stages_with_a_known_answer(write_features, tmp_path, run):
    # structures: two groups along the first axis; atoms: kinds 0 and 1, seen in both groups, and kind 2 in
    # the second only
    kinds = np.array([[0.0, 1.0], [1.0, 0.0], [5.0, 5.0]])
    contents = {"a:u:T:0": [0, 1, 1], "b:u:T:0": [0, 2, 2], "b:u:T:1": [2, 2, 2, 1, 1], "b:u:T:2": [2]}
    structures = np.array([[0.0, 1.0], [10.0, -1.0], [10.0, -1.0], [10.0, -1.0]])
    atoms = [kinds[c] for c in contents.values()]
    settings = Select(structure={"components": 2}, atoms={"components": 2, "threshold": 0.01})
    features, moments = write_features(tmp_path / "f", list(contents), structures, atoms)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    rows, counts = run(settings, tmp_path, features, tmp_path / "pca.npz")
    # clusters are numbered by how many they hold; the same kind in another structure cluster is another
    # cluster
    assert [r["structure_cluster"] for r in rows] == [1, 0, 0, 0]
    assert [r["atom_clusters"] for r in rows] == [[4, 3, 3], [2, 0, 0], [0, 0, 0, 1, 1], [0]]
    assert counts == {"not_finite": 0, "structures": 2, "atoms": 5}
    np.testing.assert_allclose([r["centre_distance"] for r in rows], 0.0, atol=1e-3)


def test_frames_without_finite_features_have_no_cluster_and_change_nothing(
    write_features, random_features, tmp_path, run
):
    ids, structures, atoms = random_features(80)
    settings = Select(structure={"threshold": 0.1})
    features, moments = write_features(tmp_path / "good", ids, structures, atoms)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    good, _ = run(settings, tmp_path / "good", features, tmp_path / "pca.npz")

    with_bad = (
        [*ids, "a:u:T:1"],
        np.vstack([structures, np.full(12, np.nan)]),
        [*atoms, np.full((2, 12), np.nan)],
    )
    features, moments = write_features(tmp_path / "bad", *with_bad)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    rows, counts = run(settings, tmp_path / "bad", features, tmp_path / "pca.npz")
    assert counts["not_finite"] == 1
    assert (rows[0]["structure_cluster"], rows[0]["atom_clusters"]) == (-1, [-1, -1])
    assert rows[1:] == good


@pytest.mark.parametrize("n", [1, 40])
def test_one_frame_and_identical_frames_are_one_cluster(write_features, tmp_path, run, n):
    vector = np.random.default_rng(0).normal(size=12)
    features, moments = write_features(
        tmp_path / "f",
        [f"x:u:T:{i}" for i in range(n)],
        np.tile(vector, (n, 1)),
        [np.tile(vector, (2, 1))] * n,
    )
    fit_pca(Select(), moments, tmp_path / "pca.npz")
    rows, counts = run(Select(), tmp_path, features, tmp_path / "pca.npz")
    assert len(rows) == n
    assert counts["structures"] == counts["atoms"] == 1


def test_constant_columns_and_empty_shards_change_nothing(write_features, random_features, tmp_path, run):
    ids, structures, atoms = random_features(60)
    settings = Select(structure={"threshold": 0.1})
    features, moments = write_features(tmp_path / "f", ids, structures, atoms)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    without, _ = run(settings, tmp_path / "f", features, tmp_path / "pca.npz")
    structures = np.hstack([structures, np.full((60, 2), 7.0)])
    features, moments = write_features(tmp_path / "g", ids, structures, atoms, cuts=(0, 60))
    fit_pca(settings, moments, tmp_path / "pca.npz")
    with_constant, _ = run(settings, tmp_path / "g", features, tmp_path / "pca.npz", [[f] for f in features])
    clusters = [
        [(r["structure_cluster"], r["atom_clusters"]) for r in rows] for rows in (without, with_constant)
    ]
    assert clusters[0] == clusters[1]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_number_of_clusters_is_met(write_features, random_features, tmp_path, run, count):
    ids, structures, atoms = random_features(500, groups=60)
    settings = Select(structure={"clusters": count}, atoms={"clusters": 4 * count})
    features, moments = write_features(tmp_path / "f", ids, structures, atoms)
    fit_pca(settings, moments, tmp_path / "pca.npz")
    rows, counts = run(settings, tmp_path, features, tmp_path / "pca.npz")
    assert counts["structures"] == pytest.approx(count, abs=max(1, 0.1 * count))
    assert counts["atoms"] == pytest.approx(4 * count, abs=max(1, 0.1 * 4 * count))
    assert len({r["structure_cluster"] for r in rows}) == counts["structures"]


def test_more_clusters_than_points_gives_every_point_its_own(write_features, tmp_path, run):
    vectors = np.arange(30.0).reshape(5, 6) ** 1.5
    features, moments = write_features(
        tmp_path / "f", [f"x:u:T:{i}" for i in range(5)], vectors, [v[None] for v in vectors]
    )
    settings = Select(structure={"clusters": 100})
    fit_pca(settings, moments, tmp_path / "pca.npz")
    _, counts = run(settings, tmp_path, features, tmp_path / "pca.npz")
    assert counts["structures"] == 5


def test_features_of_another_encoder_are_refused(write_features, random_features, tmp_path):
    _, moments = write_features(tmp_path / "a", *random_features(20))
    features, _ = write_features(tmp_path / "b", *random_features(20), encoder_hash="b" * 64)
    fit_pca(Select(), moments, tmp_path / "pca.npz")
    with pytest.raises(UserError, match="encode all again"):
        grid_structures(Select(), features, tmp_path / "pca.npz", tmp_path / "cells.npz")


def test_cells_of_other_principal_components_are_refused(write_features, random_features, tmp_path):
    settings = Select()
    for seed, name in ((0, "a"), (1, "b")):
        features, moments = write_features(tmp_path / name, *random_features(50, seed=seed))
        fit_pca(settings, moments, tmp_path / f"{name}.npz")
        grid_structures(settings, features, tmp_path / f"{name}.npz", tmp_path / f"cells-{name}.npz")
    assert Cells.read(tmp_path / "cells-a.npz")[0].counts.sum() == 50
    cells = [tmp_path / "cells-a.npz", tmp_path / "cells-b.npz"]
    with pytest.raises(UserError, match="other principal components"):
        cluster_structures(settings, cells, tmp_path / "a.npz", tmp_path / "structures.npz")
