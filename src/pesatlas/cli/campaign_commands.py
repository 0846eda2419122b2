"""Commands that run, monitor and repair a campaign."""

import os
import sys
from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from pesatlas.cli.app import (
    LOOK,
    RUN,
    START,
    AsJson,
    Config,
    Folder,
    app,
    campaign_folder,
    command,
    console,
    seen_from,
)
from pesatlas.config.scaled import BackendName


@command("init", START)
def init(
    cells: Annotated[
        list[str],
        typer.Argument(
            metavar="CELLS...", help="Files, folders and globs of crystals: CIF, POSCAR, extended XYZ, ..."
        ),
    ],
    *,
    backend: Annotated[
        BackendName,
        typer.Option(
            help="Code that labels: gpaw or qe (Quantum ESPRESSO; both open), vasp (with a licence), mlip (a "
            "potential, no DFT)."
        ),
    ] = "gpaw",
    pseudopotentials: Annotated[
        Path | None, typer.Option(help="Folder of the UPF files of your set, for --backend qe.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.01, help="Core hours for all labels; default: ten labels a crystal.")
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(min=0.01, help="GPU hours for the dynamics; default: two hours of one core."),
    ] = None,
    domain: Annotated[
        list[str], typer.Option(help="Explore this domain beside bulk, e.g. strained; repeat it for more.")
    ] = [],  # noqa: B006 - typer's
    name: Annotated[str, typer.Option(help="Name of the campaign.")] = "campaign",
    to: Annotated[Path, typer.Option(help="File to write; it must not be there.")] = Path("config.yaml"),
) -> None:
    """Write a config.yaml for your own crystals: reads them, scales a campaign to them, and says why.

    The table shows which crystals are usable, or why not. The file has some 15 lines, each number with its
    reason; what is not in it has its default. At the end, the plan: jobs, hours and disk of each stage.
    """
    from pesatlas.cli.init import init as write  # noqa: PLC0415
    from pesatlas.cli.init import with_pseudopotentials  # noqa: PLC0415
    from pesatlas.cli.plan import show_plan  # noqa: PLC0415
    from pesatlas.config.scaled import Wishes  # noqa: PLC0415
    from pesatlas.monitor.plan import Machine  # noqa: PLC0415

    wishes = Wishes(cells, name, backend, budget, gpu_hours, domain)
    found = write(with_pseudopotentials(wishes, pseudopotentials), to, console)
    counted: dict[str, float | None] = {"elements": float(len(found.elements))}
    machine = Machine(1, os.cpu_count() or 1)
    show_plan(to, None, len(found.accepted), counted, machine, console, source="structures.sources")
    console.print(
        "\nNext: `pesatlas doctor` checks this machine, `pesatlas run -n` shows the jobs, `pesatlas run` "
        "runs them." + ("" if to.name == "config.yaml" else f" Name the file to each of them: --config {to}.")
    )


@command("run", RUN, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    profile: Annotated[
        str, typer.Option(help="Snakemake profile: where and how jobs run.")
    ] = "profiles/local",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="End another run of this folder first, on any machine.")
    ] = False,
) -> None:
    """Run the campaign of this folder, or of the FOLDER that is named; or resume it.

    Other arguments go to Snakemake: [bold]-n[/bold] shows what would be done, [bold]--config
    other.yaml[/bold] uses another configuration, [bold]--until run_md[/bold] stops early, [bold]-j 4[/bold]
    limits the jobs at the same time. The lock of a killed run is removed; a second run in the same folder is
    refused while the first one is alive.

    The exit status is 0 if everything is made. Otherwise the last lines say why the run ended and what needs
    repair. Ctrl-C cancels running jobs; [bold]pesatlas stop[/bold] ends the run from anywhere. With
    [bold]--take-over[/bold] another run of this folder ends at once: its running Slurm jobs continue and this
    run uses their results; its waiting jobs are submitted again.
    """
    from pesatlas.cli.checkout import profile_seen_from  # noqa: PLC0415
    from pesatlas.cli.run import run_campaign  # noqa: PLC0415 - keeps `pesatlas --help` fast
    from pesatlas.cli.run_arguments import read_arguments  # noqa: PLC0415

    given = read_arguments(context.args, [command.name or "" for command in app.registered_commands])
    profile = str(profile_seen_from(given.folder, Path(profile)))
    with chdir(given.folder):
        status = run_campaign(Path(), profile, given.snakemake, console, take_over=take_over)
    sys.exit(status)


@command("stop", RUN)
def stop(
    folder: Folder = Path(),
    now: Annotated[
        bool, typer.Option("--now", help="Cancel running jobs instead of waiting for them.")
    ] = False,
) -> None:
    """End the run of a campaign from another terminal, or from another login node that sees the folder.

    No new jobs are submitted, waiting jobs are cancelled, running jobs finish, and the command shows which
    jobs it waits for. Ctrl-C ends the waiting, not the request. With [bold]--now[/bold] running jobs are
    cancelled as well; their finished results are kept. [bold]pesatlas run[/bold] resumes later. Without a
    live run, [bold]--now[/bold] cancels Slurm jobs that a killed run left.

    The exit status is 0 when the run has ended or there was none, and 1 if it does not answer.
    """
    from pesatlas.cli.stop import stop as end  # noqa: PLC0415

    end(folder, console, now=now)


@command("demo", START)
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demo; created if missing.")] = Path(
        "pesatlas-demo"
    ),
) -> None:
    """Run or resume the demo campaign: real dynamics and DFT of four small crystals, some minutes.

    It needs the extras [bold]chgnet[/bold], [bold]gpaw[/bold] and [bold]report[/bold], but no licence, GPU or
    network.
    """
    from pesatlas.cli.demo import run_demo  # noqa: PLC0415

    sys.exit(run_demo(folder, console))


@command("status", RUN)
def status(
    folder: Folder = Path(),
    config: Config = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat every 5 s, until the end or Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a campaign: stages, pace and time left, Slurm jobs, failures and their reasons.

    The run is not disturbed: nothing is written, no lock is taken, no table is opened. Counts come from files
    and from running jobs, which report every ten seconds. Jobs that continue after their [bold]pesatlas
    run[/bold] was killed are named.
    """
    from pesatlas.cli.status import show_status  # noqa: PLC0415

    show_status(folder, config, console, watch=watch, as_json=as_json)


@command("doctor", START)
def doctor(
    folder: Folder = Path(),
    config: Config = None,
    profile: Annotated[
        Path,
        typer.Option(help="Profile of the campaign; for Slurm, the cluster is checked too."),
    ] = Path("profiles/local"),
    reference: Annotated[
        bool,
        typer.Option("--reference-labels", help="Only label a few elements and compare with MatPES."),
    ] = False,
    strain: Annotated[
        bool,
        typer.Option("--strain", help="Only compare the stress of each level with slopes of its energy."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check everything that a campaign needs before it begins, with a remedy for each problem.

    Checked are configuration, elements, potential, encoder, reference levels (with VASP: command, POTCARs and
    dry inputs in work/doctor), store and scratch, disk space, locks between processes, and with
    [bold]--profile profiles/slurm[/bold] account, accounting, and the resources that jobs of every rule
    request, attempt by attempt, against the limits of their partition. The exit status is 1 if there is a
    problem. Run it on the machine of `pesatlas run`.

    With [bold]--reference-labels[/bold] the campaign's own VASP calculates two or three elements; energy,
    forces and stress are compared with the published MatPES records. This takes minutes and runs where VASP
    can run: in a job.

    With [bold]--strain[/bold] the backend calculates one small crystal at five strains at each level. A
    stress that differs by more than 1 GPa from the slope of the free energy is an error: of the code, or a
    cut-off that is too low. A level that failed does not label: `pesatlas run` refuses to start. The result
    is in results/strain, and card, report and summary show it.
    """
    from pesatlas.cli import doctor as doctor_checks  # noqa: PLC0415
    from pesatlas.cli.checkout import profile_seen_from  # noqa: PLC0415

    profile = profile_seen_from(folder, profile)
    with campaign_folder(folder, config) as path:
        if reference:
            checks = doctor_checks.reference_checks(path)
        else:
            checks = (
                doctor_checks.strain_of_levels(path) if strain else doctor_checks.checks_of(path, profile)
            )
        good = doctor_checks.checks_as_json(checks) if as_json else doctor_checks.show_checks(checks, console)
    if not good:
        raise typer.Exit(1)


@command("cluster", START)
def cluster(
    folder: Folder = Path(),
    *,
    config: Config = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a profile that was changed by hand.")
    ] = False,
    trial: Annotated[
        bool, typer.Option("--try", help="Only send a small job to each partition of the profile.")
    ] = False,
    profile: Annotated[Path, typer.Option(help="Profile to test.")] = Path("profiles/slurm"),
    wait: Annotated[float, typer.Option(min=0.1, help="Time limit for these jobs (minutes).")] = 30,
) -> None:
    """Write the Slurm profile of this campaign, profiles/slurm/config.yaml, from the facts of the cluster.

    scontrol and sacctmgr give accounts, partitions, their time and memory, GPUs; config.yaml and the rules
    give the needs of jobs. Every key has its reason beside it, and open choices are marked CHOOSE.

    With [bold]--try[/bold] a small job in each partition of the profile checks environment, GPU, scratch and
    locks between two nodes, and labels one atom. The exit status is 1 if there is a problem; jobs are
    cancelled at the end, or at Ctrl-C.
    """
    from pesatlas.cli.cluster import try_profile, write_profile  # noqa: PLC0415 - starting is quick

    with campaign_folder(folder, config) as path:
        if not trial:
            write_profile(path, console, force=force)
        elif not try_profile(path, profile, wait, console):
            raise typer.Exit(1)


@command("plan", START)
def plan(
    folder: Folder = Path(),
    *,
    config: Config = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--from", help="Folder of a finished campaign whose measured rates are used."),
    ] = None,
    structures: Annotated[int | None, typer.Option(min=1, help="Number of crystals.")] = None,
    atoms: Annotated[float | None, typer.Option(min=1, help="Atoms in a cell, on average.")] = None,
    md_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="MD steps times atoms per second in one job.")
    ] = None,
    encode_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="Atoms encoded per second in one job.")
    ] = None,
    label_seconds: Annotated[
        float | None, typer.Option(min=1e-9, help="Seconds per label, at every level.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs in use at the same time.")] = 1,
    cores: Annotated[int, typer.Option(min=1, help="Number of cores in use at the same time.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Estimate jobs, GPU and core hours, time and disk of each stage of a campaign.

    Every number has a source, which the plan names: measured in a small campaign of the same kind on the same
    machine ([bold]--from ../calibration[/bold]), set by an option, or assumed. So run a hundredth first, then
    plan the whole. Unknown numbers are question marks, never guesses.
    """
    from pesatlas.cli.plan import show_plan  # noqa: PLC0415
    from pesatlas.config.label import LEVELS  # noqa: PLC0415
    from pesatlas.monitor.plan import Machine  # noqa: PLC0415

    given = {"atoms": atoms, "md": md_rate, "encode": encode_rate}
    given |= {f"label_{level}": label_seconds for level in LEVELS}
    measured = seen_from(folder, calibration)
    with campaign_folder(folder, config) as path:
        show_plan(path, measured, structures, given, Machine(gpus, cores), console, as_json=as_json)


@command("retry", RUN)
def retry(
    folder: Folder = Path(),
    *,
    reason: Annotated[
        list[str] | None, typer.Option(help="Reason of the failures, e.g. timeout; may be repeated.")
    ] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Also quarantined labels: finished, but not accepted.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Requeue failed labels of this campaign; [bold]pesatlas run[/bold] then calculates only these again.

    Without a reason, the command lists the reasons there are. Physical failures (not_converged) recur unless
    settings change; machine failures (timeout, crashed) are worth retrying, perhaps with a longer
    label.timeout_min. The limit label.attempts starts anew, and earlier attempts stay on record. Only labels
    can be retried: a failed trajectory fails again with the same settings. Refused while jobs of the campaign
    are alive.
    """
    from pesatlas.cli.retry import retry as put_back  # noqa: PLC0415

    with campaign_folder(folder, config) as path:
        put_back(
            Path(),
            path if config else None,
            reason or [],
            console,
            quarantined=quarantined,
            dry_run=dry_run,
            as_json=as_json,
        )


@command("outputs", LOOK)
def outputs(
    name: Annotated[
        str, typer.Argument(help="A snapshot_id, an isolated atom as atom:Si, or the label_key of a label.")
    ],
    folder: Folder = Path(),
    *,
    to: Annotated[Path, typer.Option(help="Folder to write to; it must be empty or missing.")],
    config: Config = None,
) -> None:
    """Extract the archived inputs and outputs of a calculation from the store.

    For a snapshot or an atom, every level gets its own folder. The archive holds the last attempt, also of a
    failed calculation: its snapshot_id is the key in results/failures/label/. Archives are written while
    label.keep_outputs is true.
    """
    from pesatlas.cli.outputs import show_outputs  # noqa: PLC0415

    where = seen_from(folder, to) or to
    with campaign_folder(folder, config) as path:
        show_outputs(name, where, path if config else None, console)


@command("store repair")
def store_repair(
    store: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder of the campaign, or of a store.")
    ] = Path(),
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Repair a damaged store: intact records that were cut off (*.torn) go back into their ledgers.

    Needed only after damage by a disk or by hand: a run skips damaged records and makes their results again.
    It is safe while campaigns run; ledgers in use by a job are skipped and named.
    """
    from pesatlas.cli.repair import repair  # noqa: PLC0415

    repair(store, config, console, dry_run=dry_run)
