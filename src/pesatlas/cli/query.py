"""Queries of a finished campaign: SQL over its tables, the history of a row."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import pesatlas
from pesatlas.cli.app import print_json
from pesatlas.dataset.atlas import Atlas
from pesatlas.dataset.explain import explain
from pesatlas.dataset.questions import sql_of
from pesatlas.runtime.progress import Progress

SHOWN = 100
"""Rows that are printed; ``--to`` writes all."""
_WIDEST = 60
"""Letters of a value that are shown: ids are whole, of lists and JSON the beginning."""
_DIGITS = 9
"""Digits of a number that are shown."""
_NARROW = 80
"""Columns of a terminal below which a table has no frame."""


def query(sql: str, results: Path, to: Path | None, console: Console, *, as_json: bool = False) -> None:
    """Answer a query or a question by its name: print the first rows, or write all to a file.

    Raises
    ------
    UserError
        If it cannot be answered, or the file is of neither kind.
    """
    atlas = pesatlas.open(results, so_far=True)
    if not as_json:
        say_unfinished(atlas, console)
    Progress("querying")
    found = atlas.query(sql_of(sql), to)
    if as_json and to is None:
        print_json(found.to_pylist())
        return
    if to is not None:
        console.print(f"[green]{escape(str(to))}[/green]")
    elif sql.strip() == "levels-apart" and len(atlas.levels) == 1:
        console.print(
            f"This campaign has one level, {escape(atlas.levels[0])}: there is none to compare it with."
        )
    elif len(found) == 1:
        _show_record(found, console)
    else:
        _show_rows(found, console)


def _show_record(found: pa.Table, console: Console) -> None:
    """Print the only row, a line for each column."""
    grid = Table.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(overflow="fold")
    for name, column in zip(found.column_names, found.columns, strict=True):
        grid.add_row(f"[bold]{escape(name)}[/bold]", escape(_text(column[0].as_py())))
    console.print(grid)


def _show_rows(found: pa.Table, console: Console) -> None:
    """Print the first rows, in as many columns as fit, and how many more there are of both."""
    # by columns: two may have one name
    columns = [map(_text, column.to_pylist()) for column in found.slice(0, SHOWN).columns]
    rows = list(zip(*columns, strict=True))
    widths = [
        max(len(name), *(min(len(row[i]), _WIDEST) for row in rows), 0)
        for i, name in enumerate(found.column_names)
    ]
    # without lines more columns may fit: ids are long, and what is asked of them stands behind them
    plain, ruled = _fitting(widths, console.width, 2), _fitting(widths, console.width - 1, 3)
    narrow = console.width < _NARROW or plain > ruled
    fitting = plain if narrow else ruled
    table = Table(box=None, padding=(0, 2, 0, 0)) if narrow else Table()
    for name in found.column_names[:fitting]:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        cells = (value if len(value) <= _WIDEST else f"{value[: _WIDEST - 1]}…" for value in row[:fitting])
        table.add_row(*map(escape, cells))
    console.print(table)
    if hidden := found.column_names[fitting:]:
        console.print(
            f"And {len(hidden)} more columns: {escape(', '.join(hidden))}. Name those you want in SELECT, or "
            "write all with --to rows.csv.",
            soft_wrap=True,
        )
    if len(found) > SHOWN:
        console.print(f"The first {SHOWN} of {len(found):,} rows. All of them: --to rows.csv")


def _fitting(widths: Sequence[int], room: int, gap: int) -> int:
    """Return how many of the first columns fit side by side; at least one."""
    ends = accumulate(width + gap for width in widths)
    return max(sum(end <= room for end in ends), 1)


def _text(value: Any) -> str:
    """Return a value as people read it; ``--json`` and ``--to`` have every digit."""
    return "" if value is None else str(_rounded(value))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return {key: _rounded(each) for key, each in value.items()} if isinstance(value, dict) else value


def say_unfinished(atlas: Atlas, console: Console) -> None:
    """Print that a campaign has not finished, and what is not there yet."""
    if atlas.unfinished:
        missing = escape("; ".join(atlas.unfinished))
        console.print(f"[yellow]This campaign has not finished.[/yellow] Not there yet: {missing}.")


def explain_row(snapshot_id: str, results: Path, console: Console, *, as_json: bool = False) -> None:
    """Print the story of a row."""
    atlas = pesatlas.open(results, so_far=True)
    if as_json:
        print_json({title: dict(lines) for title, lines in explain(atlas, snapshot_id)})
        return
    say_unfinished(atlas, console)
    for title, lines in explain(atlas, snapshot_id):
        console.print(f"[bold]{escape(title)}[/bold]")
        grid = Table.grid(padding=(0, 2))
        for name, text in lines:
            grid.add_row(f"  {escape(name)}", escape(text))
        console.print(grid)
