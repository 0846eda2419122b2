"""Queries of a finished campaign: SQL over its tables, the history of a row."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import pesatlas
from pesatlas.dataset.atlas import Atlas
from pesatlas.dataset.explain import explain
from pesatlas.runtime.progress import Progress

SHOWN = 100
"""Rows that are printed; ``--to`` writes all."""


def query(sql: str, results: Path, to: Path | None, console: Console) -> None:
    """Answer a query: print the first rows, or write all to a CSV or Parquet file.

    Raises
    ------
    UserError
        If it cannot be answered, or the file is of neither kind.
    """
    atlas = pesatlas.open(results, so_far=True)
    say_unfinished(atlas, console)
    Progress("querying")
    found = atlas.query(sql, to)
    if to is not None:
        console.print(f"[green]{escape(str(to))}[/green]")
        return
    table = Table(*(escape(name) for name in found.column_names))
    for row in found.slice(0, SHOWN).to_pylist():
        table.add_row(*(escape("" if value is None else str(value)) for value in row.values()))
    console.print(table)
    if len(found) > SHOWN:
        console.print(f"The first {SHOWN} of {len(found)} rows. All of them: --to rows.csv")


def say_unfinished(atlas: Atlas, console: Console) -> None:
    """Print that a campaign has not finished, and what is not there yet."""
    if atlas.unfinished:
        missing = escape("; ".join(atlas.unfinished))
        console.print(f"[yellow]This campaign has not finished.[/yellow] Not there yet: {missing}.")


def explain_row(snapshot_id: str, results: Path, console: Console) -> None:
    """Print the story of a row."""
    atlas = pesatlas.open(results, so_far=True)
    say_unfinished(atlas, console)
    for title, lines in explain(atlas, snapshot_id):
        console.print(f"[bold]{escape(title)}[/bold]")
        grid = Table.grid(padding=(0, 2))
        for name, text in lines:
            grid.add_row(f"  {escape(name)}", escape(text))
        console.print(grid)
