"""Commands that export a dataset to other formats, and import from them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pesatlas.campaign.account import accounts, exported_verdicts, flagged_sentence
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.cli.app import print_json
from pesatlas.config import plugins
from pesatlas.dataset.export import RECORD, export_dataset, formats
from pesatlas.dataset.imported import IMPORTERS, import_dataset
from pesatlas.errors import UserError
from pesatlas.structures.readers import format_of
from pesatlas.tables.manifest import read_json


def export(
    results: Path,
    kind: str,
    folder: Path | None,
    console: Console,
    *,
    flagged: bool,
    as_json: bool = False,
) -> None:
    """Write a dataset in one format, and say where; with its record if that is to be JSON.

    Raises
    ------
    UserError
        If there is no such format or no finished campaign.
    """
    if kind not in formats():
        raise UserError(f"there is no export '{kind}'. Choose one of: {', '.join(formats())}.")
    where = folder or below(results, "export", format=kind).parent
    verdicts = ["accepted", *(["flagged"] if flagged else [])]
    manifest = read_campaign_manifest(results)
    if folder is None and set(verdicts) != set(exported_verdicts(manifest)):
        raise UserError(
            f"{where} belongs to the campaign, whose exports have the verdicts "
            f"{', '.join(exported_verdicts(manifest))}. Name another folder with --to, or change "
            "dataset.exports.verdicts in config.yaml."
        )
    files = export_dataset(results, kind, where, verdicts=verdicts)
    if as_json:
        print_json({"folder": str(where)} | read_json(where / RECORD))
        return
    console.print(f"[green]{len(files)} files in {where}[/green]")
    found = accounts(results, manifest)
    for account in found:
        console.print(f"{account.level}: {escape(account.sentence(verdicts))}")
    if left_out := flagged_sentence(found, verdicts):
        console.print(f"[yellow]{escape(left_out)}[/yellow]")


def import_(
    paths: Sequence[str],
    level: str,
    table: Path | None,
    kind: str | None,
    version: str | None,
    console: Console,
) -> None:
    """Read external labels into a table, and print its path.

    One dataset, or any number of VASP calculations.

    Raises
    ------
    UserError
        If nothing of it can be read.
    """
    path = Path(paths[0]).expanduser()
    for each in map(Path, paths):
        if kind is None and each.expanduser().is_file() and is_crystal(each):
            raise UserError(
                f"{each}: a crystal file has no labels to import. Name it as a source of a campaign "
                "(docs/your-structures.md)."
            )
    if kind is None and not any(is_dataset(Path(each)) for each in paths):
        from pesatlas.cli.import_runs import import_runs  # noqa: PLC0415 - pymatgen is slow to import

        import_runs(paths, level, table, version, console)
        return
    if len(paths) > 1:
        raise UserError(f"{', '.join(paths)}: import datasets one by one, each into a table of its own.")
    if version is not None:
        raise UserError(
            f"--vasp-version {version}: {path} is a dataset, which does not contain the version of VASP."
        )
    where = table or Path("results") / "imported" / f"{path.name.split('.')[0]}.parquet"
    rows = import_dataset(path, level, where, kind)
    console.print(f"[green]{rows} rows in {where}[/green]")


def is_dataset(path: Path) -> bool:
    """Whether a file's name promises a dataset that can be imported; a folder is none, whatever its name."""
    if path.expanduser().is_dir():
        return False
    names = plugins.available(IMPORTERS)
    return any(path.name.lower().endswith(plugins.find(IMPORTERS, name).ENDINGS) for name in names)


def is_crystal(path: Path) -> bool:
    """Whether a file's name promises a crystal without labels: a CIF or a POSCAR, and no archive of runs."""
    packed = any(part in {".tar", ".tgz", ".zip"} for part in map(str.lower, path.suffixes))
    return not packed and format_of(path) in {"cif", "poscar"}
