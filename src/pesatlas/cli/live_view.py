"""Live view: Snakemake's log scrolls, a table of stage progress stays below."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.cli.snakemake_options import find_options
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.screen import screen
from pesatlas.monitor.status import read_status
from pesatlas.runtime.terminal import is_watched

LOG = Path("logs/run.log")
"""File of the lines, below the folder of a campaign.

Into a file, so that a terminal that is closed harms no job.
"""

_POLL_S = 0.2
LOOK_S, LOOK_SLURM_S = 1.0, 30.0
_SHARE = 0.05
"""Of one core, for looking at the folder of a large campaign; and Slurm is asked seldom."""

# Whoever asks for these wants to see something else, or nothing.
_OTHER_DISPLAYS = {"--quiet", "-q", "--logger"}
_ELSEWHERE = {"--directory", "-d"}
_CHANGES = ("--config", "-C")
_FILES = ("--configfile", "--configfiles")


def is_shown(arguments: list[str], console: Console) -> bool:
    """Return whether the stages of a run with these Snakemake arguments are shown."""
    return is_watched(console) and not _names(arguments) & _OTHER_DISPLAYS


def wants_quiet(arguments: list[str]) -> bool:
    """Return whether these arguments of Snakemake's ask for less to be printed."""
    return bool(_names(arguments) & {"--quiet", "-q"})


def campaign_of_run(folder: Path, arguments: list[str]) -> Campaign | None:
    """Return the campaign that a run with these arguments of Snakemake's is of.

    None if that is not known, or it is not valid.
    """
    if _names(arguments) & _ELSEWHERE:
        return None
    file, changes = configuration_of_run(folder, arguments), find_options(arguments, *_CHANGES)
    try:
        if not changes:
            return read_campaign(file, extensions=False)
        from snakemake.cli import parse_config  # noqa: PLC0415 - it takes long, and few change a campaign so
        from snakemake.utils import update_config  # noqa: PLC0415

        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        update_config(raw, parse_config(list(changes[-1].values)))
        return load_campaign(raw, str(file), extensions=False)
    except (UserError, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        return None  # Snakemake says what is wrong


def _names(arguments: list[str]) -> set[str]:
    return {argument.partition("=")[0] for argument in arguments}


def configuration_of_run(folder: Path, arguments: list[str]) -> Path:
    """Return the file that a run with these arguments of Snakemake's takes its configuration from."""
    named = [value for option in find_options(arguments, *_FILES) for value in option.values]
    return folder / (named[0] if named else "config.yaml")


def show_live(
    process: subprocess.Popen[bytes],
    log: Path,
    look: Callable[[], RenderableType],
    every_s: float,
    console: Console,
) -> int:
    """Show the log of ``process`` and, below it, the view of ``look``; return its exit status."""
    look_at = 0.0
    begun = ""
    with (
        log.open(encoding="utf-8", errors="replace") as lines,
        Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live,
    ):
        while True:
            # first whether it has ended: what it wrote before that is then read below
            status = process.poll()
            text, newline, begun = (begun + lines.read()).rpartition("\n")
            if status is not None:
                text, newline = text + newline + begun, newline or begun
            if newline:
                console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)
            if status is not None:
                return status
            now = time.monotonic()
            if now >= look_at:
                live.update(look(), refresh=True)
                took = time.monotonic() - now
                look_at = now + took + max(every_s, took / _SHARE)
            time.sleep(_POLL_S)


def looker(folder: Path, campaign: Campaign, console: Console) -> Callable[[], RenderableType]:
    """Return a function that looks how far the campaign is.

    Whatever is wrong with a look, the run goes on.
    """

    def look() -> RenderableType:
        try:
            return screen(read_status(folder, campaign, job_prefix(folder)), console)
        except Exception as error:  # noqa: BLE001 - it is only for the eye
            return f"[dim]how far it is cannot be seen at the moment ({type(error).__name__})[/dim]"

    return look
