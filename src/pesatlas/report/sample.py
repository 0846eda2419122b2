"""A reproducible sample of the rows of a long table, independent of their order."""

import hashlib
import heapq
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.tables import iter_table
from pesatlas.tables.io import check_metadata


def sample_ids(path: Path, table: str, seed: int, most: int) -> tuple[list[str], int]:
    """Sample rows at random: those with the smallest hashes of seed and ``snapshot_id``.

    Returns
    -------
    ids : ``snapshot_id`` of at most ``most`` rows, sorted
    rows : how many there are in all
    """
    check_metadata(path, table)
    rows = 0
    keyed: list[tuple[bytes, str]] = []
    for piece in iter_table(path, ["snapshot_id"]):
        rows += piece.num_rows
        keyed += [(_sample_key(seed, name), name) for name in piece["snapshot_id"].to_pylist()]
        if len(keyed) > 2 * most:
            keyed = heapq.nsmallest(most, keyed)
    return sorted(name for _, name in heapq.nsmallest(most, keyed)), rows


def read_rows(path: Path, table: str, ids: Collection[str], columns: Sequence[str]) -> pa.Table:
    """Read ``columns`` of the rows with these ``snapshot_id``, sorted by it.

    Of the rest of the file, never more than a row group is held.

    Ids that are not there are left out.
    """
    check_metadata(path, table)
    wanted = pa.array(sorted(ids), pa.string())
    names = list(dict.fromkeys(["snapshot_id", *columns]))
    there = pq.read_schema(path)
    found = [
        piece.filter(pc.is_in(piece["snapshot_id"], value_set=wanted)) for piece in iter_table(path, names)
    ]
    rows = pa.Table.from_batches(found, pa.schema([there.field(name) for name in names]))
    return rows.sort_by("snapshot_id").select(list(columns))


def _sample_key(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"sample:{seed}:{name}".encode(), digest_size=8).digest()
