"""1e5 frames through the whole stage, in bounded time and memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pesatlas.config.select import Select
from pesatlas.select.candidates import find_candidates
from pesatlas.select.centres import Centres
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.tables import SCHEMAS, TableWriter, read_entry, read_table
from pesatlas.tables.moments import Moments, ShardMoments

CRYSTALS, STEPS, ATOMS, SHARD = 500, 200, 8, 10_000
D, d = 128, 64


def shards(folder):
    """Trajectories that wander around the crystals, written in shards: (features, moments, snapshots)."""
    rng = np.random.default_rng(0)
    mixing, atom_mixing = rng.normal(size=(20, D)), rng.normal(size=(10, d))
    crystals, atom_kinds = rng.normal(size=(CRYSTALS, 20)), rng.normal(size=(CRYSTALS, ATOMS, 10))
    paths = []
    for k in range(CRYSTALS * STEPS // SHARD):
        rows = np.arange(k * SHARD, (k + 1) * SHARD)
        crystal = rows // STEPS
        structures = ((crystals[crystal] + 0.15 * rng.normal(size=(SHARD, 20))) @ mixing).astype(np.float16)
        atoms = ((atom_kinds[crystal] + 0.15 * rng.normal(size=(SHARD, ATOMS, 10))) @ atom_mixing).astype(
            np.float16
        )
        moments = ShardMoments("test/1", "a" * 64, Moments.empty(D), Moments.empty(d))
        moments.structures.add(structures)
        moments.atoms.add(atoms.reshape(-1, d))
        names = [f"mp-{c}:unit:300K:{r}" for c, r in zip(crystal, rows, strict=True)]
        columns = {
            "snapshot_id": names,
            "n_atoms": np.full(SHARD, ATOMS),
            "structure_features": lists(structures),
            "atom_features": lists(atoms.reshape(SHARD, -1)),
        }
        paths.append((folder / f"f{k}.parquet", folder / f"m{k}.npz", folder / f"s{k}.parquet"))
        with TableWriter(paths[-1][0], "features", "t", {"pesatlas.encoder_hash": "a" * 64}) as writer:
            writer.write(pa.table(columns))
        moments.write(paths[-1][1])
        text = dict.fromkeys(
            [
                "variant",
                "domain",
                "condition",
                "ensemble",
                "potential",
                "potential_hash",
                "source",
                "code_version",
            ],
            "x",
        )
        number = dict.fromkeys(
            [
                *("temperature_K", "pressure_GPa", "step", "time_fs", "instant_temperature_K"),
                *("lindemann", "mlip_energy_eV", "mlip_max_force_eV_per_A", "min_distance_A"),
            ],
            1.0,
        )
        columns = {
            "snapshot_id": names,
            "structure_id": [f"mp-{c}" for c in crystal],
            "n_atoms": np.full(SHARD, ATOMS),
            "numbers": lists(np.full((SHARD, ATOMS), 18, np.uint8)),
            "cell_A": lists(np.tile(np.eye(3).ravel() * 10, (SHARD, 1))).cast(pa.list_(pa.float64(), 9)),
            "positions_A": lists(rng.uniform(size=(SHARD, 3 * ATOMS))),
            "mlip_stress_eV_per_A3": lists(np.zeros((SHARD, 6))).cast(pa.list_(pa.float64(), 6)),
        } | {name: [value] * SHARD for name, value in (text | number).items()}
        with TableWriter(paths[-1][2], "snapshots", "t") as writer:
            writer.write(pa.table(columns).select(SCHEMAS["snapshots"].names))
    return [list(kind) for kind in zip(*paths, strict=True)]


def lists(rows):
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(offsets, rows.ravel())


def peak_kb():
    """Peak of this process's resident memory since it was last set back."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def test_a_hundred_thousand_frames(cluster, tmp_path):
    features, moments, snapshots = shards(tmp_path)
    settings = Select(target=500, structure={"threshold": 0.3}, atoms={"threshold": 0.3}, min_distance_A=0.0)
    # the peak of this test alone, whatever ran before it in this process
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kb()
    fit_pca(settings, moments, tmp_path / "pca.npz")
    groups = [features[:4], features[4:]]
    tables = cluster(settings, tmp_path, features, tmp_path / "pca.npz", groups)
    kept, hashes = [], []
    for k, (part, table) in enumerate(zip((snapshots[:4], snapshots[4:]), tables, strict=True)):
        kept.append(tmp_path / f"candidates-{k}.parquet")
        hashes.append(tmp_path / f"candidates-{k}.npy")
        find_candidates(settings, 1, part, table, tmp_path / "select/atoms.npz", kept[-1], hashes[-1])
    where = {
        "atoms": tmp_path / "select/atoms.npz",
        "reference": None,
        "selection": tmp_path / "selection.parquet",
        "structures_per_job": 3,
    }
    pick_snapshots(settings, 1, snapshots, kept, hashes, **where)
    after = peak_kb()
    selection = read_entry(tmp_path / "selection.parquet").counts
    structures = Centres.read(tmp_path / "select/structures.npz")[0]
    assert structures.weights.sum() == CRYSTALS * STEPS
    assert selection["pool"] == CRYSTALS * STEPS == sum(n for name, n in selection.items() if name != "pool")
    assert len(structures.weights) > 100
    assert selection["selected"] == 500
    # a round is one pick for each structure cluster
    first = (
        read_table(tmp_path / "selection.parquet", "selection", ["structure_cluster"]).column(0).to_pylist()
    )
    assert len(set(first)) == min(500, len(structures.weights))
    assert after - before < 1024**2
