"""Read and write tables."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pesatlas import __version__
from pesatlas.errors import UserError
from pesatlas.storage.atomic import atomic_path
from pesatlas.tables.manifest import Entry, check_content, sha256_of, write_entry
from pesatlas.tables.schemas import SCHEMA_VERSION, SCHEMAS

# Small row groups: a point look-up reads 512 rows, not the whole shard.
ROW_GROUP = 512


class TableWriter:
    """Write one table file in pieces, as a context manager.

    Nothing is visible before the last piece is on disk.

    The manifest entry of a table of failures counts its rows by reason.

    Parameters
    ----------
    path : Path
        The Parquet file.
    table : str
        A name in ``SCHEMAS``; rows are cast to its schema.
    fingerprint : str
        Hash of the settings that made the rows.
    metadata : dict of str to str
        More key-value pairs for the file's metadata.
    """

    def __init__(
        self, path: Path, table: str, fingerprint: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.table = table
        self.fingerprint = fingerprint
        self.counts: dict[str, int] = {}
        extra = {
            "pesatlas.table": table,
            "pesatlas.schema_version": str(SCHEMA_VERSION),
            "pesatlas.fingerprint": fingerprint,
            "pesatlas.version": __version__,
            **(metadata or {}),
        }
        self.schema = SCHEMAS[table].with_metadata(extra)
        self.rows = 0
        self._atomic = atomic_path(path)

    def __enter__(self) -> Self:
        self._temporary = self._atomic.__enter__()
        self._writer = pq.ParquetWriter(
            self._temporary, self.schema, compression="zstd", use_dictionary=_with_dictionary(self.schema)
        )
        return self

    def write(self, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Append rows: a pyarrow table or a list of mappings (missing keys become nulls)."""
        batch = (
            rows
            if isinstance(rows, pa.Table)
            else pa.Table.from_pylist(list(rows), schema=SCHEMAS[self.table])
        )
        batch = (
            batch.select(self.schema.names)
            .cast(SCHEMAS[self.table])
            .replace_schema_metadata(self.schema.metadata)
        )
        for field in self.schema:
            if not field.nullable and batch.column(field.name).null_count:
                raise ValueError(f"{self.path}: column {field.name} of table {self.table} has nulls")
        if self.table == "failures":
            # so that `pesatlas status` need not read the rows
            for reason, count in Counter(batch["reason"].to_pylist()).items():
                self.counts[reason] = self.counts.get(reason, 0) + count
        self._writer.write_table(batch, row_group_size=ROW_GROUP)
        self.rows += batch.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is None:
            size, sha = self._temporary.stat().st_size, sha256_of(self._temporary)
        self._atomic.__exit__(kind, error, trace)
        if kind is None:
            entry = Entry(
                self.path.name,
                self.table,
                SCHEMA_VERSION,
                self.rows,
                size,
                sha,
                self.fingerprint,
                dict(self.counts),
            )
            write_entry(self.path, entry)


def _with_dictionary(schema: pa.Schema) -> bool | list[str]:
    """Columns to write with a dictionary.

    All but lists of float16, which then are larger, and seven times as slow to read.
    """
    names = [field.name for field in schema if field.type != pa.list_(pa.float16())]
    return True if len(names) == len(schema) else names


def write_table(
    path: Path,
    table: str,
    rows: pa.Table | Sequence[Mapping[str, Any]],
    fingerprint: str,
    counts: Mapping[str, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one table file at once; see ``TableWriter``. ``counts`` go into its manifest entry."""
    with TableWriter(path, table, fingerprint, metadata) as writer:
        writer.counts.update(counts or {})
        writer.write(rows)


def read_table(path: Path, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """Read one table file and check that it is what it should be.

    Columns that an older schema version did not have are null.

    Raises
    ------
    UserError
        If it is missing, unreadable, of another table, or of a newer schema version.
    """
    wanted = SCHEMAS[table].names if columns is None else list(columns)
    if check_metadata(path, table) == SCHEMA_VERSION:
        return pq.read_table(path, columns=wanted, filters=filters)
    there = pq.read_schema(path)
    found = pq.read_table(path, columns=[name for name in wanted if name in there.names], filters=filters)
    for i, name in enumerate(wanted):
        if name not in there.names:
            field = SCHEMAS[table].field(name)
            found = found.add_column(i, field.with_nullable(True), pa.nulls(len(found), field.type))
    return found


def iter_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a file in pieces of at most a row group; memory stays that of one, however long the file is.

    Columns that its schema version did not have, and that may be null, are null.

    ``ParquetFile.iter_batches`` over a whole file keeps what it has read: 0.7 GB for 500,000 rows.
    """
    check_content(path)
    with pq.ParquetFile(path) as file:
        there = file.schema_arrow
        added = _added_since(there)
        wanted = list(columns) if columns is not None else [*added, *there.names]
        names = [name for name in wanted if name not in added]
        for group in range(file.num_row_groups):
            for piece in file.read_row_group(group, columns=names, use_threads=False).to_batches():
                yield piece if names == wanted else _completed(piece, wanted, added)


def _added_since(there: pa.Schema) -> dict[str, pa.Field]:
    """Return the columns, by name, that a table of today has, an older file lacks, and that may be null."""
    table = (there.metadata or {}).get(b"pesatlas.table", b"").decode()
    today = SCHEMAS.get(table, ())
    return {field.name: field for field in today if field.name not in there.names and field.nullable}


def _completed(piece: pa.RecordBatch, wanted: Sequence[str], added: Mapping[str, pa.Field]) -> pa.RecordBatch:
    """Return ``piece`` with nulls in columns that its file lacks."""
    columns = [
        pa.nulls(len(piece), added[name].type) if name in added else piece.column(name) for name in wanted
    ]
    fields = [added.get(name) or piece.schema.field(name) for name in wanted]
    return pa.record_batch(columns, schema=pa.schema(fields, piece.schema.metadata))


def check_metadata(path: Path, table: str) -> int:
    """Return the schema version of ``path``.

    Raise a UserError unless it is a readable file of ``table`` in a known one.

    A file with a manifest entry has to be what that says, to the last bit: what a disk or a person changed
    goes into no dataset.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: the stage that writes it has not run.")
    check_content(path)
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({error}). Delete it and run again."
        ) from error
    found = metadata.get(b"pesatlas.table", b"none").decode()
    if found != table:
        raise UserError(f"{path} contains the table '{found}', not '{table}'.")
    version: int = json.loads(metadata[b"pesatlas.schema_version"])
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}; this pesatlas knows {SCHEMA_VERSION}. Update pesatlas."
        )
    return version
