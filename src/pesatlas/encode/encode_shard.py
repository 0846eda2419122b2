"""Encode a shard of snapshots: features in the same order, and their moments."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.config.encode import Encode
from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.encode.encoder import Encoder, Frame
from pesatlas.errors import UserError
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.device import check_device
from pesatlas.runtime.progress import Progress
from pesatlas.tables import SCHEMAS, TableWriter, read_entry
from pesatlas.tables.io import ROW_GROUP, check_metadata
from pesatlas.tables.moments import Moments, ShardMoments

log = logging.getLogger(__name__)

_COLUMNS = ["snapshot_id", "n_atoms", "numbers", "positions_A", "cell_A"]


def encode_snapshots(settings: Encode, snapshots: Path, features: Path, moments: Path) -> None:
    """Describe every frame of ``snapshots`` by vectors of its structure and its atoms.

    Frames are read in row groups, encoded together by atoms, rounded to float16 and written in the same
    order. Moments are summed from the rounded values, so that they are those of the table. A frame with a
    feature that is not finite (or beyond float16) keeps its row, all its values NaN, stays out of the moments
    and is counted as ``not_finite`` in the manifest: it is never picked, and spoils nothing.

    Parameters
    ----------
    snapshots, features : Path
        Tables of these names.
    moments : Path
        ``.npz`` of ``pesatlas.tables.moments``.

    Raises
    ------
    UserError
        If the encoder does not know an element.
    """
    check_metadata(snapshots, "snapshots")
    expected = read_entry(snapshots).rows
    check_device(settings.device, "encode.device")
    model: Any = settings.encoder
    encoder: Encoder = find("pesatlas.encode.encoders", model.kind).load(model, settings.device)
    sums = ShardMoments(
        encoder.name,
        encoder.weights_hash,
        Moments.empty(encoder.structure_dim),
        Moments.empty(encoder.atom_dim),
    )
    about = {"pesatlas.encoder": encoder.name, "pesatlas.encoder_hash": encoder.weights_hash}
    fingerprint = digest(settings.identity(), encoder.weights_hash)
    not_finite, progress = 0, Progress("encoded", expected)
    with TableWriter(features, "features", fingerprint, about) as writer:
        for rows in _row_groups(snapshots):
            frames = [_frame(row, encoder) for row in rows]
            described = _encode(encoder, frames, settings.atoms_per_evaluation)
            good = [np.isfinite(s).all() and np.isfinite(a).all() for s, a in described]
            kept = [vectors for ok, vectors in zip(good, described, strict=True) if ok]
            if kept:
                sums.structures.add(np.stack([structure for structure, _ in kept]))
                sums.atoms.add(np.concatenate([atoms for _, atoms in kept]))
            not_finite += good.count(False)
            writer.write(_table(rows, described, good))
            progress.step(len(rows))
        if writer.rows != expected:
            raise UserError(
                f"{snapshots} has {writer.rows} rows, its manifest says {expected}. Delete it and run again."
            )
        writer.counts.update(snapshots=expected, not_finite=not_finite)
        sums.write(moments)
    if not_finite:
        log.warning(
            "%s: %d of %d frames have features that are not finite; they will not be picked",
            snapshots,
            not_finite,
            expected,
        )
    log.info("%d frames, %d atoms encoded with %s", expected, sums.atoms.n, encoder.name)


def _row_groups(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Rows of a shard with NumPy geometry, one row group after the other."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=_COLUMNS):
            yield batch.to_pylist()


def _frame(row: dict[str, Any], encoder: Encoder) -> Frame | None:
    """Geometry of a row; None if no encoder should be asked to look at it.

    Raises
    ------
    UserError
        If an element is unknown to the encoder.
    """
    numbers = np.array(row["numbers"], dtype=np.int64)
    unknown = sorted(set(numbers.tolist()) - encoder.elements)
    if unknown:
        raise UserError(
            f"{row['snapshot_id']}: the encoder {encoder.name} does not know the element(s) with atomic "
            f"number {unknown}. Choose another in encode.encoder, or leave these structures out."
        )
    frame = Frame(
        numbers,
        np.array(row["positions_A"], dtype=float).reshape(-1, 3),
        np.array(row["cell_A"], dtype=float).reshape(3, 3),
    )
    sound = (
        np.isfinite(frame.positions).all()
        and np.isfinite(frame.cell).all()
        and abs(np.linalg.det(frame.cell)) > 0
    )
    return frame if sound else None


def _encode(encoder: Encoder, frames: list[Frame | None], most_atoms: int) -> list[tuple[NDArray, NDArray]]:
    """Float16 vectors of each frame, (D,) and (n, d); NaN for a frame that is None."""
    asked = [frame for frame in frames if frame is not None]
    found: list[tuple[NDArray, NDArray]] = []
    for run in chunks_by_atoms((len(frame.numbers) for frame in asked), most_atoms):
        batch = asked[run.start : run.stop]
        structures, atoms = encoder.encode(batch)
        edges = np.cumsum([len(frame.numbers) for frame in batch])[:-1]
        with np.errstate(over="ignore"):  # found by its infinities
            halves = np.split(atoms.astype(np.float16), edges)
            found += zip(structures.astype(np.float16), halves, strict=True)
    answers = iter(found)
    nothing = (
        np.full(encoder.structure_dim, np.nan, np.float16),
        np.full((1, encoder.atom_dim), np.nan, np.float16),
    )
    return [nothing if frame is None else next(answers) for frame in frames]


def _table(
    rows: list[dict[str, Any]], described: list[tuple[NDArray, NDArray]], good: list[bool]
) -> pa.Table:
    """Rows of table ``features``."""
    n_atoms = np.array([row["n_atoms"] for row in rows])
    structures, atoms = [], []
    for ok, n, (structure, per_atom) in zip(good, n_atoms, described, strict=True):
        structures.append(structure if ok else np.full_like(structure, np.nan))
        atoms.append(per_atom.ravel() if ok else np.full(n * per_atom.shape[1], np.nan, np.float16))
    return pa.table(
        {
            "snapshot_id": [row["snapshot_id"] for row in rows],
            "n_atoms": pa.array(n_atoms, pa.int32()),
            "structure_features": _lists(structures),
            "atom_features": _lists(atoms),
        },
        schema=SCHEMAS["features"],
    )


def _lists(vectors: list[NDArray]) -> pa.ListArray:
    """Arrow lists of float16, one for each vector."""
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in vectors])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(vectors))
