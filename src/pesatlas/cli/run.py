"""Run or resume the campaign of a folder through Snakemake."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from pesatlas.cli.allocation import must_submit, submit
from pesatlas.cli.checkout import CHECKOUT, profile_folder, snakefile_arguments
from pesatlas.cli.follow import LOG, LOOK_S, LOOK_SLURM_S, campaign_of_run, campaign_to_show, follow, looker
from pesatlas.cli.held import held_jobs_released
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.slurm import job_prefix
from pesatlas.cli.until import DRY_RUN, behind, first_part, read_dag, second_part, until_of
from pesatlas.errors import UserError
from pesatlas.monitor.cluster import read_profile
from pesatlas.monitor.counts import Manifests
from pesatlas.monitor.jobs import Job, read_jobs
from pesatlas.monitor.missing import missing_files
from pesatlas.monitor.slurm import read_queue
from pesatlas.monitor.words import duration
from pesatlas.report.summary import summary

ONLY_LOOKING = {
    "-n",
    "--dry-run",
    "--dryrun",
    "--lint",
    "--dag",
    "--rulegraph",
    "--filegraph",
    "--summary",
    "--unlock",
    "-h",
    "--help",
    "--list",
    "-l",
}
SLURM_PREFIX = "--slurm-jobname-prefix"
_MISUSED = 2
"""Snakemake's exit status for options that there are not."""
_SHOWN = 8
"""Jobs that are named after a run."""


def run_campaign(folder: Path, profile: str, arguments: list[str], console: Console) -> int:
    """Run Snakemake in ``folder``; return its exit status. What ``folder`` lacks, Snakefile or profile, is the checkout's.

    Two runs in one folder would fight over the same files. A lock of Snakemake's that is found while we hold the campaign's was
    left by a run that was killed.

    Raises
    ------
    UserError
        If configuration, profile or Snakefile are not there, another run of this folder is alive, or ``--until`` names a rule that has
        no job in this campaign.
    """
    found = _find_profile(profile)
    _check_configuration(folder, arguments)
    if must_submit(_executor(found, arguments)) and not ONLY_LOOKING.intersection(arguments):
        return submit(folder, found, arguments, console)
    prefix = job_prefix(folder)
    on_slurm = _executor(found, arguments) == "slurm"
    named = snakefile_arguments(folder, arguments) + ([SLURM_PREFIX, prefix] if on_slurm else [])
    command = [sys.executable, "-m", "snakemake"]
    options = ["--profile", str(found), *named, *arguments]
    if ONLY_LOOKING.intersection(arguments):
        again = _making_again(_lost(folder, options), options)
        return subprocess.call([*command, *_to_look_at(command, again, folder, console)], cwd=folder)
    if on_slurm and shutil.which("sbatch") is None:
        raise UserError(
            f"--profile {profile} submits jobs to Slurm, and there is no sbatch here. Start on a login node of the cluster (`module load slurm` "
            "where that is needed), or take another profile, e.g. --profile profiles/local."
        )
    started = time.monotonic()
    with campaign_lock(folder) as lock, ExitStack() as stack:
        lost = _lost(folder, options)
        _tell_lost(lost, options, console)
        if any((folder / ".snakemake" / "locks").glob("*")):
            console.print("An earlier run was killed: its lock is cleared, finished work is kept.")
            subprocess.check_call([*command, *options, "--unlock", "--quiet"], cwd=folder)
        if on_slurm:
            _sort_out_orphans(prefix, console)
            stack.enter_context(held_jobs_released(prefix, console))
        before = {_which(job) for job in _without_results(folder) if not job.running}
        show = _display(folder, arguments, console, LOOK_SLURM_S if on_slurm else LOOK_S)
        for part in _parts(command, options, lost, folder):
            status = _wait_for([*command, *part], folder, lock, show)
            if status:
                break
    results = folder / "results"
    if status == 0 and (results / "manifest.json").is_file():
        console.print(summary(results))
        console.print(f"Done in {duration(time.monotonic() - started)}.")
    elif status != 0:
        console.print(_stopped(folder, before, status))
    return status


def _display(
    folder: Path, arguments: list[str], console: Console, every_s: float
) -> Callable[[subprocess.Popen[bytes], Path], int] | None:
    """Return what shows a run to a person until it ends; None if its stages are not to be shown."""
    campaign = campaign_to_show(folder, arguments, console)
    if campaign is None:
        return None
    return partial(follow, look=looker(folder, campaign, console), every_s=every_s, console=console)


def _parts(command: list[str], options: list[str], lost: list[Path], folder: Path) -> Iterator[list[str]]:
    """Yield the options of the runs to make, one after the other; the second may be asked for only once the first has succeeded."""
    again = _making_again(lost, options)
    dag = read_dag(command, again, folder) if until_of(options) else None
    if dag is None or not behind(options):
        yield again
        return
    if dag.open:
        yield first_part(again)
        # what that made again is there now, and is not to be made once more
        again = _making_again(_lost(folder, options), options)
        dag = read_dag(command, again, folder)
    yield again if dag is None else second_part(again, dag)


def _to_look_at(command: list[str], options: list[str], folder: Path, console: Console) -> list[str]:
    """Return the options of a dry run: of its first part, where ``--until`` names rules whose jobs are not known before."""
    wanted = DRY_RUN.intersection(options) and until_of(options)
    dag = read_dag(command, options, folder) if wanted else None
    if dag is None or not behind(options):
        return options
    if not dag.open:
        return second_part(options, dag)
    console.print(
        f"Jobs of {', '.join(behind(options))} are known once the structures are prepared. A run does that first, which is shown here, and "
        "then goes on."
    )
    return first_part(options)


def _lost(folder: Path, arguments: list[str]) -> list[Path]:
    """Return files that had been made and are not there; none where it is not known of which campaign."""
    campaign = campaign_of_run(folder, arguments)
    return [] if campaign is None else missing_files(folder, campaign)


def _tell_lost(lost: list[Path], options: list[str], console: Console) -> None:
    if not lost:
        return
    names = ", ".join(str(path) for path in lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
    far = " as far as --until goes" if until_of(options) else ""
    console.print(f"{len(lost)} files had been made and are not there; they are made again{far}: {names}")


def _making_again(lost: list[Path], options: list[str]) -> list[str]:
    """Return options of Snakemake's that have ``lost`` made again as well."""
    files = [str(path) for path in lost]
    if not files:
        return options
    for i, option in enumerate(options):
        if option in {"--forcerun", "-R"}:
            return [*options[: i + 1], *files, *options[i + 1 :]]
    return ["--forcerun", *files, *options]


def _find_profile(profile: str) -> Path:
    found = profile_folder(Path(profile))
    if not found.is_dir():
        raise UserError(f"--profile {profile}: no such folder, here or in {CHECKOUT}. Name a profile folder.")
    return found


def _check_configuration(folder: Path, arguments: list[str]) -> None:
    """Say where to start if this is no folder of a campaign; Snakemake only says which file it did not find."""
    named = {argument.partition("=")[0] for argument in arguments}
    if (
        not named & {"--configfile", "--configfiles", "-h", "--help"}
        and not (folder / "config.yaml").is_file()
    ):
        raise UserError(
            f"no config.yaml in {folder.resolve()}: this is no folder of a campaign. Start in the folder that has it, or make one here: "
            "pesatlas config new > config.yaml."
        )


def _without_results(folder: Path) -> list[Job]:
    return read_jobs(folder, Manifests(folder).has_results, None)


def _which(job: Job) -> tuple[str, int, float]:
    """Tell one job from every other. When it started is by the clock of its machine, which is no other's."""
    return job.state.host, job.state.pid, job.state.started


def _stopped(folder: Path, before: set[tuple[str, int, float]], status: int) -> str:
    """Say what to do after a run that did not come to its end: which jobs failed that were not there ``before``, and where they say why."""
    if status == _MISUSED:
        return "[bold]Snakemake does not take these options.[/bold] `pesatlas run -- --help` tells which it takes."
    lost = [job for job in _without_results(folder) if not job.running and _which(job) not in before]
    lines = ["[bold]The campaign stopped before its end.[/bold] What was finished is kept."]
    lines += [
        f"  {f'{job.state.rule} {job.state.batch}'.strip()} {job.fate}: see {job.log}"
        for job in lost[:_SHOWN]
    ]
    if len(lost) > _SHOWN:
        lines.append(f"  and {len(lost) - _SHOWN} more: `pesatlas status`")
    lines.append(
        "After mending what the logs say, the same command carries on."
        if lost
        else "No job failed: above is said why it stopped. The same command carries on."
    )
    return "\n".join(lines)


def _wait_for(
    snakemake: list[str],
    folder: Path,
    lock: int,
    show: Callable[[subprocess.Popen[bytes], Path], int] | None = None,
) -> int:
    """Run Snakemake to its end, whatever this process is told meanwhile; return its exit status.

    Snakemake holds the campaign's lock too: should this process be killed alone, a second head is still refused. Ctrl-C reaches
    it from the terminal, and it needs time to cancel its jobs. SIGTERM is passed on: it lets running jobs come to their end.

    Parameters
    ----------
    show : if given, what is said goes into a file, and this shows it to a person until the process ends
    """
    with ExitStack() as stack:
        path = folder / LOG
        output = None
        if show is not None:
            path.parent.mkdir(exist_ok=True)
            output = stack.enter_context(path.open("wb"))
        process = subprocess.Popen(snakemake, cwd=folder, pass_fds=[lock], stdout=output, stderr=output)
        for number, told in (
            (signal.SIGTERM, lambda *_: process.terminate()),
            (signal.SIGINT, lambda *_: None),
        ):
            stack.callback(signal.signal, number, signal.signal(number, told))
        return process.wait() if show is None else show(process, path)


def _executor(profile: Path, arguments: list[str]) -> str:
    """Return which executor of Snakemake is asked for, by an argument or else by the profile; empty if none is."""
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in {"--executor", "-e"}:
            return value or "".join(arguments[i + 1 : i + 2])
    return str(read_profile(profile).get("executor", ""))


def _sort_out_orphans(prefix: str, console: Console) -> None:
    """Cancel jobs of a run that was killed if they still wait; leave those that run, for they are half-way.

    This run submits the batches of both again. A second job on a batch waits for the first one to end, and finds its results.
    """
    orphans = read_queue(prefix).jobs
    waiting = [job.job for job in orphans if job.state == "PENDING"]
    running = [job for job in orphans if job.state != "PENDING"]
    if waiting:
        subprocess.run([shutil.which("scancel") or "scancel", "--state=PENDING", *waiting], check=True)
        console.print(
            f"{len(waiting)} Slurm jobs of the earlier run were still waiting: cancelled, to be submitted anew."
        )
    if running:
        names = ", ".join(sorted(f"{job.rule} {job.batch}".strip() for job in running))
        console.print(
            f"{len(running)} Slurm jobs of the earlier run still run ({names}). They go on; a new job on the same batch waits for them and "
            f"takes what they finish. To start those over instead: scancel {' '.join(job.job for job in running)}"
        )
