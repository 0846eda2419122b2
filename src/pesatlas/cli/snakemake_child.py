"""Snakemake started by `pesatlas run`: ``python -m pesatlas.cli.snakemake_child PIPE ARGUMENTS``.

It ends with the process that started it, however that dies, and with its jobs on this machine; Slurm jobs go
on. Its Slurm executor is ours.
"""

import importlib.util
import os
import signal
import sys
import threading
import time
from types import FrameType

from pesatlas.cli.local_jobs import kill_jobs

_TWICE_S = 5.0
"""One Ctrl-C reaches this process from the terminal and from its parent.

A second one would break off the cancelling of jobs.
"""

_LATER_S = 0.1

_stop = threading.Event()
"""Set when this process is told to end."""
_INCOMPLETE = "At least one job did not complete successfully"


def end_with_parent(pipe: int) -> None:
    """Wait until the other end of ``pipe`` is closed, which the parent alone has.

    Then end this process and its jobs here.
    """
    os.set_inheritable(pipe, False)
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)  # nothing more is started
    kill_jobs(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


class Interrupt:
    """SIGINT handler that ignores a second signal for a moment and waits while logging.

    Snakemake's logging swallows the KeyboardInterrupt that is raised in it: the run would go on.
    """

    def __init__(self) -> None:
        self._heard = -_TWICE_S
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self)

    def __call__(self, _: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, unless that was done just now."""
        if time.monotonic() - self._heard <= _TWICE_S:
            return
        if _is_logging(frame):
            signal.setitimer(signal.ITIMER_REAL, _LATER_S)
            return
        self._heard = time.monotonic()
        _stop.set()
        raise KeyboardInterrupt


def _is_logging(frame: FrameType | None) -> bool:
    """Return whether the program is logging."""
    while frame is not None:
        if frame.f_globals.get("__name__") in {"logging", "snakemake.logging"}:
            return True
        frame = frame.f_back
    return False


def no_error_after_stop() -> None:
    """Keep Snakemake from calling it an error that jobs are left after it was told to end.

    Failures of jobs are lines of their own, which stay.
    """
    from snakemake.logging import logger  # noqa: PLC0415 - the pipe is watched first
    from snakemake.scheduling.job_scheduler import JobScheduler  # noqa: PLC0415

    end = JobScheduler.exit_gracefully

    def note_and_end(scheduler: JobScheduler, *args: object) -> None:
        _stop.set()
        end(scheduler, *args)

    JobScheduler.exit_gracefully = note_and_end
    logger.addFilter(lambda record: not (_stop.is_set() and _INCOMPLETE in record.getMessage()))


def main(pipe: int, arguments: list[str]) -> None:
    """Run Snakemake; this does not return."""
    threading.Thread(target=end_with_parent, args=(pipe,), name="parent", daemon=True).start()
    Interrupt()
    sys.argv = ["snakemake", *arguments]
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked until now, see controller.py
        if importlib.util.find_spec("snakemake_executor_plugin_slurm"):
            from pesatlas.cli.slurm_executor import install  # noqa: PLC0415 - only where it is

            install()
        no_error_after_stop()
        from snakemake.cli import main as snakemake  # noqa: PLC0415 - the pipe is watched first

        snakemake(arguments)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # before Snakemake itself is there to hear it


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
