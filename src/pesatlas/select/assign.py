"""Assign frames of some shards to the nearest structure cluster, and their atoms to the nearest in it."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.select.centres import Centres
from pesatlas.select.pca import Pca
from pesatlas.select.shards import Projected, read_projected
from pesatlas.tables import SCHEMAS, TableWriter
from pesatlas.tables.schemas import VARIANCES

log = logging.getLogger(__name__)


def assign_frames(features: list[Path], pca: Path, structures: Path, atoms: Path, clusters: Path) -> None:
    """Write the table ``clusters`` of some shards, in the order of their features.

    Raises
    ------
    UserError
        If the features were made by another encoder than the principal components.
    """
    components = Pca.read(pca)
    of_structures, found = Centres.read(structures)
    of_atoms, made_of = Centres.read(atoms)
    if len(of_atoms.edges) != len(of_structures.weights) + 1:
        raise UserError(f"{atoms} was made with other clusters than {structures}. Delete both and run again.")
    not_finite = 0
    variances = {VARIANCES: json.dumps(components.structures.eigenvalues.tolist())}
    with TableWriter(clusters, "clusters", digest(found, made_of), variances) as writer:
        for path in features:
            for frames in read_projected(path, components):
                writer.write(_table(frames, of_structures, of_atoms))
                not_finite += int((~frames.finite).sum())
        writer.counts.update(snapshots=writer.rows, not_finite=not_finite)
    log.info("%d frames assigned", writer.rows)


def _table(frames: Projected, of_structures: Centres, of_atoms: Centres) -> pa.Table:
    """Rows of table ``clusters``."""
    n, sizes = len(frames.ids), np.diff(frames.edges)
    structure = np.full(n, -1, dtype=np.int32)
    distance = np.full(n, np.nan)
    good = np.flatnonzero(frames.finite)
    structure[good], distance[good] = of_structures.nearest(
        np.zeros(len(good), dtype=np.int32), frames.structures[good]
    )
    atoms = np.full(int(frames.edges[-1]), -1, dtype=np.int32)
    rows = np.repeat(frames.finite, sizes)
    atoms[rows], _ = of_atoms.nearest(np.repeat(structure, sizes)[rows], frames.atoms[rows])
    return pa.table(
        {
            "snapshot_id": pa.array(frames.ids, pa.string()),
            "structure_cluster": structure,
            "atom_clusters": lists(frames.edges, atoms),
            "structure_pcs": lists(np.arange(n + 1) * frames.structures.shape[1], frames.structures.ravel()),
            "centre_distance": distance,
        },
        schema=SCHEMAS["clusters"],
    )


def lists(edges: NDArray[np.int64], values: NDArray) -> pa.ListArray:
    """Arrow lists of values between edges."""
    return pa.ListArray.from_arrays(edges.astype(np.int32), values)
