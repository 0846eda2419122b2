"""The controlling process of a campaign: starts Snakemake, handles signals and stop requests, cleans up."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console

from pesatlas.cli.live_view import LOG
from pesatlas.cli.local_jobs import end_jobs, interrupt, kill_with_jobs
from pesatlas.cli.lock import Lock
from pesatlas.cli.orphans import cancel_jobs
from pesatlas.cli.stop_request import RANK, How, forget_request, read_request
from pesatlas.runtime.supervise import adopt_orphans

LOOK_S = 1.0
"""Time between two looks for requests."""
_PENDING_S = 10.0
"""Time between two cancellations of jobs that wait in Slurm's queue, while a run ends quietly."""
_PATIENCE_S = 60.0
"""Time for Snakemake and its jobs on this machine to end when they are told to end now."""
_STOPPED = 1

Show = Callable[[subprocess.Popen[bytes], Path], int]


@dataclass(frozen=True)
class Stopped:
    """Reason for which a run ends before the end of the campaign although nothing is wrong.

    Attributes
    ----------
    by : SIGTERM, Ctrl-C, or who asked
    """

    how: How
    by: str


class Controller:
    """`pesatlas run` while it holds the lock of its folder; entered with ``with``.

    Parameters
    ----------
    prefix : what the names of its Slurm jobs begin with; empty if there are none

    Attributes
    ----------
    stopped : how it was told to end, and by whom; None if it was not
    """

    def __init__(self, folder: Path, lock: Lock, prefix: str, console: Console) -> None:
        self._folder, self._lock, self._prefix, self._console = folder, lock, prefix, console
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="requests", daemon=True)
        self._stack = ExitStack()
        self._others: list[psutil.Process] = []
        self.stopped: Stopped | None = None

    def __enter__(self) -> Self:
        adopt_orphans()  # jobs of a Snakemake that is killed are then found
        self._others = psutil.Process().children()
        forget_request(self._folder)
        for number, by, how in ((signal.SIGTERM, "SIGTERM", "quietly"), (signal.SIGINT, "Ctrl-C", "now")):
            handler = self._handler(Stopped(how, by))  # type: ignore[arg-type]
            self._stack.callback(signal.signal, number, signal.signal(number, handler))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        end_jobs(os.getpid(), _PATIENCE_S, spare=self._others)
        if self.stopped and self.stopped.how == "now" and self._prefix:
            # those that were being submitted, or looked after, at that very moment
            cancel_jobs(self._prefix, self._console)
        forget_request(self._folder)
        self._stack.close()

    def run(self, arguments: list[str], show: Show | None = None) -> int:
        """Run Snakemake with ``arguments`` to its end, whatever this process is told meanwhile.

        Return its exit status.

        Snakemake holds the campaign's lock too, and ends with this process, however suddenly that dies. It
        has time to cancel its jobs.

        Parameters
        ----------
        show : if given, what is said goes into a file, and this shows it to a person until the process ends
        """
        if self.stopped:
            return _STOPPED
        with ExitStack() as stack:
            path = self._folder / LOG
            output = None
            if show is not None:
                path.parent.mkdir(exist_ok=True)
                output = stack.enter_context(path.open("wb"))
            its_end, our_end = os.pipe()
            stack.callback(os.close, our_end)
            # a Ctrl-C while Python starts there would be a traceback: the child hears it once it can
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "pesatlas.cli.snakemake_child", str(its_end), *arguments],
                    cwd=self._folder,
                    pass_fds=[self._lock.fileno(), its_end],
                    stdout=output,
                    stderr=output,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(its_end)
            self._process = process
            self._lock.note(snakemake=process.pid, begun=time.time())
            if self.stopped:  # told just now
                self._pass_on(self.stopped)
            status = process.wait() if show is None else show(process, path)
            self._process = None
            self._lock.note(snakemake=0)
            return status

    def _handler(self, stopped: Stopped) -> Callable[..., None]:
        return lambda *_: self._stop(stopped)

    def _stop(self, stopped: Stopped) -> None:
        """End as told, unless told something harder before."""
        if self.stopped and RANK[self.stopped.how] >= RANK[stopped.how]:
            return
        self.stopped = stopped
        self._lock.note(stopping=stopped.how)
        self._pass_on(stopped)

    def _pass_on(self, stopped: Stopped) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        if stopped.how == "quietly":
            process.terminate()
        elif stopped.how == "now":
            interrupt(process.pid)
        else:
            kill_with_jobs(process.pid)

    def _watch(self) -> None:
        told: tuple[Stopped, float] | None = None
        cancelled = -_PENDING_S
        while not self._over.wait(LOOK_S):
            asked = read_request(self._folder, self._lock.controller)
            if asked is not None:
                self._stop(Stopped(asked.how, _COMMANDS[asked.how].format(asked.by)))
            elif self._lock.is_lost():
                self._stop(Stopped("take over", "the file of its lock was taken away"))
            if self.stopped is None:
                continue
            now = time.monotonic()
            if told is None or told[0] is not self.stopped:
                told = self.stopped, now
            process = self._process
            if self.stopped.how == "quietly" and self._prefix and now - cancelled >= _PENDING_S:
                cancelled = now
                cancel_jobs(self._prefix, self._console, states="PENDING")
            elif self.stopped.how == "now" and process is not None and now - told[1] > _PATIENCE_S:
                kill_with_jobs(process.pid)


_COMMANDS: dict[How, str] = {
    "quietly": "`pesatlas stop` ({})",
    "now": "`pesatlas stop --now` ({})",
    "take over": "`pesatlas run --take-over` ({})",
}
