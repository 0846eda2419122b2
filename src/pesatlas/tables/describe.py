"""Contents of a table file, from its own metadata."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from pesatlas.errors import UserError


def describe(path: Path) -> Table:
    """Return columns, types, units and meanings of the table file ``path``, to be printed by rich.

    Raises
    ------
    UserError
        If it is not a table of a campaign.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file. Name a Parquet file below results/, e.g. results/selection.parquet."
        )
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({error}). Name one below results/."
        ) from None
    facts = schema.metadata or {}
    if b"pesatlas.table" not in facts:
        raise UserError(f"{path} was not written by pesatlas: it does not describe itself.")
    name, version = facts[b"pesatlas.table"].decode(), facts[b"pesatlas.schema_version"].decode()
    table = Table(
        title=f"{path}: {rows} rows of table '{name}' (schema version {version})", title_justify="left"
    )
    for heading in ("column", "type", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for field in schema:
        about = field.metadata or {}
        kind = str(field.type).replace("<element: ", "<").replace("halffloat", "float16")
        table.add_row(
            field.name, kind, about.get(b"unit", b"").decode(), about.get(b"description", b"").decode()
        )
    return table
