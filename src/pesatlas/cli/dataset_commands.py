"""Commands that read, check, export and release a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from pesatlas.campaign.layout import folder_of
from pesatlas.cli.app import LOOK, SHARE, AsJson, Results, command, console, print_json


@command("summary", LOOK)
def summary(results: Results = Path(), as_json: AsJson = False) -> None:
    """Show the results of a campaign: counts from structures to labels, failures, paths."""
    from pesatlas.report.summary import summary as summarize  # noqa: PLC0415
    from pesatlas.report.summary import summary_facts  # noqa: PLC0415

    if as_json:
        print_json(summary_facts(results))
    else:
        console.print(summarize(results))


@command("verify", LOOK)
def verify(results: Results = Path(), as_json: AsJson = False) -> None:
    """Check a finished campaign.

    Checksums, schemas, sums, the physics of every row, and agreement with config.yaml.

    The exit status is 1 if there is a problem; the reasons are listed.
    """
    from pesatlas.cli.again import stale_problems  # noqa: PLC0415
    from pesatlas.dataset.verify import verify as check  # noqa: PLC0415

    problems = check(results, lambda line: None if as_json else console.print(f"checking {line}"))
    problems += stale_problems(results)
    if as_json:
        print_json({"results": str(results), "problems": problems})
        raise typer.Exit(1 if problems else 0)
    for problem in problems:
        typer.echo(f"WRONG  {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    console.print(f"[green]{results} is whole: no faults found.[/green]")


@command("query", LOOK)
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="A query in DuckDB's SQL, or a question: by-crystal, worst-forces, levels-apart, failures."
        ),
    ],
    results: Results = Path(),
    to: Annotated[
        Path | None, typer.Option(help="Write all rows to a .csv, .parquet, .xlsx or .extxyz file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Query the tables of a campaign in SQL.

    Structures, snapshots, selection, labels, dataset, quarantine, failures, ...

    "SHOW TABLES" lists the tables, "DESCRIBE dataset" the columns. The first rows are shown; --to writes all.
    """
    from pesatlas.cli.query import query as answer  # noqa: PLC0415

    answer(sql, results, to, console, as_json=as_json)


@command("explain", LOOK)
def explain(
    snapshot_id: Annotated[
        str, typer.Argument(help="snapshot_id, structure:variant:condition:step; or a structure_id.")
    ],
    results: Results = Path(),
    as_json: AsJson = False,
) -> None:
    """Show the history of a row from source crystal to label; for a missing row, where it ended and why.

    Of a crystal, its cells, trajectories, frames, picks and labels are counted.
    """
    from pesatlas.cli.query import explain_row  # noqa: PLC0415

    explain_row(snapshot_id, results, console, as_json=as_json)


@command("failures", LOOK)
def failures(
    results: Results = Path(),
    reason: Annotated[
        list[str], typer.Option(help="Only this reason, e.g. timeout; repeat it for more.")
    ] = [],  # noqa: B006 - typer's
    to: Annotated[Path | None, typer.Option(help="Write all rows to a .csv, .parquet or .xlsx file.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print all rows, not the first of each reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what was refused, failed or kept out, each with its reason in a sentence, and the remedies.

    It works while the campaign runs, on the tables that are there.
    """
    from pesatlas.cli.failures import show_failures  # noqa: PLC0415

    show_failures(results, reason, to, console, every=every, as_json=as_json)


@command("reproduce", SHARE)
def reproduce(
    snapshot_id: Annotated[
        str, typer.Argument(help="snapshot_id, structure:variant:condition:step, of a row with a label.")
    ],
    to: Annotated[Path, typer.Option(help="Folder to write to; it must be empty or missing.")],
    results: Results = Path(),
) -> None:
    """Write the inputs that reproduce the labels of a row, with a command and the label to compare with."""
    from pesatlas.cli.reproduce import reproduce as write  # noqa: PLC0415

    write(snapshot_id, results, to, console)


@command("export", SHARE)
def export(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="matpes, matgl, extxyz, mace, aselmdb, huggingface or pymatgen."
        ),
    ],
    results: Results = Path(),
    to: Annotated[
        Path | None,
        typer.Option(help=f"Folder to write to; default: {folder_of('export')}/FORMAT in the results."),
    ] = None,
    flagged: Annotated[
        bool, typer.Option("--flagged", help="Include flagged rows, not only accepted ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the dataset in a format for training; export.json beside it has rows, sizes and checksums.

    A campaign writes the formats of dataset.exports.formats itself. Each has its own units and sign of
    stress: see docs/dataset.md.
    """
    from pesatlas.cli.import_export import export as write  # noqa: PLC0415

    write(results, kind, to, console, flagged=flagged, as_json=as_json)


@command("release", SHARE)
def release(
    version: Annotated[str, typer.Argument(help="Name of the release, e.g. 2026.1.")],
    results: Results = Path(),
    to: Annotated[Path, typer.Option(help="Folder of releases.")] = Path("releases"),
    since: Annotated[
        Path | None, typer.Option(help="Earlier release to compare with; default: the latest in that folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a read-only copy of the dataset with checksums, and list changes since an earlier release.

    The campaign is verified first. A release opens like results: pesatlas verify, query, explain, reproduce,
    pesatlas.open.
    """
    from pesatlas.cli.release import make_release  # noqa: PLC0415

    make_release(results, version, to, since, console, as_json=as_json)


@command("diff", SHARE)
def diff(
    before: Results,
    after: Results = Path(),
    as_json: AsJson = False,
) -> None:
    """List the rows added, removed and changed between two datasets, with reasons."""
    from pesatlas.cli.release import show_changes  # noqa: PLC0415

    show_changes(before, after, console, as_json=as_json)


@command("import", SHARE)
def import_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="A dataset (MatPES JSON or extended XYZ); or folders, globs and archives of VASP "
            "calculations.",
        ),
    ],
    level: Annotated[str, typer.Option(help="Reference level of the labels, e.g. pbe.")],
    to: Annotated[
        Path | None, typer.Option(help="Table to write; default: results/imported/NAME.parquet.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="matpes or extxyz, if not clear from the file name.")
    ] = None,
    vasp_version: Annotated[
        str | None, typer.Option(help="Only VASP calculations of this version, e.g. 6.4.3.")
    ] = None,
) -> None:
    """Read external labels into a table: to query and compare, or as structures to explore and select from.

    The table is a source of structures: kind files, paths with its name. Its labels are never mixed with a
    campaign's own.

    Of VASP calculations, every run in the folders and archives is found (plain or .gz, names of custodian and
    atomate2, archives of pesatlas), verified like own labels, and compared with the level key by key: for pbe
    and r2scan with MatPESStaticSet; for any other name all runs must have the settings of the first. Rejected
    runs are in FILE.failures.parquet, with the reason.
    """
    from pesatlas.cli.import_export import import_  # noqa: PLC0415

    import_(paths, level, to, kind, vasp_version, console)


@command("compatible", SHARE)
def compatible(
    path: Annotated[
        str,
        typer.Argument(
            help="Folder, glob or archive of VASP calculations; a table or results of pesatlas; MatPES "
            "JSON; extended XYZ."
        ),
    ],
    level: Annotated[
        str, typer.Option(help="Reference level: pbe or r2scan; with --with any level of that set.")
    ] = "pbe",
    other: Annotated[
        str | None,
        typer.Option(
            "--with", help="Labels to compare with, e.g. the results of a campaign; default: MatPES."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test whether labels have the level of theory of MatPES, or of a campaign.

    Labels with known settings are compared key by key (INCAR, k-spacing, POTCARs, +U, smearing, and with
    --with the version of VASP); others by their energies where both sets have the same geometry. Without
    --with those are the elements that matcalc ships. The exit status is 1 unless the labels are compatible.
    """
    from pesatlas.cli.compatible import show_compatible  # noqa: PLC0415

    if not show_compatible(path, level, other, console, as_json=as_json):
        raise typer.Exit(1)


@command("describe", LOOK)
def describe(
    table: Annotated[Path, typer.Argument(help="A Parquet file in results/.")], as_json: AsJson = False
) -> None:
    """Show the columns of a table file with their types, units and meanings."""
    from pesatlas.tables.describe import describe as describe_table  # noqa: PLC0415
    from pesatlas.tables.describe import read_description  # noqa: PLC0415

    if as_json:
        print_json(read_description(table))
    else:
        console.print(describe_table(table))
