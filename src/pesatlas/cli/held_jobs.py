"""Slurm jobs that are held for ever because their start failed on a node: released, or made new.

A node that lost a job's start may refuse this job as long as it lives ("already running"), while it starts
any other. So a job that was released in vain is cancelled, and Snakemake submits its batch as a new one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from pesatlas.cli.repeated import repeated
from pesatlas.monitor.squeue import SlurmJob, call_slurm, error_of, read_queue

EVERY_S = 30.0
MOST = 3
"""Times that one job is given back."""

_HELD = re.compile(r"launch[ _]failed[ _]requeued[ _]held")


@contextmanager
def held_jobs_released(prefix: str, console: Console) -> Iterator[None]:
    """Context: release jobs with names in ``prefix`` that Slurm holds because their start failed."""
    times = Counter[str]()

    def look() -> None:
        for job in read_queue(prefix).jobs:
            if job.state == "PENDING" and _HELD.fullmatch(job.reason):
                _release(job, times, console)

    with repeated(look, EVERY_S, "held jobs"):
        yield


def _release(job: SlurmJob, times: Counter[str], console: Console) -> None:
    times[job.job] += 1
    name = f"Slurm job {job.job} ({f'{job.rule} {job.batch}'.strip()})"
    if times[job.job] <= MOST:
        said = error_of(call_slurm("scontrol", "release", job.job))
        console.print(
            f"{name} could not be started on its node and was held; "
            + (f"it cannot be released: {said}" if said else "it is released, so that it is tried again."),
            markup=False,
        )
    elif times[job.job] == MOST + 1:
        said = error_of(call_slurm("scancel", job.job))
        console.print(
            f"{name} could not be started {MOST + 1} times. "
            + (
                f"It cannot be cancelled: {said}. It stays held until somebody cancels it."
                if said
                else "It is cancelled, and submitted again while `retries` of the profile are left. If that "
                "does not help, ask the administrators of the cluster which node cannot start jobs."
            ),
            markup=False,
        )
