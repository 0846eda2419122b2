"""Write a dataset for others, and read theirs."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pesatlas import registry
from pesatlas.dataset.export import export_dataset, formats
from pesatlas.dataset.imported import IMPORTERS, import_dataset
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


def import_(
    paths: Sequence[str],
    level: str,
    table: Path | None,
    kind: str | None,
    version: str | None,
    console: Console,
) -> None:
    """Read labels of somebody else into a table, and say where: one dataset, or any number of VASP calculations.

    Raises
    ------
    UserError
        If nothing of it can be read.
    """
    path = Path(paths[0]).expanduser()
    if kind is None and not any(is_dataset(Path(each)) for each in paths):
        from pesatlas.cli.import_runs import import_runs  # noqa: PLC0415 - pymatgen is slow to import

        import_runs(paths, level, table, version, console)
        return
    if len(paths) > 1:
        raise UserError(f"{', '.join(paths)}: import datasets one by one, each into a table of its own.")
    if version is not None:
        raise UserError(f"--vasp-version {version}: {path} is a dataset, which does not tell it.")
    where = table or Path("results") / "imported" / f"{path.name.split('.')[0]}.parquet"
    rows = import_dataset(path, level, where, kind)
    console.print(f"[green]{rows} rows in {where}[/green]")


def is_dataset(path: Path) -> bool:
    """Whether a file's name promises a dataset that can be imported."""
    names = registry.available(IMPORTERS)
    return any(path.name.lower().endswith(registry.find(IMPORTERS, name).ENDINGS) for name in names)
