"""Summary of each domain: cells, frames, picks and their cost, labels, losses by reason."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import is_file_of

GONE = 0.2
"""Column ``lindemann`` of a trajectory's last frame above which its atoms have left their sites."""


def count_by_domain(results: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each domain of the campaign below ``results``, in alphabetical order.

    Each has ``domain``, ``cells``, ``frames``, ``left_sites`` (trajectories, see ``GONE``), ``picks``,
    ``cost_share`` (of what all picks cost by the cube of their atoms), ``rows`` (of each level) and ``lost``
    (how many, by reason). Crystals that were lost before a domain saw them belong to none.
    """
    tables = _Tables(results, manifest)
    found = {name: tables.counts(sql, table) for name, (table, sql) in _COUNTS.items()}
    if tables.has("snapshots", "lindemann"):
        found["left_sites"] = tables.counts(_LEFT, "snapshots")
    else:
        found["left_sites"] = {}
    levels = {level: tables.counts(_ROWS, "dataset", level) for level in manifest["levels"]}
    lost = _lost(tables)
    names = sorted({name for each in (*found.values(), *levels.values(), lost) for name in each})
    return [
        {
            "domain": name,
            **{what: counts.get(name, 0) for what, counts in found.items()},
            "rows": {level: counts.get(name, 0) for level, counts in levels.items()},
            "lost": lost.get(name, {}),
        }
        for name in names
    ]


_ROWS = "SELECT domain, count(*) FROM it GROUP BY domain"
_COUNTS = {
    "cells": ("structures", _ROWS),
    "frames": ("snapshots", _ROWS),
    "picks": ("selection", _ROWS),
    "cost_share": (
        "selection",
        (
            "SELECT domain, sum(n_atoms::DOUBLE ^ 3) / (SELECT sum(n_atoms::DOUBLE ^ 3) FROM it) FROM it "
            "GROUP BY domain"
        ),
    ),
}
_LEFT = (
    "SELECT domain, count(*) FROM (SELECT domain, arg_max(lindemann, step) AS last FROM it "  # noqa: S608 - our own number
    f"WHERE lindemann IS NOT NULL GROUP BY domain, structure_id, variant, condition) WHERE last > {GONE} "
    "GROUP BY domain"
)
_CELLS = "SELECT structure_id || ':' || variant, domain FROM it"
_LOST = (
    "SELECT stage, split_part(key, ':', 1) || ':' || split_part(key, ':', 2) AS cell, reason, count(*) FROM "
    "it GROUP BY ALL ORDER BY ALL"
)


class _Tables:
    """The files of a campaign, asked by DuckDB."""

    def __init__(self, results: Path, manifest: Mapping[str, Any]) -> None:
        import duckdb  # noqa: PLC0415 - slow to import

        self._connection = duckdb.connect()
        self._files = [
            (entry["table"], entry["file"], str(results / entry["file"]))
            for entry in manifest["files"]
            if entry["rows"]
        ]

    def query(self, sql: str, table: str, level: str = "") -> list[tuple[Any, ...]]:
        """Return the result of a query on ``it``: all files of a table, or the dataset of a level.

        Nothing if there are none.
        """
        paths = [
            path
            for name, file, path in self._files
            if name == table and (not level or is_file_of(file, "dataset", level=level))
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


def _lost(tables: _Tables) -> dict[str, dict[str, int]]:
    """Return how much was lost, by domain and reason."""
    known = tables.counts(_CELLS, "structures")
    lost: dict[str, dict[str, int]] = defaultdict(dict)
    for stage, cell, reason, count in tables.query(_LOST, "failures"):
        # a cell that was refused is in no table, but its name begins with its domain
        name = known.get(cell) or (cell.split(":")[1].split("-")[0] if stage == "structures" else "")
        if name:
            lost[name][reason] = lost[name].get(reason, 0) + count
    return lost


def lost_in_words(row: Mapping[str, Any]) -> str:
    """Return what was lost in a domain, by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in row["lost"].items()) or "nothing"
