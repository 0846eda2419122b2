from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from pesatlas.config.select import Select
from pesatlas.select.assign import assign_frames
from pesatlas.select.cluster import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.tables import TableWriter, write_table
from pesatlas.tables.moments import Moments, ShardMoments

HASH = "a" * 64


def _campaign_with(structures_per_job=3, **select):
    return SimpleNamespace(
        campaign=SimpleNamespace(seed=1),
        select=Select(**select),
        label=SimpleNamespace(structures_per_job=structures_per_job),
    )


def _snapshot(identity, positions, **changes):
    """One row of table ``snapshots``: argon atoms in a box of 10 Å."""
    structure, variant, condition, step = identity.split(":")
    positions = np.asarray(positions, dtype=float).reshape(-1, 3)
    row = {
        "snapshot_id": identity,
        "structure_id": structure,
        "variant": variant,
        "domain": "bulk",
        "condition": condition,
        "ensemble": "NpT",
        "temperature_K": 300.0,
        "pressure_GPa": 0.0,
        "step": int(step),
        "n_atoms": len(positions),
        "numbers": [18] * len(positions),
        "cell_A": (np.eye(3) * 10).ravel().tolist(),
        "positions_A": positions.ravel().tolist(),
        "time_fs": 0.0,
        "mlip_energy_eV": -1.0,
        "mlip_stress_eV_per_A3": [0.0] * 6,
        "mlip_max_force_eV_per_A": 0.0,
        "min_distance_A": 2.0,
        "potential": "none",
        "potential_hash": "none",
        "source": "test",
        "code_version": "test",
    }
    return row | changes


def _write_features(folder, ids, structures, atoms, cuts=(), encoder_hash=HASH):
    """Write feature shards, cut before the rows ``cuts``, with their moments; return (features, moments)."""
    edges = [0, *cuts, len(ids)]
    tables, sums = [], []
    folder.mkdir(exist_ok=True, parents=True)
    for k, (a, b) in enumerate(pairwise(edges)):
        path = folder / f"{k:05d}.parquet"
        rows = [
            {
                "snapshot_id": ids[i],
                "n_atoms": len(atoms[i]),
                "structure_features": structures[i].astype(np.float16),
                "atom_features": atoms[i].astype(np.float16).ravel(),
            }
            for i in range(a, b)
        ]
        metadata = {"pesatlas.encoder": "test/1", "pesatlas.encoder_hash": encoder_hash}
        with TableWriter(path, "features", "test", metadata) as writer:
            writer.write(rows)
        shard = ShardMoments(
            "test/1", encoder_hash, Moments.empty(structures.shape[1]), Moments.empty(atoms[0].shape[1])
        )
        for i in range(a, b):
            s, x = structures[i].astype(np.float16), atoms[i].astype(np.float16)
            if np.isfinite(s).all() and np.isfinite(x).all():
                shard.structures.add(s[None])
                shard.atoms.add(x)
        shard.write(folder / f"{k:05d}.moments.npz")
        tables.append(path)
        sums.append(folder / f"{k:05d}.moments.npz")
    return tables, sums


def _random_features(n=200, d=12, seed=0, groups=6):
    """Frames around a few centres: ids, structure vectors (n, d), atom vectors, a list of (n_i, d)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, d))
    group = rng.integers(groups, size=n)
    structures = centres[group] + 0.1 * rng.normal(size=(n, d))
    atoms = [
        centres[g] * rng.choice([0.5, 1.5], size=(rng.integers(1, 5), 1)) + 0.05 * rng.normal(size=(1, d))
        for g in group
    ]
    ids = [f"x-{g}:unit:300K:{i}" for i, g in enumerate(group)]
    return ids, structures, atoms


def _cluster(campaign, folder, features, pca, groups=None):
    """Cluster the shards ``features``, as the rules do, in ``groups`` of them; return the paths of the tables of clusters."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = groups or [features]
    grids = [folder / f"structures-{i}.npz" for i in range(len(groups))]
    for group, cells in zip(groups, grids, strict=True):
        grid_structures(campaign, group, pca, cells)
    cluster_structures(campaign, grids, pca, folder / "structures.npz")
    grids = [folder / f"atoms-{i}.npz" for i in range(len(groups))]
    for group, cells in zip(groups, grids, strict=True):
        grid_atoms(campaign, group, pca, folder / "structures.npz", cells)
    cluster_atoms(campaign, grids, folder / "structures.npz", folder / "atoms.npz")
    tables = [folder / f"clusters-{i}.parquet" for i in range(len(groups))]
    for group, table in zip(groups, tables, strict=True):
        assign_frames(group, pca, folder / "structures.npz", folder / "atoms.npz", table)
    return tables


@pytest.fixture
def cluster():
    return _cluster


@pytest.fixture
def campaign_with():
    return _campaign_with


@pytest.fixture
def snapshot():
    return _snapshot


@pytest.fixture
def write_features():
    return _write_features


@pytest.fixture
def random_features():
    return _random_features


def with_distances(clusters):
    """Add to each frame the distance to the mean of its cluster."""
    members = {}
    for c, _, pcs in clusters.values():
        members.setdefault(c, []).append(pcs)
    return {
        name: (c, atoms, pcs, float(np.linalg.norm(np.array(pcs) - np.mean(members[c], axis=0))))
        for name, (c, atoms, pcs) in clusters.items()
    }


@pytest.fixture
def write_clusters(tmp_path):
    """Write snapshots in shards and a table of clusters given by hand."""

    def write(rows, clusters, cuts=()):
        """``clusters`` maps snapshot_id to (structure cluster, atomic clusters, structure PCs)."""
        clusters = with_distances(clusters)
        edges = [0, *cuts, len(rows)]
        shards, tables = [], []
        for k, (a, b) in enumerate(pairwise(edges)):
            shards.append(tmp_path / f"snapshots-{len(cuts)}-{k}.parquet")
            tables.append(tmp_path / f"clusters-{len(cuts)}-{k}.parquet")
            write_table(shards[-1], "snapshots", rows[a:b], "test")
            found = [(row["snapshot_id"], *clusters[row["snapshot_id"]]) for row in rows[a:b]]
            table = [
                {
                    "snapshot_id": name,
                    "structure_cluster": c,
                    "atom_clusters": atoms,
                    "structure_pcs": pcs,
                    "centre_distance": distance,
                }
                for name, c, atoms, pcs, distance in found
            ]
            write_table(tables[-1], "clusters", table, "test")
        return shards, tables

    return write
