import numpy as np
import pytest
from ase.build import bulk

from pesatlas.encode import encode_shard
from pesatlas.encode.encoders import chgnet
from pesatlas.errors import UserError
from pesatlas.tables import read_entry, read_table, write_table
from pesatlas.tables.moments import ShardMoments


def frames():
    for i, crystal in enumerate(
        [bulk("NaCl", "rocksalt", a=5.7), bulk("Si"), bulk("Cu"), bulk("MgO", "rocksalt", a=4.2)] * 8
    ):
        atoms = crystal * (1 + i % 2, 1, 1)
        atoms.rattle(0.05, seed=i)
        yield atoms.numbers, atoms.positions, np.array(atoms.cell)


def vectors(table, name, dimension):
    return table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)


def test_features_stand_in_the_order_of_snapshots_with_the_moments_of_the_table(
    settings, write_snapshots, tmp_path
):
    snapshots = write_snapshots(list(frames()))
    encode_shard.encode_snapshots(settings, snapshots, tmp_path / "f.parquet", tmp_path / "m.npz")
    table = read_table(tmp_path / "f.parquet", "features")
    shots = read_table(snapshots, "snapshots")
    assert table.column("snapshot_id").equals(shots.column("snapshot_id"))
    assert table.column("n_atoms").equals(shots.column("n_atoms"))
    sizes = [len(v) for v in table.column("atom_features")]
    assert sizes == [64 * n for n in table.column("n_atoms").to_pylist()]

    encoder = chgnet.load(chgnet.Options(), "cpu")
    numbers, positions, cell = list(frames())[5]
    structure, atoms = encoder.encode([encode_shard.Frame(numbers, positions, cell)])
    np.testing.assert_allclose(
        np.array(table.column("structure_features")[5].as_py(), float), structure[0], rtol=2e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        np.array(table.column("atom_features")[5].as_py(), float), atoms.ravel(), rtol=2e-3, atol=1e-3
    )

    moments = ShardMoments.read(tmp_path / "m.npz")
    assert (moments.encoder, moments.weights_hash) == (encoder.name, encoder.weights_hash)
    for part, name in ((moments.structures, "structure_features"), (moments.atoms, "atom_features")):
        x = vectors(table, name, 64).astype(float)
        assert part.n == len(x)
        np.testing.assert_allclose(part.total, x.sum(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(part.outer, x.T @ x, rtol=1e-12, atol=1e-12)
    entry = read_entry(tmp_path / "f.parquet")
    assert entry.rows == read_entry(snapshots).rows == 32
    assert entry.counts == {"snapshots": 32, "not_finite": 0}


def test_an_empty_shard_is_an_empty_table_with_zero_moments(settings, write_snapshots, tmp_path):
    encode_shard.encode_snapshots(settings, write_snapshots([]), tmp_path / "f.parquet", tmp_path / "m.npz")
    assert read_table(tmp_path / "f.parquet", "features").num_rows == 0
    moments = ShardMoments.read(tmp_path / "m.npz")
    assert moments.structures.n == moments.atoms.n == 0
    assert moments.structures.outer.shape == (64, 64)


def test_frames_that_are_not_finite_are_marked_and_stay_out_of_the_moments(
    settings, write_snapshots, tmp_path
):
    good = list(frames())[:4]
    broken_position = (good[1][0], good[1][1] * np.nan, good[1][2])
    flat_cell = (good[2][0], good[2][1], np.diag([3.0, 3.0, 0.0]))
    snapshots = write_snapshots([good[0], broken_position, good[2], flat_cell, good[3]])
    encode_shard.encode_snapshots(settings, snapshots, tmp_path / "f.parquet", tmp_path / "m.npz")
    table = read_table(tmp_path / "f.parquet", "features")
    finite = [np.isfinite(np.array(v.as_py(), float)).all() for v in table.column("structure_features")]
    assert finite == [True, False, True, False, True]
    assert [len(v) for v in table.column("atom_features")] == [
        64 * n for n in table.column("n_atoms").to_pylist()
    ]
    moments = ShardMoments.read(tmp_path / "m.npz")
    assert moments.structures.n == 3
    assert np.isfinite(moments.atoms.outer).all()
    assert read_entry(tmp_path / "f.parquet").counts == {"snapshots": 5, "not_finite": 2}


def test_features_beyond_float16_are_marked(settings, write_snapshots, tmp_path, monkeypatch):
    real = chgnet.ChgnetEncoder.encode

    def loud(self, asked):
        structures, atoms = real(self, asked)
        atoms[0] *= 1e6
        return structures, atoms

    monkeypatch.setattr(chgnet.ChgnetEncoder, "encode", loud)
    encode_shard.encode_snapshots(
        settings, write_snapshots(list(frames())[:3]), tmp_path / "f.parquet", tmp_path / "m.npz"
    )
    assert read_entry(tmp_path / "f.parquet").counts["not_finite"] == 1
    assert np.isfinite(ShardMoments.read(tmp_path / "m.npz").atoms.outer).all()


def test_an_unknown_element_is_told_to_the_user(settings, write_snapshots, tmp_path):
    snapshots = write_snapshots([([118], np.zeros((1, 3)), np.eye(3) * 4)])
    with pytest.raises(UserError, match=r"x-0:unit:300K:0.*\[118\].*encode\.encoder"):
        encode_shard.encode_snapshots(settings, snapshots, tmp_path / "f.parquet", tmp_path / "m.npz")
    assert not (tmp_path / "f.parquet").exists()


def test_moments_that_are_no_moments(tmp_path):
    (tmp_path / "m.npz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="Delete it"):
        ShardMoments.read(tmp_path / "m.npz")
    with pytest.raises(UserError, match="has not run"):
        ShardMoments.read(tmp_path / "none.npz")


def kept_features(path, names, encoder_hash):
    """Table ``features`` as exploration writes it: made-up numbers, to be told from those of the encoder."""
    rows = [
        {
            "snapshot_id": name,
            "n_atoms": n,
            "structure_features": np.full(64, 0.5 + i, np.float16).tolist(),
            "atom_features": np.full(64 * n, 0.25 + i, np.float16).tolist(),
        }
        for i, (name, n) in enumerate(names)
    ]
    about = {"pesatlas.encoder": "chgnet/0.3.0", "pesatlas.encoder_hash": encoder_hash}
    write_table(path, "features", rows, "test", metadata=about)
    return path


def test_features_that_exploration_kept_are_taken_and_the_others_encoded(
    settings, write_snapshots, tmp_path, monkeypatch
):
    asked = []
    real = chgnet.ChgnetEncoder.encode

    def counted(self, frames):
        asked.extend(frames)
        return real(self, frames)

    monkeypatch.setattr(chgnet.ChgnetEncoder, "encode", counted)
    shots = list(frames())[:6]
    snapshots = write_snapshots(shots)
    names = [(f"x-{i}:unit:300K:{i}", len(shots[i][0])) for i in (1, 2, 3, 5)]
    own = chgnet.load(chgnet.Options(), "cpu").weights_hash
    kept = kept_features(tmp_path / "kept.parquet", names, own)
    encode_shard.encode_snapshots(settings, snapshots, tmp_path / "f.parquet", tmp_path / "m.npz", kept)
    # as the crystal at rest, whose features nobody needed before
    assert len(asked) == 2
    table = read_table(tmp_path / "f.parquet", "features")
    assert table["snapshot_id"].equals(read_table(snapshots, "snapshots")["snapshot_id"])
    first = [vector[0] for vector in table["structure_features"].to_pylist()]
    assert [first[i] for i in (1, 2, 3, 5)] == [0.5, 1.5, 2.5, 3.5]
    assert first[0] != 0.5
    assert table["atom_features"].to_pylist()[3] == [2.25] * 64 * len(shots[3][0])
    moments = ShardMoments.read(tmp_path / "m.npz")
    x = vectors(table, "atom_features", 64).astype(float)
    np.testing.assert_allclose(moments.atoms.total, x.sum(axis=0), rtol=1e-12)


def test_all_features_were_kept(settings, write_snapshots, tmp_path, monkeypatch):
    own = chgnet.load(chgnet.Options(), "cpu").weights_hash
    monkeypatch.setattr(chgnet.ChgnetEncoder, "encode", None)
    shots = list(frames())[:3]
    names = [(f"x-{i}:unit:300K:{i}", len(shot[0])) for i, shot in enumerate(shots)]
    kept = kept_features(tmp_path / "kept.parquet", names, own)
    encode_shard.encode_snapshots(
        settings, write_snapshots(shots), tmp_path / "f.parquet", tmp_path / "m.npz", kept
    )
    assert read_table(tmp_path / "f.parquet", "features").equals(read_table(kept, "features"))


def test_features_of_another_encoder_are_left_alone(settings, write_snapshots, tmp_path, caplog):
    shots = list(frames())[:2]
    names = [(f"x-{i}:unit:300K:{i}", len(shot[0])) for i, shot in enumerate(shots)]
    kept = kept_features(tmp_path / "kept.parquet", names, "0" * 64)
    snapshots = write_snapshots(shots)
    encode_shard.encode_snapshots(settings, snapshots, tmp_path / "f.parquet", tmp_path / "m.npz", kept)
    encode_shard.encode_snapshots(settings, snapshots, tmp_path / "g.parquet", tmp_path / "n.npz")
    assert read_table(tmp_path / "f.parquet", "features").equals(
        read_table(tmp_path / "g.parquet", "features")
    )
    assert "encoding again" in caplog.text
