"""Coverage by datasets that are already labelled: their frames are clustered with those of the pool."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pesatlas.select.frame_index import index_batches
from pesatlas.select.pool import Known
from pesatlas.tables import read_table


class Reference(NamedTuple):
    """Tables ``snapshots`` and ``clusters`` of the frames of ``select.reference``."""

    snapshots: Path
    clusters: Path


def read_known(reference: Reference | None, dimension: int) -> tuple[Known, NDArray[np.uint64]]:
    """Return what the reference covers, and the first halves of the hashes of its geometries, sorted."""
    if reference is None:
        return Known(np.empty(0, dtype=np.int32), np.empty((0, dimension))), np.empty(0, dtype="<u8")
    table = read_table(
        reference.clusters, "clusters", ["structure_cluster", "atom_clusters", "structure_pcs"]
    )
    good = table.column("structure_cluster").to_numpy() >= 0
    clusters = np.unique(table.column("atom_clusters").combine_chunks().flatten().to_numpy())
    points = table.column("structure_pcs").combine_chunks().flatten().to_numpy()
    geometry = [frames.geometry for frames in index_batches(reference.snapshots)]
    hashes = np.frombuffer(b"".join(g.tobytes() for g in geometry), "<u8")[::2]
    return (
        Known(clusters[clusters >= 0].astype(np.int32), points.reshape(len(good), -1)[good].astype(float)),
        np.unique(hashes),
    )
