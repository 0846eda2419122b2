"""Commands that run, monitor and repair a campaign."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pesatlas.cli.app import Config, Folder, command, console


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


@command("demo")
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to run it in; made if it is not there.")] = Path(
        "pesatlas-demo"
    ),
) -> None:
    """Run the demo campaign, or carry on where it stopped: real dynamics and real DFT of four small crystals, some minutes on two cores.

    It needs the extras [bold]chgnet[/bold], [bold]gpaw[/bold] and [bold]report[/bold], no licence, no GPU and no network.
    """
    from pesatlas.cli.demo import run_demo  # noqa: PLC0415

    sys.exit(run_demo(folder, console))


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
    store and scratch, room on the disk, locks between processes, and with [bold]--profile profiles/slurm[/bold] account,
    accounting, and what jobs of every rule will ask for, attempt by attempt, beside what their partition gives. Ends with status 1 if
    anything is wrong. Run it where `pesatlas run` will run.

    With [bold]--reference-labels[/bold] the campaign's own VASP calculates two or three elements; energy, forces and stress are compared with
    the records that MatPES published. It takes minutes, and runs where VASP can: in a job.
    """
    from pesatlas.cli.doctor import run_doctor, run_reference_labels  # noqa: PLC0415

    if not (run_reference_labels(config, console) if reference else run_doctor(config, profile, console)):
        raise typer.Exit(1)


@command("cluster")
def cluster(
    config: Annotated[Path, typer.Option(help="Configuration of the campaign.")] = Path("config.yaml"),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a profile that was changed by hand.")
    ] = False,
    trial: Annotated[
        bool, typer.Option("--try", help="Instead, send a small job to each partition of the profile.")
    ] = False,
    profile: Annotated[Path, typer.Option(help="Profile to try.")] = Path("profiles/slurm"),
    wait: Annotated[float, typer.Option(min=0.1, help="Minutes to wait for these jobs.")] = 30,
) -> None:
    """Write the Slurm profile of the campaign in this folder, profiles/slurm/config.yaml, from what the cluster tells.

    scontrol and sacctmgr tell accounts, partitions, their time and memory, GPUs; config.yaml and the rules tell what jobs need. Every
    key has its reason beside it, and what the cluster leaves open is marked CHOOSE.

    With [bold]--try[/bold], a small job in each partition that the profile uses looks at the environment, GPU, scratch, locks between two
    nodes, and labels one atom. Ends with status 1 if anything is wrong; jobs are cancelled at the end, or at Ctrl-C.
    """
    from pesatlas.cli.cluster import try_profile, write_profile  # noqa: PLC0415 - starting is quick

    if not trial:
        write_profile(config, console, force=force)
    elif not try_profile(config, profile, wait, console):
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
