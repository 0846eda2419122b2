"""The head of a campaign: the `pesatlas run` that submits its jobs."""

import json
from dataclasses import dataclass
from pathlib import Path

from pesatlas.monitor.process import is_alive

LOCK_FILE = ".pesatlas.lock"


@dataclass(frozen=True)
class Head:
    """The last `pesatlas run` of a folder.

    Attributes
    ----------
    host, pid : where it runs
    since : when it started, s since 1970
    alive : whether it still runs; None if it runs on another machine, from where alone this can be told
    """

    host: str
    pid: int
    since: float
    alive: bool | None


def read_head(folder: Path) -> Head | None:
    """Return the head of the campaign in ``folder``; None if the last one came to its end, or there was none.

    Its lock is not touched, not even for a moment: a head that is just starting would take that for another head.
    """
    try:
        raw = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        host, pid, since = str(raw["host"]), int(raw["pid"]), float(raw["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Head(host, pid, since, is_alive(pid, host, since))
