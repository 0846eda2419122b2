"""Encode a shard of snapshots: features in the same order, and their moments."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.config.encode import Encode
from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.potentials.described import Described, describe, half_lists, is_finite
from pesatlas.potentials.device import check_device
from pesatlas.potentials.encoder import Encoder, Frame
from pesatlas.runtime.progress import Progress
from pesatlas.tables import SCHEMAS, TableWriter, iter_table, read_entry
from pesatlas.tables.io import ROW_GROUP, check_metadata
from pesatlas.tables.moments import Moments, ShardMoments

log = logging.getLogger(__name__)

_COLUMNS = ["snapshot_id", "n_atoms", "numbers", "positions_A", "cell_A"]


def encode_snapshots(
    settings: Encode, snapshots: Path, features: Path, moments: Path, kept: Path | None = None
) -> None:
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
    kept : Path, optional
        Table ``features`` of frames that were encoded while they were explored, in the order of
        ``snapshots``, maybe not of all: those of the same encoder are taken from there.

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
    not_finite, progress, before = 0, Progress("encoded", expected), _ExploredFeatures(kept, encoder)
    with TableWriter(features, "features", fingerprint, about) as writer:
        for rows in _row_groups(snapshots):
            found = [before.take(row["snapshot_id"]) for row in rows]
            asked = [_frame(row, encoder) for row, known in zip(rows, found, strict=True) if known is None]
            answers = iter(describe(encoder, asked, settings.atoms_per_evaluation))
            described = [next(answers) if known is None else known for known in found]
            good = [is_finite(vectors) for vectors in described]
            sound = [vectors for ok, vectors in zip(good, described, strict=True) if ok]
            if sound:
                sums.structures.add(np.stack([structure for structure, _ in sound]))
                sums.atoms.add(np.concatenate([atoms for _, atoms in sound]))
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
    log.info(
        "%d frames, %d atoms encoded with %s, %d of them while they were explored",
        expected,
        sums.atoms.n,
        encoder.name,
        before.taken,
    )


class _ExploredFeatures:
    """Features that exploration kept, read as the frames they belong to come by.

    Parameters
    ----------
    path : table ``features``; None if there is none
    encoder : those of another are left alone
    """

    def __init__(self, path: Path | None, encoder: Encoder) -> None:
        self.taken = 0
        self._dim = encoder.atom_dim
        self._rows = iter(()) if path is None or not _is_of(path, encoder) else self._read(path)
        self._next = next(self._rows, None)

    def _read(self, path: Path) -> Iterator[tuple[str, NDArray[np.float16], NDArray[np.float16]]]:
        for batch in iter_table(path, ["snapshot_id", "structure_features", "atom_features"]):
            vectors = (_halves(batch.column(i)) for i in (1, 2))
            yield from zip(batch.column(0).to_pylist(), *vectors, strict=True)

    def take(self, snapshot_id: str) -> Described | None:
        """Return the features of a frame; None if they were not kept."""
        if self._next is None or self._next[0] != snapshot_id:
            return None
        _, structure, atoms = self._next
        self._next = next(self._rows, None)
        self.taken += 1
        return structure, atoms.reshape(-1, self._dim)


def _is_of(path: Path, encoder: Encoder) -> bool:
    """Whether the features of a table are those of an encoder."""
    check_metadata(path, "features")
    about = pq.read_schema(path).metadata or {}
    found = about.get(b"pesatlas.encoder", b"").decode(), about.get(b"pesatlas.encoder_hash", b"").decode()
    if found != (encoder.name, encoder.weights_hash):
        log.warning("%s has features of %s, not of %s: encoding again", path, found[0], encoder.name)
        return False
    return True


def _halves(column: pa.Array) -> Iterator[NDArray[np.float16]]:
    """Yield the lists of a column of float16 as arrays."""
    values, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    yield from (values[start:stop] for start, stop in pairwise(offsets))


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


def _table(rows: list[dict[str, Any]], described: list[Described], good: list[bool]) -> pa.Table:
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
            "structure_features": half_lists(structures),
            "atom_features": half_lists(atoms),
        },
        schema=SCHEMAS["features"],
    )
