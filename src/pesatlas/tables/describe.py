"""Contents of a table file, from its own metadata."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from pesatlas.errors import UserError


def read_description(path: Path) -> dict[str, Any]:
    """Return name, schema version and rows of the table file ``path``, and its columns with their meanings.

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
    columns = []
    for field in schema:
        about = field.metadata or {}
        columns.append(
            {
                "column": field.name,
                "type": str(field.type).replace("<element: ", "<").replace("halffloat", "float16"),
                "unit": about.get(b"unit", b"").decode(),
                "meaning": about.get(b"description", b"").decode(),
            }
        )
    return {"table": name, "schema_version": version, "rows": rows, "columns": columns}


def describe(path: Path) -> Table:
    """Return the description of a table file, to be printed by rich; see ``read_description``."""
    found = read_description(path)
    table = Table(
        title=f"{path}: {found['rows']} rows of table '{found['table']}' (schema version "
        f"{found['schema_version']})",
        title_justify="left",
    )
    for heading in ("column", "type", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for column in found["columns"]:
        table.add_row(*column.values())
    return table
