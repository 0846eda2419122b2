"""The command ``pesatlas``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pesatlas import __version__
from pesatlas.cli.app import Config, Folder, Results, app, command, console
from pesatlas.terminal import show_lines


def _version(show: bool) -> None:
    if show:
        typer.echo(f"pesatlas {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hold the options that come before a command."""


@command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    profile: Annotated[
        str, typer.Option(help="Snakemake profile: where and how jobs run.")
    ] = "profiles/local",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="End another run of this folder first, wherever it is.")
    ] = False,
) -> None:
    """Run the campaign of this folder, or carry on where it stopped.

    Everything after the options goes to Snakemake: [bold]-n[/bold] shows what would be done, [bold]--configfile
    config/matpes.yaml[/bold] takes another configuration, [bold]--until run_md[/bold] stops early. The lock of a run
    that was killed is cleared; a second run in the same folder is refused while the first one lives.

    It ends with status 0 if everything is made, and otherwise tells in its last lines why it ended and whether anything is to be mended.
    Ctrl-C cancels running jobs; [bold]pesatlas stop[/bold] ends it from anywhere. With [bold]--take-over[/bold], another run of this folder ends at
    once: its Slurm jobs that run go on and this run takes what they finish, those that wait are submitted anew.
    """
    from pesatlas.cli.run import run_campaign  # noqa: PLC0415 - keeps `pesatlas --help` fast

    sys.exit(run_campaign(Path(), profile, context.args, console, take_over=take_over))


@command("stop")
def stop(
    folder: Folder = Path(),
    now: Annotated[
        bool, typer.Option("--now", help="Cancel running jobs in place of waiting for them.")
    ] = False,
) -> None:
    """End the run of a campaign from anywhere: another terminal, or another login node that sees the folder.

    Nothing new is submitted, jobs that wait in the queue are cancelled, those that run come to their end, and what is waited for is told.
    Ctrl-C ends this waiting, not the request. With [bold]--now[/bold] running jobs are cancelled as well: what they had finished is kept. Either
    way [bold]pesatlas run[/bold] carries on later. Where no run is alive, [bold]--now[/bold] cancels Slurm jobs that a killed one left.

    Ends with status 0 when the run has ended, or there was none; with status 1 if it does not answer.
    """
    from pesatlas.cli.stop import stop as end  # noqa: PLC0415

    end(folder, console, now=now)


@command("status")
def status(
    folder: Folder = Path(),
    config: Config = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 5 s, until the end or Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")] = False,
) -> None:
    """Tell how far a campaign is: each stage, its pace and time left, its Slurm jobs, what failed and why.

    Looking never disturbs the run: nothing is written, no lock is taken, no table is opened. Counts are of what is on file
    plus what running jobs say every ten seconds. Jobs that go on after their [bold]pesatlas run[/bold] was killed are named.
    """
    from pesatlas.cli.status import show_status  # noqa: PLC0415

    show_status(folder, config, console, watch=watch, as_json=as_json)


@command("doctor")
def doctor(
    config: Annotated[Path, typer.Option(help="Configuration of the campaign.")] = Path("config.yaml"),
    profile: Annotated[
        Path,
        typer.Option(help="Profile that the campaign is to run with; with Slurm, that is looked at too."),
    ] = Path("profiles/local"),
    reference: Annotated[
        bool,
        typer.Option("--reference-labels", help="Instead, label a few elements and compare with MatPES."),
    ] = False,
) -> None:
    """Look at everything that a campaign in this folder needs, before it begins: one line each, with a remedy where it is wrong.

    Configuration, elements, potential, encoder, reference levels (with VASP: command, POTCARs and dry inputs in work/doctor),
    store and scratch, room on the disk, locks between processes, and with [bold]--profile profiles/slurm[/bold] partitions and
    account. Ends with status 1 if anything is wrong. Run it where `pesatlas run` will run.

    With [bold]--reference-labels[/bold] the campaign's own VASP calculates two or three elements; energy, forces and stress are compared with
    the records that MatPES published. It takes minutes, and runs where VASP can: in a job.
    """
    from pesatlas.cli.doctor import see_doctor, see_reference_labels  # noqa: PLC0415

    if not (see_reference_labels(config, console) if reference else see_doctor(config, profile, console)):
        raise typer.Exit(1)


@command("plan")
def plan(
    *,
    config: Annotated[Path, typer.Option(help="Configuration of the campaign.")] = Path("config.yaml"),
    calibration: Annotated[
        Path | None, typer.Option("--from", help="Folder of a campaign that was run: its rates are taken.")
    ] = None,
    structures: Annotated[int | None, typer.Option(min=1, help="How many crystals there are.")] = None,
    atoms: Annotated[float | None, typer.Option(min=1, help="Atoms in a cell, on average.")] = None,
    md_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="MD steps times atoms a second in one job.")
    ] = None,
    encode_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="Atoms encoded a second in one job.")
    ] = None,
    label_seconds: Annotated[
        float | None, typer.Option(min=1e-9, help="Seconds for a label, the same at every level.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs at work at the same time.")] = 1,
    cores: Annotated[int, typer.Option(min=1, help="Cores at work at the same time.")] = 1,
) -> None:
    """Tell what a campaign will take before it is submitted: jobs, GPU and core hours, time and disk of each stage.

    Every number comes from somewhere, and the plan says where: measured in a small campaign of the same kind on the same machine
    ([bold]--from ../calibration[/bold]), given as an option, or assumed. So: run a hundredth first, then plan the whole. What is not
    known is a question mark, never a guess.
    """
    from pesatlas.cli.plan import show_plan  # noqa: PLC0415
    from pesatlas.config.label import LEVELS  # noqa: PLC0415
    from pesatlas.monitor.plan import Machine  # noqa: PLC0415

    given = {"atoms": atoms, "md": md_rate, "encode": encode_rate}
    given |= {f"label_{level}": label_seconds for level in LEVELS}
    show_plan(config, calibration, structures, given, Machine(gpus, cores), console)


@command("retry")
def retry(
    reason: Annotated[
        list[str] | None, typer.Option(help="Why the labels are missing, e.g. timeout; may be given again.")
    ] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Labels in quarantine too: finished, but not accepted.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: Config = None,
) -> None:
    """Put failed labels of the campaign of this folder back into the queue; [bold]pesatlas run[/bold] then calculates them again, and nothing else.

    Without a reason, it tells which there are. What failed for what it is (not_converged) fails again unless something was
    changed; what the machine did (timeout, crashed) is worth another try, perhaps with a longer label.timeout_min. The limit
    label.attempts starts anew, and the attempts before stay on record: failures tell how many were made in all. This is about
    labels only: a failed trajectory gives the same again with the same settings. Refused while jobs of the campaign are alive.
    """
    from pesatlas.cli.retry import retry as put_back  # noqa: PLC0415

    put_back(Path(), config, reason or [], console, quarantined=quarantined, dry_run=dry_run)


@command("outputs")
def outputs(
    name: Annotated[
        str, typer.Argument(help="A snapshot_id, an isolated atom as atom:Si, or the label_key of a label.")
    ],
    to: Annotated[Path, typer.Option(help="Folder to write to; it must be empty or not be there.")],
    config: Config = None,
) -> None:
    """Get back the inputs and outputs of a calculation, which are archived compressed in the store.

    Of a snapshot or an atom, every level gets a folder of its own. It is the last attempt that is kept, also of a calculation that
    failed: its snapshot_id is the key in results/failures/label/. Archives are written while label.keep_outputs is true.
    """
    from pesatlas.cli.outputs import show_outputs  # noqa: PLC0415

    show_outputs(name, to, config, console)


@command("store repair")
def store_repair(
    store: Annotated[
        Path | None, typer.Argument(help="Folder of a store; else that of the campaign of this folder.")
    ] = None,
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done, and change nothing.")
    ] = False,
) -> None:
    """Save what can be saved of a damaged store: sound records that were cut off (*.torn) go back into their ledgers.

    Needed only after damage, by a disk or by hand: a run steps over what is damaged and makes that again, nothing else. May be done
    while campaigns run; ledgers that a job works on are left alone, and told of.
    """
    from pesatlas.cli.repair import repair  # noqa: PLC0415

    repair(store, config, console, dry_run=dry_run)


@command("summary")
def summary(results: Results = Path("results")) -> None:
    """Tell what came of a finished campaign: counts from structures to labels, failures, where things are."""
    from pesatlas.report.summary import summary as summarize  # noqa: PLC0415

    console.print(summarize(results))


@command("verify")
def verify(results: Results = Path("results")) -> None:
    """Check a finished campaign again: checksums, schemas, sums, and the physics of every row.

    Ends with status 1 and the reasons if anything is wrong.
    """
    from pesatlas.dataset.verify import verify as check  # noqa: PLC0415

    problems = check(results, lambda line: console.print(f"checking {line}"))
    for problem in problems:
        typer.echo(f"WRONG  {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    console.print(f"[green]{results} is whole: nothing to object to.[/green]")


@command("query")
def query(
    sql: Annotated[str, typer.Argument(help="A query in DuckDB's SQL.")],
    results: Results = Path("results"),
    to: Annotated[Path | None, typer.Option(help="Write all rows to a .csv or .parquet file.")] = None,
) -> None:
    """Ask the tables of a campaign in SQL: structures, snapshots, selection, labels, dataset, quarantine, failures, ...

    "SHOW TABLES" names the tables, "DESCRIBE dataset" the columns. On the screen come the first rows; --to writes all.
    """
    from pesatlas.cli.ask import query as answer  # noqa: PLC0415

    answer(sql, results, to, console)


@command("explain")
def explain(
    snapshot_id: Annotated[str, typer.Argument(help="structure:variant:condition:step, e.g. of a row.")],
    results: Results = Path("results"),
) -> None:
    """Tell the whole story of a row, from source crystal to label; of a missing one, where it ended and why."""
    from pesatlas.cli.ask import tell  # noqa: PLC0415

    tell(snapshot_id, results, console)


@command("reproduce")
def reproduce(
    snapshot_id: Annotated[
        str, typer.Argument(help="structure:variant:condition:step, of a row with a label.")
    ],
    to: Annotated[Path, typer.Option(help="Folder to write to; it must be empty or not be there.")],
    results: Results = Path("results"),
) -> None:
    """Write the inputs that give the labels of a row again, with what to run and the label to compare with."""
    from pesatlas.cli.reproduce import reproduce as write  # noqa: PLC0415

    write(snapshot_id, results, to, console)


@command("export")
def export(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="matpes, matgl, extxyz, mace, aselmdb, huggingface or pymatgen."
        ),
    ],
    results: Results = Path("results"),
    to: Annotated[Path | None, typer.Option(help="Folder; else exports/FORMAT below the results.")] = None,
    flagged: Annotated[
        bool, typer.Option("--flagged", help="Rows that a rule flagged too, not accepted ones only.")
    ] = False,
) -> None:
    """Write the dataset in a form that people train on; export.json beside it has rows, sizes and checksums.

    A campaign writes those of dataset.exports.formats by itself. Each has its own units and sign of stress: see docs/dataset.md.
    """
    from pesatlas.cli.exchange import export as write  # noqa: PLC0415

    write(results, kind, to, console, flagged=flagged)


@command("release")
def release(
    version: Annotated[str, typer.Argument(help="Name of the release, e.g. 2026.1.")],
    results: Results = Path("results"),
    to: Annotated[Path, typer.Option(help="Folder of releases.")] = Path("releases"),
    since: Annotated[
        Path | None, typer.Option(help="An earlier release to compare with; else the latest in that folder.")
    ] = None,
) -> None:
    """Copy the dataset for good: read-only, with checksums, and with what is new since an earlier release and why.

    The campaign is verified first. A release opens as results do: pesatlas verify, query, explain, reproduce, pesatlas.open.
    """
    from pesatlas.cli.publish import make_release  # noqa: PLC0415

    make_release(results, version, to, since, console)


@command("diff")
def diff(
    before: Annotated[Path, typer.Argument(help="Folder of results or of a release.")],
    after: Annotated[Path, typer.Argument(help="The later one.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")] = False,
) -> None:
    """Tell what was added, removed and changed between two datasets, and why."""
    from pesatlas.cli.publish import show_changes  # noqa: PLC0415

    show_changes(before, after, console, as_json=as_json)


@command("import")
def import_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="A dataset (MatPES JSON or extended XYZ); or folders, globs and archives of VASP calculations.",
        ),
    ],
    level: Annotated[str, typer.Option(help="Which level its labels are of, e.g. pbe.")],
    to: Annotated[
        Path | None, typer.Option(help="Table to write; else results/imported/NAME.parquet.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="matpes or extxyz, if its name does not tell.")
    ] = None,
    vasp_version: Annotated[
        str | None, typer.Option(help="Of VASP calculations: only those of this version, e.g. 6.4.3.")
    ] = None,
) -> None:
    """Read somebody else's labels into a table: to query and compare, or as structures to explore and select from.

    The table is a source of structures: kind files, paths with its name. Its labels are never mixed with a campaign's own.

    Of VASP calculations, every run in the folders and archives is found (plain or .gz, names of custodian and atomate2, archives of
    ours), verified as own labels are, and compared with the level key by key: for pbe and r2scan with MatPESStaticSet; for any other
    name all have to have the settings of the first. What is no row is one of FILE.failures.parquet, with the reason.
    """
    from pesatlas.cli.exchange import import_  # noqa: PLC0415

    import_(paths, level, to, kind, vasp_version, console)


@command("compatible")
def compatible(
    path: Annotated[
        str,
        typer.Argument(
            help="Folder, glob or archive of VASP calculations; a table or results of ours; MatPES JSON; extended XYZ."
        ),
    ],
    level: Annotated[
        str, typer.Option(help="Reference level: pbe or r2scan; of --with any that it has.")
    ] = "pbe",
    other: Annotated[
        str | None,
        typer.Option(
            "--with", help="Compare with these labels, e.g. the results of a campaign; else with MatPES."
        ),
    ] = None,
) -> None:
    """Tell whether labels are on the surface of MatPES, or of a campaign, so that they may be trained on together.

    Labels that tell their settings are compared key by key (INCAR, k-spacing, POTCARs, +U, smearing, and with --with the version of
    VASP); the others by their energies where both sets have the same geometry: without --with those are the elements that
    matcalc ships. Ends with status 1 unless they are compatible.
    """
    from pesatlas.cli.compatible import show_compatible  # noqa: PLC0415

    if not show_compatible(path, level, other, console):
        raise typer.Exit(1)


@command("describe")
def describe(table: Annotated[Path, typer.Argument(help="A Parquet file below results/.")]) -> None:
    """Show the columns of a table file with their types, units and meanings."""
    from pesatlas.tables.describe import describe as describe_table  # noqa: PLC0415

    console.print(describe_table(table))


@command("select")
def select(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders and globs: extended XYZ, Parquet, ASE database, JSON, CIF, POSCAR."
        ),
    ],
    *,
    count: Annotated[int, typer.Option(min=1, help="Frames to pick.")],
    out: Annotated[
        Path, typer.Option(help="Where they go: .extxyz, or .parquet for frames of Parquet files.")
    ],
    reference: Annotated[
        list[str] | None, typer.Option(help="Frames that you have labelled already: pick what is new.")
    ] = None,
    policy: Annotated[str, typer.Option(help="cover, matpes, random or farthest.")] = "cover",
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of M3GNet-Eform weights, MatPES' encoder, in place of chgnet's."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where features are computed: cpu, cuda, cuda:1.")] = "cpu",
    min_distance: Annotated[
        float, typer.Option(min=0, help="Frames with two atoms closer than this (Å) are not picked.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Of random numbers.")] = 2026,
) -> None:
    """Thin a dataset: pick the frames that cover most atomic environments for what DFT of them costs.

    No campaign is needed. Frames of extended XYZ and ASE databases keep what is known of them (energy, forces, ...); the most
    wanted comes first. A table shows how near the picks come to everything, beside as many frames drawn by lot.
    """
    from pesatlas.cli.select import select_files  # noqa: PLC0415 - starting is quick

    show_lines()
    settings = {
        "count": count,
        "policy": policy,
        "encoder": {"kind": "m3gnet_eform", "path": str(weights)} if weights else {"kind": "chgnet"},
        "device": device,
        "min_distance_A": min_distance,
        "seed": seed,
    }
    select_files(files, reference or [], out, settings=settings, console=console)


@command("benchmark")
def benchmark(
    *,
    potential: Annotated[
        list[str],
        typer.Option(
            help="chgnet, matgl:FOLDER, or a YAML file of options as in explore.potential; may be given again."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of structures and references in matcalc's formats.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; run again with the same, it carries on.")],
    suite: Annotated[
        str, typer.Option(help="quick: minutes on a core; full: all structures there are.")
    ] = "quick",
    prop: Annotated[
        list[str] | None,
        typer.Option("--property", help="Only this one, e.g. elasticity; may be given again."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Table dataset of a campaign, for errors on its held-out frames.")
    ] = None,
    level: Annotated[str, typer.Option(help="Reference level of that table.")] = "pbe",
    corrected: Annotated[
        bool | None,
        typer.Option(
            help="Whether its energies have the Materials Project's corrections; else what is known of it."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda, cuda:1.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of random numbers.")] = 2026,
) -> None:
    """Judge potentials by their uses: relaxation, formation energy, moduli, heat capacity, stability of dynamics, speed.

    No campaign is needed. Each number comes with its interval and, beside it, what was published of MatPES' models; two potentials
    are compared on the structures that both have. What was measured is kept in the folder, by structure.
    """
    from pesatlas.benchmark.sources import Sources  # noqa: PLC0415 - starting is quick
    from pesatlas.cli.benchmark import benchmark_potentials  # noqa: PLC0415
    from pesatlas.errors import UserError  # noqa: PLC0415

    if suite not in {"quick", "full"}:
        raise UserError(f"--suite {suite}: there is none. Choose quick or full.")
    show_lines()
    benchmark_potentials(
        potential,
        out,
        which=suite,
        only=prop or [],
        sources=Sources(data, dataset, level if dataset else None, seed=seed),
        corrected=corrected,
        device=device,
        console=console,
    )


@command("gaps")
def gaps(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Folder of results or of a release; or a file, folder or glob of frames, as for select."
        ),
    ],
    *,
    of: Annotated[
        list[str] | None,
        typer.Option(help="Structures that you mean to calculate, or a config.yaml; may be given again."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Write the table: .parquet.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--map", help="Draw the map: .html (needs no network) or .png.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of M3GNet-Eform weights, in place of chgnet's encoder.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where features are computed: cpu, cuda, cuda:1.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")] = False,
) -> None:
    """Tell what a dataset does not cover: whether a potential that was trained on it can be trusted for your material.

    With [bold]--of[/bold], every structure gets a verdict: inside, at the edge, or outside of the dataset, element by element. Without, the
    elements, pairs, domains and conditions that it has and lacks are counted.
    """
    from pesatlas.cli.gaps import print_json, show_gaps  # noqa: PLC0415 - starting is quick

    show_lines()
    encoder = {"kind": "m3gnet_eform", "path": str(weights)} if weights else {"kind": "chgnet"}
    facts = show_gaps(
        dataset,
        of or [],
        settings={"encoder": encoder, "device": device},
        table=to,
        picture=picture,
        console=None if as_json else console,
    )
    if as_json:
        print_json(facts)


@command("config new")
def config_new(
    preset: Annotated[
        str, typer.Option(help="demo: minutes on a laptop; matpes: the published settings.")
    ] = "demo",
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a campaign that has finished: the round that goes on from it, in place of a preset."
        ),
    ] = None,
) -> None:
    """Print a commented configuration, to be written into the config.yaml of a campaign.

    With [bold]--previous[/bold], type it in the folder in which the next round is to run: paths are as seen from there.
    """
    from pesatlas.cli.next_round import next_round  # noqa: PLC0415
    from pesatlas.config.presets import preset as load_preset  # noqa: PLC0415
    from pesatlas.config.render import render_yaml  # noqa: PLC0415

    made = next_round(previous) if previous else load_preset(preset)
    typer.echo(render_yaml(*made), nl=False)


@command("config check")
def config_check(
    path: Annotated[Path, typer.Argument(help="Configuration to check.")] = Path("config.yaml"),
) -> None:
    """Check a configuration without running anything; every problem is named with its key and remedy."""
    from pesatlas.config.load import read_campaign  # noqa: PLC0415
    from pesatlas.monitor.doctor import warnings_of  # noqa: PLC0415

    campaign = read_campaign(path)
    for warning in warnings_of(campaign, Path("results")):
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", soft_wrap=True)
    console.print(f"[green]{path} is a valid campaign '{campaign.campaign.name}'.[/green]")


@command("config schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for completion in editors."""
    from pesatlas.config.render import render_schema  # noqa: PLC0415

    typer.echo(render_schema(), nl=False)


if __name__ == "__main__":
    app()
