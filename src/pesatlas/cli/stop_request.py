"""Requests to end a run, as a file in the campaign's folder: the controller may be on another login node."""

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from pesatlas.monitor.controlling_process import ControllingProcess

REQUEST_FILE = ".pesatlas.stop"

How = Literal["quietly", "now", "take over"]
"""Ways for a run to end.

Quietly: nothing new is submitted, running jobs come to their end. Now: running jobs are cancelled. Take over:
the controlling
process ends at once for another one; Slurm jobs that run go on.
"""

RANK = {how: rank for rank, how in enumerate(get_args(How))}
"""A request that is harder replaces the one before."""


@dataclass(frozen=True)
class Request:
    """A request to one `pesatlas run`, and to no later one in the same folder.

    Attributes
    ----------
    host, pid, since : of the `pesatlas run` that is meant
    by : who asked, in words
    """

    how: How
    by: str
    host: str
    pid: int
    since: float


def request(folder: Path, controller: ControllingProcess, how: How) -> None:
    """Ask the `pesatlas run` ``controller`` to end."""
    asked = Request(
        how,
        f"on {socket.gethostname()}, process {os.getpid()}",
        controller.host,
        controller.pid,
        controller.since,
    )
    path = folder / REQUEST_FILE
    temporary = path.with_name(f"{REQUEST_FILE}.{socket.gethostname()}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(asdict(asked)), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def read_request(folder: Path, controller: ControllingProcess) -> Request | None:
    """Return what was asked of the `pesatlas run` ``controller``; None if nothing was."""
    with suppress(OSError, ValueError, TypeError):
        # listing the folder makes network file systems look again; the name alone they would remember as
        # absent for a minute
        if REQUEST_FILE in {path.name for path in folder.iterdir()}:
            found = Request(**json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8")))
            meant = (found.host, found.pid, found.since) == (
                controller.host,
                controller.pid,
                controller.since,
            )
            return found if meant and found.how in RANK else None
    return None


def forget_request(folder: Path) -> None:
    """Take away what was asked of a run that has ended."""
    with suppress(OSError):
        (folder / REQUEST_FILE).unlink(missing_ok=True)
