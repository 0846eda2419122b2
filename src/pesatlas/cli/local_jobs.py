"""Jobs that Snakemake runs on this machine; they end with it."""

import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress

import psutil

from pesatlas.runtime.supervise import is_supervisor

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)
_POLL_S = 0.05
_PATIENCE_S = 10.0
"""A process that waits for a dead disk cannot be killed before the disk answers."""


def local_jobs(pid: int) -> Iterator[psutil.Process]:
    """Yield the processes below process ``pid``, apart from supervisors and the programs below those.

    A supervisor hears from the kernel when its job dies, and ends its program in order, on other nodes too.
    """
    with suppress(*_GONE):
        for child in psutil.Process(pid).children():
            with suppress(*_GONE):
                if child.status() != psutil.STATUS_ZOMBIE and not is_supervisor(child.cmdline()):
                    yield child
                    yield from local_jobs(child.pid)


def interrupt(pid: int) -> None:
    """Interrupt the Snakemake of process ``pid`` as Ctrl-C does: it cancels its Slurm jobs.

    Those that run here are told to end.
    """
    jobs = list(local_jobs(pid))
    with suppress(*_GONE):
        psutil.Process(pid).send_signal(signal.SIGINT)
    for job in jobs:
        with suppress(*_GONE):
            job.terminate()
            job.resume()  # one that is suspended hears nothing


def kill_jobs(pid: int) -> None:
    """Kill the jobs below process ``pid``, repeatedly, as they may start others meanwhile."""
    deadline = time.monotonic() + _PATIENCE_S
    while (jobs := list(local_jobs(pid))) and time.monotonic() < deadline:
        for job in jobs:
            with suppress(*_GONE):
                job.kill()
        time.sleep(_POLL_S)


def kill_with_jobs(pid: int) -> None:
    """Kill the Snakemake of process ``pid`` and its jobs here. Its Slurm jobs go on."""
    jobs = list(local_jobs(pid))
    with suppress(*_GONE):
        process = psutil.Process(pid)
        process.suspend()  # starts nothing more
        jobs = list(local_jobs(pid))
        process.kill()
    for job in jobs:
        with suppress(*_GONE):
            kill_jobs(job.pid)
            job.kill()


def end_jobs(pid: int, patience_s: float, spare: Collection[psutil.Process] = ()) -> None:
    """End all processes below ``pid``, supervised programs too, but those in ``spare`` and below."""
    left = [child for child in psutil.Process(pid).children() if child not in spare]
    below = [job for child in left for job in local_jobs(child.pid)]
    supervised = [each for child in left for each in _supervised(child)]
    jobs = [job for job in (*left, *below) if job not in supervised]
    for job in jobs:
        with suppress(*_GONE):
            job.terminate()
            job.resume()
    _, alive = psutil.wait_procs(jobs, timeout=patience_s)
    for job in alive:
        with suppress(*_GONE):
            kill_jobs(job.pid)
            job.kill()
    # supervisors hear of the end of their jobs
    psutil.wait_procs(supervised, timeout=patience_s)


def _supervised(process: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the supervisors among a process and those below it, and what they look after."""
    with suppress(*_GONE):
        if is_supervisor(process.cmdline()):
            yield from (process, *process.children(recursive=True))
        else:
            for child in process.children():
                yield from _supervised(child)
