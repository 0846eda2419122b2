"""The command ``pesatlas status``."""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from pesatlas.cli.open_campaign import campaign_of
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.monitor.screen import screen
from pesatlas.monitor.status import Status, read_status

WATCH_S = 5.0


def show_status(folder: Path, config: Path | None, console: Console, *, watch: bool, as_json: bool) -> None:
    """Print the status of the campaign in ``folder`` once, or repeatedly until its end or Ctrl-C."""
    campaign = campaign_of(folder, config)

    def look() -> Status:
        return read_status(folder, campaign, job_prefix(folder))

    status = look()
    if as_json:
        print(json.dumps(status.as_json(), indent=1))  # noqa: T201 - for programs, so nothing may be wrapped or coloured
    elif not watch:
        console.print(screen(status, console))
    else:
        with Live(screen(status, console), console=console, auto_refresh=False) as live:
            while not status.finished:
                time.sleep(WATCH_S)
                status = look()
                live.update(screen(status, console), refresh=True)
