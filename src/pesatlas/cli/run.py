"""Run or resume the campaign of a folder through Snakemake."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from pesatlas.cli.checkout import CHECKOUT, profile_folder, snakefile_arguments
from pesatlas.cli.lock import campaign_lock
from pesatlas.cli.slurm import job_prefix
from pesatlas.errors import UserError
from pesatlas.monitor.cluster import read_profile
from pesatlas.monitor.slurm import read_queue
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


def run_campaign(folder: Path, profile: str, arguments: list[str], console: Console) -> int:
    """Run Snakemake in ``folder``; return its exit status. What ``folder`` lacks, Snakefile or profile, is the checkout's.

    Two runs in one folder would fight over the same files. A lock of Snakemake's that is found while we hold the campaign's was
    left by a run that was killed.

    Raises
    ------
    UserError
        If the profile or a Snakefile is not there, or another run of this folder is alive.
    """
    found = profile_folder(Path(profile))
    if not found.is_dir():
        raise UserError(f"--profile {profile}: no such folder, here or in {CHECKOUT}. Name a profile folder.")
    prefix = job_prefix(folder)
    on_slurm = _executor(found, arguments) == "slurm"
    named = snakefile_arguments(folder, arguments) + ([SLURM_PREFIX, prefix] if on_slurm else [])
    snakemake = [sys.executable, "-m", "snakemake", "--profile", str(found), *named, *arguments]
    if ONLY_LOOKING.intersection(arguments):
        return subprocess.call(snakemake, cwd=folder)
    started = time.monotonic()
    with campaign_lock(folder) as lock:
        if any((folder / ".snakemake" / "locks").glob("*")):
            console.print("An earlier run was killed: its lock is cleared, finished work is kept.")
            subprocess.check_call([*snakemake, "--unlock", "--quiet"], cwd=folder)
        if on_slurm:
            _sort_out_orphans(prefix, console)
        status = _wait_for(snakemake, folder, lock)
    results = folder / "results"
    if status == 0 and (results / "manifest.json").is_file():
        console.print(summary(results))
        console.print(f"Done in {time.monotonic() - started:.0f} s.")
    elif status != 0:
        console.print(
            "[bold]The campaign stopped before its end.[/bold] The log of each failed job is under logs/. After mending what it says, the same command carries on."
        )
    return status


def _wait_for(snakemake: list[str], folder: Path, lock: int) -> int:
    """Run Snakemake to its end, whatever this process is told meanwhile; return its exit status.

    Snakemake holds the campaign's lock too: should this process be killed alone, a second head is still refused. Ctrl-C reaches
    it from the terminal, and it needs time to cancel its jobs. SIGTERM is passed on: it lets running jobs come to their end.
    """
    process = subprocess.Popen(snakemake, cwd=folder, pass_fds=[lock])
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


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
