"""Run or resume the campaign of a folder through Snakemake."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from pesatlas.campaign.layout import RESULTS, below
from pesatlas.cli.again import (
    Again,
    check_whose,
    explain_again,
    files_to_make_again,
    forcing,
    remove_old_exports,
)
from pesatlas.cli.allocation import must_submit, submit
from pesatlas.cli.checkout import CHECKOUT, profile_folder, snakefile_arguments
from pesatlas.cli.controller import Controller
from pesatlas.cli.dry_run import labels_elsewhere
from pesatlas.cli.ending import closing_lines, failed_before, look_at
from pesatlas.cli.held_jobs import held_jobs_released
from pesatlas.cli.live_view import (
    LOOK_S,
    LOOK_SLURM_S,
    campaign_of_run,
    is_shown,
    looker,
    show_live,
    wants_quiet,
)
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.orphans import sort_out_orphans
from pesatlas.cli.refusals import given_up
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.cli.snakemake_options import find_options
from pesatlas.cli.stage_lines import stage_lines
from pesatlas.cli.stop import take_over as end_other
from pesatlas.cli.strain_refusal import check_strain_tests
from pesatlas.cli.until import DRY_RUN, behind, first_part, read_dag, second_part, until_of
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.cluster import read_profile
from pesatlas.monitor.format import duration
from pesatlas.report.summary import summary
from pesatlas.runtime.extras import check_extra

_LOOKS = {
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
_WRITTEN = (".snakemake", RESULTS, "work", "logs")
"""Folders of a campaign that every run writes to, if they are there."""
SLURM_PREFIX = "--slurm-jobname-prefix"


def run_campaign(
    folder: Path, profile: str, arguments: list[str], console: Console, *, take_over: bool = False
) -> int:
    """Run Snakemake in ``folder``; return its exit status.

    What ``folder`` lacks, Snakefile or profile, is the checkout's.

    Two runs in one folder would fight over the same files. A lock of Snakemake's that is found while we hold
    the campaign's was left by a run that was killed.

    Parameters
    ----------
    take_over : end another run of this folder first

    Raises
    ------
    UserError
        If configuration, profile, Snakefile or the libraries of the report are not there, another run of this
        folder is alive, ``--until`` names a rule that has no job in this campaign, or a level failed its
        strain test.
    """
    found = _find_profile(profile)
    _check_configuration(folder, arguments)
    # every campaign ends in a report: told before the first job, not after the last
    check_extra("report")
    executor = _executor(found, arguments)
    looks = _LOOKS.intersection(arguments)
    _check_writable(folder, arguments)
    prefix = job_prefix(folder)
    on_slurm = executor == "slurm"
    named = snakefile_arguments(folder, arguments) + ([SLURM_PREFIX, prefix] if on_slurm else [])
    command = [sys.executable, "-m", "snakemake"]
    options = [*_triggers(found, arguments), "--profile", str(found), *named, *arguments]
    planned = campaign_of_run(folder, arguments) if DRY_RUN.intersection(arguments) or not looks else None
    check_strain_tests(command, options, folder, planned, console, only_looking=bool(looks))
    if must_submit(executor) and not looks:
        return submit(folder, found, arguments, console)
    if looks:
        with labels_elsewhere(planned, console):
            again = files_to_make_again(command, options, folder, planned)
            explain_again(again, options, console)
            shown = _to_look_at(command, forcing(again, options), folder, console)
            return subprocess.call([*command, *shown], cwd=folder)
    if on_slurm and shutil.which("sbatch") is None:
        raise UserError(
            f"--profile {profile} submits jobs to Slurm, but there is no sbatch here. Run on a login node "
            "of the cluster (after `module load slurm` if that is needed), or use another profile, e.g. "
            "--profile profiles/local."
        )
    if take_over:
        end_other(folder, console)
    return _run(folder, planned, options, arguments, prefix if on_slurm else "", console)


def _run(
    folder: Path,
    campaign: Campaign | None,
    options: list[str],
    arguments: list[str],
    prefix: str,
    console: Console,
) -> int:
    """Run Snakemake while nobody else does in ``folder``, and tell how it ended; return its exit status.

    Parameters
    ----------
    campaign : that of the run; None if it is not known
    prefix : what the names of its Slurm jobs begin with; empty without Slurm
    """
    command = [sys.executable, "-m", "snakemake"]
    started, since = time.monotonic(), time.time()
    status = 0
    with campaign_lock(folder) as lock, Controller(folder, lock, prefix, console) as run:
        again = files_to_make_again(command, options, folder, campaign)
        check_whose(again, folder, arguments)
        explain_again(again, options, console)
        remove_old_exports(again, folder, campaign, console)
        with ExitStack() as stack:
            if prefix:
                sort_out_orphans(prefix, console)
                stack.enter_context(held_jobs_released(prefix, console))
            before = failed_before(folder)
            if campaign is not None and not wants_quiet(arguments):
                stack.enter_context(stage_lines(folder, campaign, console))
            show = None
            if campaign is not None and is_shown(arguments, console):
                look, every_s = looker(folder, campaign, console), LOOK_SLURM_S if prefix else LOOK_S
                show = partial(show_live, look=look, every_s=every_s, console=console)
            for part in _parts(command, options, again, folder, campaign, console):
                status = run.run(part, show)
                if status:
                    break
    results = folder / RESULTS
    if status == 0 and below(results, "manifest").is_file():
        console.print(summary(results))
        console.print(f"Done in {duration(time.monotonic() - started)}.")
        for line in look_at(results):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    elif status != 0:
        refused = given_up(folder, since)
        console.print(closing_lines(folder, before, status, stopped=run.stopped, refused=refused))
    return status if status >= 0 else 128 - status


def _parts(
    command: list[str],
    options: list[str],
    again: Again,
    folder: Path,
    campaign: Campaign | None,
    console: Console,
) -> Iterator[list[str]]:
    """Yield the options of the runs to make, one after the other.

    The next may be asked for only once the one before has succeeded.
    """
    if any((folder / ".snakemake" / "locks").glob("*")):
        console.print("An earlier run was killed: its lock is cleared, finished work is kept.")
        yield [*options, "--unlock", "--quiet"]
    forced = forcing(again, options)
    dag = read_dag(command, forced, folder) if until_of(options) else None
    if dag is None or not behind(options):
        yield forced
        if again.open:
            # structures are prepared: what is behind them, and nobody could know of, is known now
            rest = files_to_make_again(command, options, folder, campaign)
            explain_again(rest, options, console)
            if rest.files:
                yield forcing(rest, options)
        return
    if dag.open:
        yield first_part(forced)
        # what that made again is there now, and is not to be made once more
        forced = forcing(files_to_make_again(command, options, folder, campaign), options)
        dag = read_dag(command, forced, folder)
    yield forced if dag is None else second_part(forced, dag)


def _to_look_at(command: list[str], options: list[str], folder: Path, console: Console) -> list[str]:
    """Return the options of a dry run.

    Of its first part, where ``--until`` names rules whose jobs are not known before.
    """
    wanted = DRY_RUN.intersection(options) and until_of(options)
    dag = read_dag(command, options, folder) if wanted else None
    if dag is None or not behind(options):
        return options
    if not dag.open:
        return second_part(options, dag)
    console.print(
        f"Jobs of {', '.join(behind(options))} are known only after the structures are prepared. A run "
        "begins with that part, which is shown here, and then continues."
    )
    return first_part(options)


def _find_profile(profile: str) -> Path:
    found = profile_folder(Path(profile))
    if not found.is_dir():
        likely = Path("profiles") / Path(profile).name
        hint = f" Did you mean {likely}?" if profile_folder(likely).is_dir() else ""
        raise UserError(
            f"--profile {profile}: no such folder, here or in {CHECKOUT}. Name a profile folder.{hint}"
        )
    return found


def _check_configuration(folder: Path, arguments: list[str]) -> None:
    """Raise with a hint where to start if this is no folder of a campaign.

    Snakemake only says which file it did not find.
    """
    named = {argument.partition("=")[0] for argument in arguments}
    if (
        not named & {"--configfile", "--configfiles", "-h", "--help"}
        and not (folder / "config.yaml").is_file()
    ):
        raise UserError(
            f"no config.yaml in {folder.resolve()}: this is not the folder of a campaign. Run the command in "
            "the folder that has it, or name that folder: `pesatlas run FOLDER`. To write one here: "
            "`pesatlas init CELLS...` or `pesatlas config new > config.yaml`."
        )


def _check_writable(folder: Path, arguments: list[str]) -> None:
    """Raise a UserError if nothing can be written in the folder: Snakemake cannot even look at its jobs."""
    if {"-h", "--help"}.intersection(arguments):
        return
    for place in (folder, *(folder / name for name in _WRITTEN)):
        if place.exists() and not place.is_dir():
            raise UserError(
                f"{place.resolve()} is a file, and a campaign keeps a folder of this name. Move it away."
            )
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            raise UserError(
                f"{place.resolve()} cannot be written here, and a run, also a dry run, keeps its records in "
                f"the campaign's folder. If it is yours: `chmod -R u+w {folder}`. If it is not, or its disk "
                "is read-only, run a copy: `mkdir ~/copy && cp config.yaml ~/copy && pesatlas run ~/copy`; "
                "with the same campaign.store, or it in campaign.read_stores, nothing is calculated twice. "
                f"To look at it as it is: `pesatlas summary {folder}`, `pesatlas query`, `pesatlas plan`."
            )


def _triggers(profile: Path, arguments: list[str]) -> list[str]:
    """Return Snakemake's option for what makes a job run again, unless the profile or an argument has it.

    A script that reads differently is no reason: the scripts only call the library, which Snakemake does not
    look at, and a new version of PES Atlas must not make a finished campaign again. Settings decide, which
    are parameters of the rules.
    """
    if find_options(arguments, "--rerun-triggers") or "rerun-triggers" in read_profile(profile):
        return []
    return ["--rerun-triggers", "mtime", "params", "input", "software-env"]


def _executor(profile: Path, arguments: list[str]) -> str:
    """Return which executor of Snakemake is asked for, by an argument or else by the profile.

    Empty if none is.
    """
    asked = [value for option in find_options(arguments, "--executor", "-e") for value in option.values]
    return asked[0] if asked else str(read_profile(profile).get("executor", ""))
