"""Frames of all snapshot shards: a light index of every one, and whole rows of a few."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.geometry import geometry_digest
from pesatlas.tables import read_entry
from pesatlas.tables.io import ROW_GROUP, check_metadata

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
    """What is known of every frame without its geometry, in the order of ``snapshot_id``.

    Attributes
    ----------
    ids, structure_ids, domains : (N,) strings
    equilibrium : (N,) bool, the crystal as given
    n_atoms : (N,)
    min_distance_A : (N,) Å
    finite : (N,) bool, energy, stress, largest force and geometry are finite numbers
    geometry : (N,) 16-byte digests of atoms, cell and positions
    shard, row : (N,) where it is written
    """

    ids: NDArray[np.str_]
    structure_ids: NDArray[np.str_]
    domains: NDArray[np.str_]
    equilibrium: NDArray[np.bool_]
    n_atoms: NDArray[np.int64]
    min_distance_A: NDArray[np.float64]
    finite: NDArray[np.bool_]
    geometry: NDArray[np.bytes_]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]


def index_frames(shards: list[Path]) -> Frames:
    """Read what ``Frames`` holds, a row group at a time.

    Raises
    ------
    UserError
        If a shard has not the rows of its manifest.
    """
    columns: dict[str, list[Any]] = defaultdict(list)
    for number, path in enumerate(shards):
        check_metadata(path, "snapshots")
        rows = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP, columns=_COLUMNS):
                for name, values in _index(batch).items():
                    columns[name].append(values)
                columns["shard"].append(np.full(batch.num_rows, number))
                columns["row"].append(np.arange(rows, rows + batch.num_rows))
                rows += batch.num_rows
        expected = read_entry(path).rows
        if rows != expected:
            raise UserError(f"{path} has {rows} rows, its manifest says {expected}. Delete it and run again.")
    if not columns:
        raise UserError(
            "There are no snapshots to select from: the failure tables say what became of the trajectories."
        )
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.argsort(whole["ids"])
    return Frames(**{name: values[order] for name, values in whole.items()})


def _index(batch: pa.RecordBatch) -> dict[str, NDArray]:
    sizes = batch.column("n_atoms").to_numpy().astype(np.int64)
    positions, positions_finite = _lists(batch, "positions_A", 3 * sizes)
    cells, cells_finite = _lists(batch, "cell_A", np.full(len(sizes), 9))
    _, stress_finite = _lists(batch, "mlip_stress_eV_per_A3", np.full(len(sizes), 6))
    atoms = np.split(batch.column("numbers").flatten().to_numpy(), np.cumsum(sizes)[:-1])
    scalars = [
        batch.column(name).to_numpy()
        for name in ("mlip_energy_eV", "mlip_max_force_eV_per_A", "min_distance_A")
    ]
    finite = np.isfinite(scalars).all(axis=0) & stress_finite & positions_finite & cells_finite
    return {
        "ids": _strings(batch, "snapshot_id"),
        "structure_ids": _strings(batch, "structure_id"),
        "domains": _strings(batch, "domain"),
        "equilibrium": _strings(batch, "condition") == "equilibrium",
        "n_atoms": sizes,
        "min_distance_A": scalars[2],
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


def look_up(shards: list[Path], frames: Frames, rows: NDArray[np.int64]) -> pa.Table:
    """Whole snapshots of ``rows`` of ``frames``, in their order; only row groups that hold one of them are read."""
    found: list[pa.Table] = []
    for number, path in enumerate(shards):
        wanted = np.sort(frames.row[rows[frames.shard[rows] == number]])
        if not len(wanted):
            continue
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            edges = np.concatenate([[0], np.cumsum(sizes)])
            groups = np.searchsorted(edges, wanted, side="right") - 1
            for group in np.unique(groups).tolist():
                table = file.read_row_group(group)
                found.append(table.take(pa.array(wanted[groups == group] - edges[group])))
    if not found:
        return pq.read_schema(shards[0]).empty_table()
    table = pa.concat_tables(found)
    return table.take(
        pc.index_in(pa.array(frames.ids[rows].tolist()), table.column("snapshot_id").combine_chunks())
    )
