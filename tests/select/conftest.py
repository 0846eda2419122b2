from itertools import pairwise

import numpy as np
import pytest

from pesatlas.select.select_frames import cluster_frames
from pesatlas.tables import write_table
from pesatlas.testing import selecting


@pytest.fixture
def cluster():
    """Cluster shards of features, in groups of them; return the tables of clusters."""

    def cluster(settings, folder, features, pca, groups=None):
        named = {f"{i:05d}": group for i, group in enumerate(groups or [features])}
        return list(cluster_frames(settings, named, pca, folder).values())

    return cluster


@pytest.fixture
def snapshot():
    return selecting.snapshot


@pytest.fixture
def write_features():
    return selecting.write_features


@pytest.fixture
def random_features():
    return selecting.random_features


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

    def write(rows, clusters, cuts=(), metadata=None):
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
            write_table(tables[-1], "clusters", table, "test", metadata=metadata)
        return shards, tables

    return write
