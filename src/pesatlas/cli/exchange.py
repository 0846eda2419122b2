"""Write a dataset for others, and read theirs."""

from pathlib import Path

from rich.console import Console

from pesatlas.dataset.export import export_dataset, formats
from pesatlas.dataset.imported import import_dataset
from pesatlas.errors import UserError


def export(results: Path, kind: str, folder: Path | None, console: Console, *, flagged: bool) -> None:
    """Write a dataset in one format, and say where.

    Raises
    ------
    UserError
        If there is no such format or no finished campaign.
    """
    if kind not in formats():
        raise UserError(f"there is no export '{kind}'. Choose one of: {', '.join(formats())}.")
    where = folder or results / "exports" / kind
    files = export_dataset(results, kind, where, verdicts=["accepted", *(["flagged"] if flagged else [])])
    console.print(f"[green]{len(files)} files in {where}[/green]")


def import_(path: Path, level: str, table: Path | None, kind: str | None, console: Console) -> None:
    """Read a dataset of somebody else's into a table, and say where."""
    where = table or Path("results") / "imported" / f"{path.name.split('.')[0]}.parquet"
    rows = import_dataset(path, level, where, kind)
    console.print(f"[green]{rows} rows in {where}[/green]")
