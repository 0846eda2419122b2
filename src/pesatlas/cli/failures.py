"""The command ``pesatlas failures``: everything that was refused, failed or was kept out, and what to do."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

import pesatlas
from pesatlas.cli.query import say_unfinished
from pesatlas.dataset.atlas import Atlas
from pesatlas.dataset.remedies import REMEDIES
from pesatlas.errors import UserError
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import LOST

SHOWN = 8
"""Rows of one stage and reason that are printed; the others with ``--all``, ``--to`` or ``--json``."""


def show_failures(
    results: Path,
    reasons: Sequence[str],
    to: Path | None,
    console: Console,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """Print failures by stage and reason, each with its sentence, and the remedy of each reason.

    Parameters
    ----------
    reasons : those to show; all, if none is given
    to : a file to write all rows to, .csv or .parquet
    every : print all rows, not the first of each reason

    Raises
    ------
    UserError
        If no failure has such a reason; the message tells those that there are.
    """
    atlas = pesatlas.open(results, so_far=True)
    rows = _rows(atlas, reasons)
    if as_json:
        told = [
            row | {"remedy": REMEDIES[FailureReason(row["reason"])].replace("KEY", row["key"])}
            for row in rows
        ]
        console.print_json(json.dumps(told))
        return
    say_unfinished(atlas, console)
    if to is not None:
        atlas.query(_sql(reasons), to)
        console.print(f"[green]{escape(str(to))}[/green]: {len(rows)} rows")
        return
    if not rows:
        console.print("Nothing failed." if not atlas.unfinished else "Nothing has failed so far.")
        return
    groups = defaultdict(list)
    for row in rows:
        groups[row["stage"], row["reason"]].append(row)
    for (stage, reason), those in groups.items():
        console.print(f"[bold]{stage}: {reason}[/bold] ({len(those)})", highlight=False)
        remedy = REMEDIES[FailureReason(reason)].replace("KEY", those[0]["key"])
        console.print(f"  [dim]{escape(remedy)}[/dim]", highlight=False)
        for row in those if every else those[:SHOWN]:
            level = f" at {row['level']}" if row["level"] else ""
            console.print(f"  {escape(row['key'])}{level}: {escape(_sentence(row))}", highlight=False)
        if not every and len(those) > SHOWN:
            console.print(f"  … and {len(those) - SHOWN} more: --all, or --to failures.csv")


def _sentence(row: dict[str, Any]) -> str:
    """Return the detail of a failure in words: that of quarantined rows is a list of rules, as JSON."""
    if row["reason"] != FailureReason.QUARANTINED:
        return str(row["detail"])
    return "; ".join(str(each["why"]) for each in json.loads(row["detail"]))


def _rows(atlas: Atlas, reasons: Sequence[str]) -> list[dict[str, Any]]:
    if "failures" not in atlas.tables:
        return []
    there = {row["reason"] for row in atlas.query("SELECT DISTINCT reason FROM failures").to_pylist()}
    for reason in reasons:
        if reason not in there:
            known = ", ".join(sorted(there)) or "none at all"
            raise UserError(f"no failure has the reason '{reason}'. There are: {known}.")
    return atlas.query(_sql(reasons)).to_pylist()


def _sql(reasons: Sequence[str]) -> str:
    """Return the query; its values were found in the table.

    Without a reason, the losses are asked for.
    """
    quoted = ", ".join(f"'{reason}'" for reason in reasons)
    where = f"reason IN ({quoted})" if reasons else LOST
    return f"SELECT * FROM failures WHERE {where} ORDER BY stage, reason, level, key"  # noqa: S608 - names of reasons
