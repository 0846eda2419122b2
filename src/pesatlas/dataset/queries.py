"""Read-only SQL queries of a campaign's tables.

DuckDB is locked before a query is seen: of all files it may open those in the campaign's folder of results
alone, where the tables are that have a name and some that have none (the report asks those). What it may open
it may write, too, so only statements that read are let through. Rows go to a file by a connection of our own.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from pesatlas.dataset.query_files import WRITERS
from pesatlas.errors import UserError
from pesatlas.storage.atomic import atomic_path

if TYPE_CHECKING:
    import duckdb

_ASKING = frozenset({"SELECT", "EXPLAIN", "PRAGMA"})
"""Statements that read; SHOW, DESCRIBE and SUMMARIZE are SELECT to DuckDB.

What PRAGMA could set is locked.
"""

_EXPLAINED = re.compile(r"\s*EXPLAIN(\s+ANALYZE|\s*\([^)]*\))?", re.IGNORECASE)
_CHUNK = 2048
"""Rows passed on at once to a file."""


class Tables(Protocol):
    """Somewhere with tables: their files by name, and the folder they are in."""

    root: Path

    def files(self) -> dict[str, list[str]]:
        """Return the files of each table."""
        ...


def add_views(connection: "duckdb.DuckDBPyConnection", tables: Tables) -> None:
    """Make each of ``tables`` a view of its name.

    Raises
    ------
    UserError
        If a file is damaged.
    """
    import duckdb  # noqa: PLC0415 - slow to import

    for name, files in tables.files().items():
        try:
            connection.execute(
                f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet({_listed(files)}, union_by_name = true)'  # noqa: S608 - our own paths
            )
        except duckdb.Error as error:
            raise UserError(
                f"table {name} of {tables.root} is damaged: {str(error).splitlines()[0]}. `pesatlas verify "
                f"{tables.root}` lists all faults."
            ) from error


@contextmanager
def asking(tables: Tables) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Yield a connection that reads ``tables`` and is locked against all else."""
    import duckdb  # noqa: PLC0415 - slow to import

    with TemporaryDirectory(prefix="pesatlas-query-", ignore_cleanup_errors=True) as spilled:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": spilled,
            "python_enable_replacements": False,  # no variables of the program that asks
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            add_views(connection, tables)
            connection.execute(f"SET allowed_directories = {_listed([str(tables.root)])}")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection


def check_reads_only(connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
    """Check that ``sql`` only asks.

    Raises
    ------
    UserError
        If it would do anything else.
    """
    statements = connection.extract_statements(sql)
    for statement in statements:
        if statement.type.name == "EXPLAIN":
            # EXPLAIN ANALYZE does what it explains
            check_reads_only(connection, _EXPLAINED.sub("", _without_comments(statement.query), count=1))
    if not statements or not all(statement.type.name in _ASKING for statement in statements):
        raise UserError(
            f"'{sql}' is not a query: tables of a campaign are only read. Begin with SELECT, SHOW or "
            "DESCRIBE; --to writes the result of a query."
        )


def write_rows(rows: "duckdb.DuckDBPyRelation | None", to: Path) -> None:
    """Write the answer of a query to a file of one of the kinds in ``WRITERS``, as it comes.

    The file is there when it is whole.

    Raises
    ------
    UserError
        If there are no rows, or this kind of file cannot have them.
    """
    if rows is None:
        raise UserError("this statement returns no rows to write. Begin with SELECT, SHOW or DESCRIBE.")
    with atomic_path(to) as temporary:
        WRITERS[to.suffix](rows.to_arrow_reader(_CHUNK), temporary, to.suffix)


def _without_comments(sql: str) -> str:
    """Return a statement without the comments before it."""
    return re.sub(r"^(\s*(--[^\n]*(\n|$)|/\*.*?\*/))*", "", sql, flags=re.DOTALL)


def _listed(files: list[str]) -> str:
    """Return names of files as a list in SQL."""
    return "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"
