"""Features of a shard as weighted principal components, in blocks of frames."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.select.pca import Pca
from pesatlas.tables.components import Components
from pesatlas.tables.io import ROW_GROUP, check_metadata

_FRAMES = 4 * ROW_GROUP


@dataclass
class Projected:
    """Frames in the order of their shard.

    Attributes
    ----------
    ids : (B,) snapshot_id
    edges : (B + 1,) atoms of frame i are edges[i]:edges[i + 1]
    structures : (B, k) float32
    atoms : (atoms, l) float32; empty if they were not asked for
    finite : (B,) bool, whether structure and atoms are finite
    """

    ids: list[str]
    edges: NDArray[np.int64]
    structures: NDArray[np.float32]
    atoms: NDArray[np.float32]
    finite: NDArray[np.bool_]


def read_projected(
    path: Path, pca: Pca, *, atoms: bool = True, only: Container[str] | None = None
) -> Iterator[Projected]:
    """Yield the frames of one table ``features``; with ``only``, the row groups that hold one of these.

    Raises
    ------
    UserError
        If it was made by another encoder than the principal components.
    """
    _check_encoder(path, pca)
    columns = ["snapshot_id", "n_atoms", "structure_features"] + ["atom_features"] * atoms
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        if only is not None:
            names = [file.read_row_group(i, ["snapshot_id"])["snapshot_id"].to_pylist() for i in groups]
            groups = [i for i in groups if any(name in only for name in names[i])]  # type: ignore[assignment]
        for batch in file.iter_batches(batch_size=_FRAMES, row_groups=list(groups), columns=columns):
            structures = _project(batch.column("structure_features"), pca.structures)
            of_atoms = (
                _project(batch.column("atom_features"), pca.atoms)
                if atoms
                else np.empty((0, len(pca.atoms.axes)), dtype=np.float32)
            )
            # the encoder marks whole frames, so that a finite structure has finite atoms
            yield Projected(
                batch.column("snapshot_id").to_pylist(),
                np.concatenate([[0], np.cumsum(batch.column("n_atoms").to_numpy(), dtype=np.int64)]),
                structures,
                of_atoms,
                np.asarray(np.isfinite(structures).all(axis=1)),
            )


def _project(column: pa.ListArray, components: Components) -> NDArray[np.float32]:
    vectors = column.flatten().to_numpy(zero_copy_only=False)
    return components.project(vectors.reshape(-1, len(components.mean)))


def _check_encoder(path: Path, pca: Pca) -> None:
    check_metadata(path, "features")
    found = pq.read_schema(path).metadata.get(b"pesatlas.encoder_hash", b"none").decode()
    if found != pca.weights_hash:
        raise UserError(
            f"{path} was encoded with weights {found[:12]}, the principal components are of {pca.encoder} "
            f"({pca.weights_hash[:12]}). Delete the folder of features and encode all again."
        )
