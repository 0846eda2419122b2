"""Slurm jobs that are held for ever because their start failed on a node; they are released."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from pesatlas.monitor.squeue import SlurmJob, call_slurm, error_of, read_queue

EVERY_S = 30.0
MOST = 3
"""Times that one job is given back: by then it is not the node, and a person has to look."""

_HELD = re.compile(r"launch[ _]failed[ _]requeued[ _]held")


@contextmanager
def held_jobs_released(prefix: str, console: Console) -> Iterator[None]:
    """Context: release jobs with names in ``prefix`` that Slurm holds because their start failed."""
    over, times = threading.Event(), Counter[str]()

    def watch() -> None:
        while not over.wait(EVERY_S):
            for job in read_queue(prefix).jobs:
                if job.state == "PENDING" and _HELD.fullmatch(job.reason):
                    _release(job, times, console)

    thread = threading.Thread(target=watch, name="held jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
        console.print(
            f"{name} could not be started {MOST + 1} times and stays held. Ask the administrators of the "
            f"cluster (`scontrol show job {job.job}`), then `scontrol release {job.job}`; `scancel "
            f"{job.job}` lets pesatlas submit it again.",
            markup=False,
        )
