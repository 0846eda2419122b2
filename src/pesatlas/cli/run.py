"""Run or resume the campaign of a folder through Snakemake."""

import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from pesatlas.cli.lock import campaign_lock
from pesatlas.errors import UserError
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


def run_campaign(folder: Path, profile: str, arguments: list[str], console: Console) -> int:
    """Run Snakemake in ``folder``; return its exit status.

    Two runs in one folder would fight over the same files. A lock of Snakemake's that is found while we hold the campaign's was
    left by a run that was killed.

    Raises
    ------
    UserError
        If the profile is not there or another run of this folder is alive.
    """
    if not Path(profile).is_dir():
        raise UserError(
            f"--profile {profile}: no such folder. Start in the folder of the Snakefile, or name a profile folder."
        )
    snakemake = [sys.executable, "-m", "snakemake", "--profile", profile, *arguments]
    if ONLY_LOOKING.intersection(arguments):
        return subprocess.call(snakemake, cwd=folder)
    started = time.monotonic()
    with campaign_lock(folder):
        if any((folder / ".snakemake" / "locks").glob("*")):
            console.print("An earlier run was killed: its lock is cleared, finished work is kept.")
            subprocess.check_call([*snakemake, "--unlock", "--quiet"], cwd=folder)
        status = subprocess.call(snakemake, cwd=folder)
    results = folder / "results"
    if status == 0 and (results / "manifest.json").is_file():
        console.print(summary(results))
        console.print(f"Done in {time.monotonic() - started:.0f} s.")
    elif status != 0:
        console.print(
            "[bold]The campaign stopped before its end.[/bold] The log of each failed job is under logs/. After mending what it says, the same command carries on."
        )
    return status
