"""Queries over all files of a table of a campaign, for counts by domain, crystal or trajectory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import is_file_of


class CampaignTables:
    """The files of a campaign, asked by DuckDB."""

    def __init__(self, results: Path, manifest: Mapping[str, Any]) -> None:
        import duckdb  # noqa: PLC0415 - slow to import

        self._connection = duckdb.connect()
        self._files = [
            (entry["table"], entry["file"], str(results / entry["file"]))
            for entry in manifest["files"]
            if entry["rows"]
        ]

    def query(self, sql: str, table: str, level: str = "", of: str = "dataset") -> list[tuple[Any, ...]]:
        """Return the result of a query on ``it``: all files of a table, or those ``of`` a level.

        Nothing if there are none. ``of`` is ``dataset`` or ``quarantine``, whose schemas are the same.
        """
        paths = [
            path
            for name, file, path in self._files
            if name == table and (not level or is_file_of(file, of, level=level))
        ]
        if not paths:
            return []
        self._connection.read_parquet(paths, union_by_name=True).create_view("it", replace=True)
        return self._connection.execute(sql).fetchall()

    def counts(self, sql: str, table: str, level: str = "") -> dict[str, Any]:
        """Return what a query of two columns says, as a mapping."""
        return {str(name): value for name, value in self.query(sql, table, level)}

    def has(self, table: str, column: str) -> bool:
        """Whether a table has a column; those of older versions may not."""
        return any(row[0] == column for row in self.query("DESCRIBE it", table))
