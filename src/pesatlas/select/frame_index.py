"""Frames of snapshot shards: an index of all, and full rows of a few."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.tables import SCHEMAS
from pesatlas.tables.io import ROW_GROUP, check_metadata
from pesatlas.tables.manifest import check_content

INDEXED = 4 * ROW_GROUP
"""Frames that are indexed together."""
_COLUMNS = [
    "snapshot_id",
    "structure_id",
    "domain",
    "condition",
    "n_atoms",
    "numbers",
    "cell_A",
    "positions_A",
    "mlip_energy_eV",
    "mlip_stress_eV_per_A3",
    "mlip_max_force_eV_per_A",
    "min_distance_A",
]


@dataclass
class Frames:
    """What is known of some frames without their geometry, in the order of their table.

    Attributes
    ----------
    ids, structure_ids, domains : (N,) strings
    equilibrium : (N,) bool, the crystal as given
    n_atoms : (N,)
    min_distance_A : (N,) Å
    finite : (N,) bool, energy, stress, largest force and geometry are finite numbers
    geometry : (N,) 16-byte digests of atoms, cell and positions
    """

    ids: NDArray[np.str_]
    structure_ids: NDArray[np.str_]
    domains: NDArray[np.str_]
    equilibrium: NDArray[np.bool_]
    n_atoms: NDArray[np.int64]
    min_distance_A: NDArray[np.float64]
    finite: NDArray[np.bool_]
    geometry: NDArray[np.bytes_]


def index_batches(path: Path) -> Iterator[Frames]:
    """Yield what ``Frames`` holds of one table ``snapshots``, a few thousand frames at a time."""
    check_metadata(path, "snapshots")
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=INDEXED, columns=_COLUMNS):
            yield Frames(**_index(batch))


def _index(batch: pa.RecordBatch) -> dict[str, NDArray]:
    sizes = batch.column("n_atoms").to_numpy().astype(np.int64)
    positions, positions_finite = _lists(batch, "positions_A", 3 * sizes)
    cells, cells_finite = _lists(batch, "cell_A", np.full(len(sizes), 9))
    # null says that no potential was asked; what a potential gave has to be a number
    unasked = batch.column("mlip_energy_eV").is_null().to_numpy(zero_copy_only=False)
    stress = batch.column("mlip_stress_eV_per_A3").fill_null([0.0] * 6).flatten().to_numpy()
    stress_finite = np.isfinite(stress.reshape(-1, 6)).all(axis=1)
    atoms = np.split(batch.column("numbers").flatten().to_numpy(), np.cumsum(sizes)[:-1])
    asked = [
        batch.column(name).to_numpy(zero_copy_only=False)
        for name in ("mlip_energy_eV", "mlip_max_force_eV_per_A")
    ]
    nearest = batch.column("min_distance_A").to_numpy()
    finite = (np.isfinite(asked).all(axis=0) & stress_finite) | unasked
    finite &= np.isfinite(nearest) & positions_finite & cells_finite
    return {
        "ids": _strings(batch, "snapshot_id"),
        "structure_ids": _strings(batch, "structure_id"),
        "domains": _strings(batch, "domain"),
        "equilibrium": _strings(batch, "condition") == "equilibrium",
        "n_atoms": sizes,
        "min_distance_A": nearest,
        "finite": finite,
        "geometry": np.array(
            [_digest(*frame) for frame in zip(atoms, cells, positions, finite, strict=True)],
            dtype=np.void(16).dtype,
        ),
    }


def _strings(batch: pa.RecordBatch, name: str) -> NDArray[np.str_]:
    return np.array(batch.column(name).to_pylist(), dtype=np.str_)


def _lists(batch: pa.RecordBatch, name: str, sizes: NDArray) -> tuple[list[NDArray], NDArray[np.bool_]]:
    """Vectors of a list column, and which of them are finite."""
    vectors = np.split(batch.column(name).flatten().to_numpy(), np.cumsum(sizes)[:-1])
    return vectors, np.array([np.isfinite(v).all() for v in vectors])


def _digest(numbers: NDArray, cell: NDArray, positions: NDArray, finite: bool) -> bytes:
    """Hash of a geometry; of nothing for one that is not finite, which is never compared."""
    if not finite:
        return bytes(16)
    return bytes.fromhex(geometry_digest(numbers, cell, positions))


def look_up(shards: list[Path], names: NDArray[np.str_], rows: NDArray[np.int64]) -> pa.Table:
    """Whole snapshots, each given by the file name of its shard and its row there, in this order.

    Only row groups that hold one are read.
    """
    found: list[pa.Table] = []
    places: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    for path in shards:
        mine = np.flatnonzero(names == path.name)
        if not len(mine):
            continue
        mine = mine[np.argsort(rows[mine])]
        check_content(path)
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            edges = np.concatenate([[0], np.cumsum(sizes)])
            # shards of an older schema version have fewer columns
            wanted_columns = [name for name in SCHEMAS["selection"].names if name in file.schema_arrow.names]
            groups = np.searchsorted(edges, rows[mine], side="right") - 1
            for group in np.unique(groups).tolist():
                wanted = mine[groups == group]
                found.append(
                    file.read_row_group(group, wanted_columns).take(pa.array(rows[wanted] - edges[group]))
                )
                places.append(wanted)
    if not found:
        return pq.read_schema(shards[0]).empty_table()
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(places))))
