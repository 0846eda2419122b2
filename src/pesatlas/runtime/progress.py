"""Progress of long work: a bar or log lines, and a small file for ``pesatlas status``."""

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pesatlas.runtime import terminal

log = logging.getLogger(__name__)

ENDED_BY_SIGTERM = 128 + signal.SIGTERM
"""Exit status of a job that SIGTERM ended: a time limit, a preemption, scancel, the end of a machine."""
INTERVAL_S = 10.0
FOLDER = Path("work/progress")
"""Folder of the files, below that of a campaign."""


@dataclass
class State:
    """Progress of one job in its file.

    Attributes
    ----------
    rule, batch : which job; the batch is empty for a rule without batches
    state : running until the job ends, whatever becomes of its process; stopped if SIGTERM ended it
    what : what is counted
    done, total, failed : how many of it; the total is None while it is unknown, and those that failed are
        among those done
    speed : what the job says of its own speed, in the unit that follows from its rule: for ``run_md`` steps
        times atoms per second
    left_s : time left by the job's own estimate, s; None while unknown
    started, updated : seconds since 1970
    host, pid, slurm_job : where it runs; the job's number is empty outside Slurm
    """

    rule: str
    batch: str
    state: Literal["running", "finished", "failed", "stopped"] = "running"
    what: str = ""
    done: int = 0
    total: int | None = None
    failed: int = 0
    speed: float | None = None
    left_s: float | None = None
    started: float = 0.0
    updated: float = 0.0
    host: str = ""
    pid: int = 0
    slurm_job: str = ""


class _File:
    """The file of this process.

    It says how things stand, and nothing depends on it: it may be lost, and never stops a job.
    """

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._written = -INTERVAL_S
        self._broken = False
        self.state = state

    def write(self, *, now: bool) -> None:
        """Write the file unless it was written just now; ``now``: in any case."""
        if self._broken or (not now and time.monotonic() - self._written < INTERVAL_S):
            return
        self._written = time.monotonic()
        self.state.updated = time.time()
        temporary = self._path.with_name(f".{self._path.name}.{self.state.host}.{self.state.pid}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # whole, but not waited for until it is on the disk: after a power cut nobody misses it
            temporary.write_text(json.dumps(asdict(self.state)), encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            self._broken = True
            log.warning("no more progress for `pesatlas status`: %s", error)


_file: _File | None = None


@contextmanager
def progress_file(rule: str, batch: str = "", folder: Path = FOLDER) -> Iterator[None]:
    """Keep the progress of this process in ``folder``/``rule``-``batch``.json.

    At the start, every ten seconds, at the end.
    """
    global _file  # noqa: PLW0603 - a process is one job; its library functions need not be told
    state = State(
        rule,
        batch,
        started=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
        slurm_job=os.environ.get("SLURM_JOB_ID", ""),
    )
    file = _file = _File(folder / f"{'-'.join(filter(None, (rule, batch)))}.json", state)
    file.write(now=True)
    ended: Literal["finished", "failed", "stopped"] = "failed"
    try:
        yield
        ended = "finished"
    except SystemExit as error:
        if error.code == ENDED_BY_SIGTERM:
            ended = "stopped"
        raise
    finally:
        state.state = ended
        _file = None
        file.write(now=True)


def report(
    what: str,
    done: int,
    total: int | None,
    *,
    failed: int = 0,
    left_s: float | None = None,
    speed: float | None = None,
    now: bool = False,
) -> None:
    """Write the progress of this job; see ``State``.

    Cheap: the file is written at most every ten seconds, unless ``now``.
    """
    if _file is None:
        return
    state = _file.state
    state.what, state.done, state.total, state.failed = what, done, total, failed
    state.left_s, state.speed = left_s, speed
    _file.write(now=now)


class Progress:
    """Count steps: a bar on a terminal, else a log line every ten seconds; update the progress file."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what = what
        self.total = total
        self.done = self.failed = 0
        self._start = self._said = time.monotonic()
        self._bar = terminal.bar(what, total)
        report(what, 0, total, now=True)

    def step(self, count: int = 1, failed: int = 0) -> None:
        """Count one, or ``count``, of which ``failed`` came to nothing."""
        self.done += count
        self.failed += failed
        if self._bar is not None:
            self._bar.move(self.done)
            return
        now = time.monotonic()
        rate = self.done / max(now - self._start, 1e-6)
        left = (self.total - self.done) / rate if self.total is not None and rate else None
        report(self.what, self.done, self.total, failed=self.failed, left_s=left, speed=rate)
        if now - self._said < INTERVAL_S:
            return
        self._said = now
        if left is None:
            log.info("%s %d (%s)", self.what, self.done, _rate(rate))
        else:
            log.info("%s %d of %d (%s, %.0f s left)", self.what, self.done, self.total, _rate(rate), left)


def _rate(per_s: float) -> str:
    """Return a rate that is not 0: by the second, by the minute or by the hour."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.0f}/{unit}"
    return f"{per_s * 3600:.2g}/h"
