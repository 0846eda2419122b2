import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.select.pca import Pca, fit_pca
from pesatlas.select.quality import measure_selection, sample_frames
from pesatlas.tables import read_entry, read_table, write_table
from pesatlas.tables.components import Components


def pick(path, ids):
    """A selection of which only names and sizes matter."""
    frame = {
        "structure_id": "x",
        "variant": "unit",
        "domain": "bulk",
        "condition": "300K",
        "ensemble": "NpT",
        "temperature_K": 300.0,
        "pressure_GPa": 0.0,
        "step": 0,
        "n_atoms": 1,
        "numbers": [18],
        "cell_A": np.eye(3).ravel().tolist(),
        "positions_A": [0.0] * 3,
        "policy": "test",
        "reason": "test",
        "structure_cluster": 0,
        "atom_clusters": 1,
        "novelty": 0.0,
        "batch": 0,
        "mlip_energy_eV": 0.0,
        "potential": "none",
        "potential_hash": "none",
        "source": "test",
        "code_version": "test",
    }
    rows = [frame | {"snapshot_id": name, "rank": i} for i, name in enumerate(ids)]
    write_table(path, "selection", rows, "test")


@pytest.fixture
def plain(tmp_path):
    """Principal components that change nothing: one number each for structures and atoms."""
    one = np.ones(1)
    part = Components(0 * one, one, one[None], one, one)
    Pca("test/1", "a" * 64, part, part).write(tmp_path / "pca.npz")
    return tmp_path / "pca.npz"


def test_fill_distance_coverage_and_cost_as_worked_out_by_hand(write_features, plain, tmp_path):
    # frames on a line at 0, 1, ..., 7, each of one atom; two picks, at 2 and 6
    ids = [f"x:unit:300K:{i}" for i in range(8)]
    points = np.arange(8.0)[:, None]
    features, _ = write_features(tmp_path / "f", ids, points, [p[None] for p in points], cuts=(3,))
    sample_frames(1, features, plain, tmp_path / "drawn.npz")
    pick(tmp_path / "selection.parquet", [ids[2], ids[6]])
    quality = tmp_path / "quality.parquet"
    where = (tmp_path / "selection.parquet", quality)
    measure_selection(Select(), [tmp_path / "drawn.npz"], features, plain, *where)
    assert read_entry(quality).counts == {"drawn_frames": 4, "drawn_atoms": 4}
    with np.load(tmp_path / "drawn.npz") as drawn:
        lots, probe = drawn["lots"], drawn["structures"][:, 0]
    probe = probe[np.argsort(lots)][:4]
    rows = [row for row in read_table(quality, "quality").to_pylist() if row["of"] == "picks"]
    assert [row["picks"] for row in rows] == [1, 2]
    assert [row["cost_atoms3"] for row in rows] == [1.0, 2.0]
    for row, picks in zip(rows, ([2.0], [2.0, 6.0]), strict=True):
        far = np.abs(probe[:, None] - picks).min(axis=1)
        assert row["fill_mean_atoms"] == row["fill_mean_structures"] == pytest.approx(far.mean())
        assert row["fill_max_atoms"] == pytest.approx(far.max())
        assert row["fill_p99_atoms"] == pytest.approx(np.percentile(far, 99))
    assert rows[0]["gain_per_1000_labels"] is None
    others = [row for row in read_table(quality, "quality").to_pylist() if row["of"] == "random"]
    assert [row["picks"] for row in others] == [1, 2]


def test_what_was_labelled_before_counts_from_the_first_pick_on(write_features, plain, tmp_path):
    # as above; a frame at 6.5 is labelled already, and one whose features are not finite
    ids = [f"x:unit:300K:{i}" for i in range(8)]
    points = np.arange(8.0)[:, None]
    features, _ = write_features(tmp_path / "f", ids, points, [p[None] for p in points])
    known = np.array([[6.5], [np.nan]])
    reference, _ = write_features(tmp_path / "r", ["k:0", "k:1"], known, [p[None] for p in known])
    sample_frames(1, features, plain, tmp_path / "drawn.npz")
    pick(tmp_path / "selection.parquet", [ids[2]])
    where = (tmp_path / "selection.parquet", tmp_path / "quality.parquet")
    drawn = [tmp_path / "drawn.npz"]
    measure_selection(Select(), drawn, features, plain, *where, reference=reference)
    with np.load(tmp_path / "drawn.npz") as found:
        probe = found["structures"][np.argsort(found["lots"]), 0]
    rows = {row["of"]: row for row in read_table(where[1], "quality").to_pylist()}
    for of, pick_at in (("picks", 2.0), ("random", probe[4])):
        far = np.minimum(np.abs(probe[:4] - pick_at), np.abs(probe[:4] - 6.5))
        assert rows[of]["fill_mean_atoms"] == rows[of]["fill_mean_structures"] == pytest.approx(far.mean())


def test_what_is_drawn_depends_on_no_order_or_partition(
    write_features, random_features, tmp_path, monkeypatch
):
    monkeypatch.setattr("pesatlas.select.quality._DRAWN", 40)
    ids, structures, atoms = random_features(300)
    structures[7] = np.nan
    features, moments = write_features(tmp_path / "one", ids, structures, atoms)
    pca = tmp_path / "pca.npz"
    fit_pca(Select(), moments, pca)
    sample_frames(1, features, pca, tmp_path / "one.npz")
    order = np.random.default_rng(1).permutation(300)
    mixed = [ids[i] for i in order], structures[order], [atoms[i] for i in order]
    features, _ = write_features(tmp_path / "many", *mixed, cuts=(0, 90, 200))
    parts = [features[1:3], features[3:], features[:1]]
    drawn = [tmp_path / f"{i}.npz" for i in range(3)]
    for part, path in zip(parts, drawn, strict=True):
        sample_frames(1, part, pca, path)
    pick(tmp_path / "selection.parquet", ids[:5])
    found = []
    for paths in ([tmp_path / "one.npz"], drawn):
        out = tmp_path / f"quality-{len(paths)}.parquet"
        measure_selection(Select(), paths, features, pca, tmp_path / "selection.parquet", out)
        found.append(read_table(out, "quality").to_pylist())
    assert found[0] == found[1]


def test_everything_picked_is_no_distance_away(write_features, random_features, tmp_path):
    ids, structures, atoms = random_features(50)
    features, moments = write_features(tmp_path / "f", ids, structures, atoms)
    fit_pca(Select(), moments, tmp_path / "pca.npz")
    sample_frames(1, features, tmp_path / "pca.npz", tmp_path / "drawn.npz")
    pick(tmp_path / "selection.parquet", ids)
    where = (tmp_path / "selection.parquet", tmp_path / "quality.parquet")
    measure_selection(Select(), [tmp_path / "drawn.npz"], features, tmp_path / "pca.npz", *where)
    rows = [row for row in read_table(where[1], "quality").to_pylist() if row["of"] == "picks"]
    assert rows[-1]["fill_max_atoms"] == rows[-1]["fill_max_structures"] == pytest.approx(0, abs=1e-6)
    assert rows[-1]["coverage_atoms"] == rows[-1]["coverage_structures"] == 1.0
    means = [row["fill_mean_atoms"] for row in rows]
    assert means == sorted(means, reverse=True)
