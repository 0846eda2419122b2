"""The controlling process of a campaign: the `pesatlas run` of a folder and its Snakemake."""

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pesatlas.monitor.format import duration
from pesatlas.monitor.process import is_alive, is_suspended

LOCK_FILE = ".pesatlas.lock"


@dataclass(frozen=True)
class ControllingProcess:
    """The last `pesatlas run` of a folder.

    Attributes
    ----------
    host, pid : where it runs
    since : when it started, s since 1970
    alive : whether it or its Snakemake still runs; None if it runs on another machine, from where alone this
        can be told
    snakemake : process of the Snakemake that it started; 0 if none runs
    orphaned : whether it was killed while its Snakemake still runs
    suspended : whether it was stopped (Ctrl-Z, SIGSTOP) and does nothing until it is continued
    stopping : how it was told to end: quietly, now or take over; empty if it was not
    """

    host: str
    pid: int
    since: float
    alive: bool | None
    snakemake: int = 0
    orphaned: bool = False
    suspended: bool = False
    stopping: str = ""

    def is_same(self, other: "ControllingProcess | None") -> bool:
        """Return whether ``other`` is this `pesatlas run`."""
        return other is not None and (self.host, self.pid, self.since) == (other.host, other.pid, other.since)


def read_controller(folder: Path) -> ControllingProcess | None:
    """Return the controller of the campaign in ``folder``.

    None if the last one came to its end, or there was none.

    Its lock is not touched, not even for a moment: a controller that is just starting would take that for
    another controller.
    """
    try:
        raw = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        host, pid, since = str(raw["host"]), int(raw["pid"]), float(raw["since"])
        snakemake, begun = int(raw.get("snakemake", 0)), float(raw.get("begun", 0.0))
        stopping = str(raw.get("stopping", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    alive = is_alive(pid, host, since)
    child = is_alive(snakemake, host, begun) if snakemake else False
    orphaned = alive is False and bool(child)
    return ControllingProcess(
        host,
        pid,
        since,
        alive or child if alive is not None else None,
        snakemake if child is not False else 0,
        orphaned,
        alive is True and is_suspended(pid),
        stopping,
    )


def controller_text(controller: ControllingProcess) -> str:
    """Return who works in the folder and whether that lives: the same words wherever it is told."""
    took = duration(time.time() - controller.since)
    if controller.alive is None:
        text = (
            f"`pesatlas run` was started on {controller.host} (process {controller.pid}), {took} ago: only "
            f"that machine can tell whether it is alive; this is {socket.gethostname()}"
        )
    elif controller.orphaned:
        text = (
            f"`pesatlas run` (process {controller.pid}) was killed, but its Snakemake (process "
            f"{controller.snakemake} on {controller.host}) is alive and keeps submitting: `pesatlas stop` "
            "ends it"
        )
    elif controller.suspended:
        text = (
            f"`pesatlas run` on {controller.host} (process {controller.pid}) is suspended (Ctrl-Z?) and "
            f"does nothing: `kill -CONT {controller.pid}`, or `fg` in "
            "its terminal"
        )
    elif controller.alive:
        text = f"`pesatlas run` is alive on {controller.host} (process {controller.pid}), for {took}"
    else:
        return f"`pesatlas run` (process {controller.pid}) was killed; the same command continues"
    return text + (f"; it was asked to end ({controller.stopping})" if controller.stopping else "")
