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
class Head:
    """The last `pesatlas run` of a folder.

    Attributes
    ----------
    host, pid : where it runs
    since : when it started, s since 1970
    alive : whether it or its Snakemake still runs; None if it runs on another machine, from where alone this can be told
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

    def is_same(self, other: "Head | None") -> bool:
        """Return whether ``other`` is this `pesatlas run`."""
        return other is not None and (self.host, self.pid, self.since) == (other.host, other.pid, other.since)


def read_head(folder: Path) -> Head | None:
    """Return the head of the campaign in ``folder``; None if the last one came to its end, or there was none.

    Its lock is not touched, not even for a moment: a head that is just starting would take that for another head.
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
    return Head(
        host,
        pid,
        since,
        alive or child if alive is not None else None,
        snakemake if child is not False else 0,
        orphaned,
        alive is True and is_suspended(pid),
        stopping,
    )


def head_text(head: Head) -> str:
    """Return who works in the folder and whether that lives: the same words wherever it is told."""
    took = duration(time.time() - head.since)
    if head.alive is None:
        text = (
            f"`pesatlas run` was started on {head.host} (process {head.pid}), {took} ago: only there can be seen whether it lives; "
            f"this is {socket.gethostname()}"
        )
    elif head.orphaned:
        text = (
            f"`pesatlas run` (process {head.pid}) was killed, but its Snakemake (process {head.snakemake} on {head.host}) lives and goes "
            "on submitting: `pesatlas stop` ends it"
        )
    elif head.suspended:
        text = (
            f"`pesatlas run` on {head.host} (process {head.pid}) is suspended (Ctrl-Z?) and does nothing: `kill -CONT {head.pid}`, or `fg` in "
            "its terminal"
        )
    elif head.alive:
        text = f"`pesatlas run` lives on {head.host} (process {head.pid}), for {took}"
    else:
        return f"`pesatlas run` (process {head.pid}) was killed; the same command carries on"
    return text + (f"; it was told to end ({head.stopping})" if head.stopping else "")
