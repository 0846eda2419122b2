"""Orphaned Slurm jobs: their run was killed, or is about to end."""

from rich.console import Console

from pesatlas.monitor.squeue import PATIENCE_S, SlurmJob, call_slurm, error_of, read_queue

_CANCEL_S = 6 * PATIENCE_S


def sort_out_orphans(prefix: str, console: Console) -> None:
    """Cancel jobs of a run that was killed if they still wait; leave those that run, for they are half-way.

    This run submits the batches of both again. A second job on a batch waits for the first one to end, and
    finds its results.
    """
    orphans = read_queue(prefix).jobs
    waiting = [job.job for job in orphans if job.state == "PENDING"]
    running = [job for job in orphans if job.state != "PENDING"]
    if waiting:
        said = _cancel(waiting, "--state=PENDING")
        console.print(
            f"{len(waiting)} Slurm jobs of the earlier run were still pending: "
            + (
                f"they could not be cancelled: {said}" if said else "cancelled; they will be submitted again."
            ),
            markup=False,
        )
    if running:
        console.print(
            f"{len(running)} Slurm jobs of the earlier run are running ({job_names(running)}). They "
            "continue; a new job for the same batch waits for them and uses their results. To start them "
            f"again instead: scancel {' '.join(job.job for job in running)}"
        )


def job_names(jobs: list[SlurmJob]) -> str:
    """Return what some jobs do, by rule and batch."""
    return ", ".join(sorted(f"{job.rule} {job.batch}".strip() or job.job for job in jobs))


def cancel_jobs(prefix: str, console: Console, *, states: str = "") -> list[SlurmJob]:
    """Cancel the jobs whose names begin with ``prefix``; only those in some ``states`` if given.

    Return them.
    """
    queue = read_queue(prefix)
    jobs = [job for job in queue.jobs if not states or job.state in states.split(",")]
    if queue.problem:
        console.print(f"Slurm does not answer, so its jobs are not cancelled: {queue.problem}", markup=False)
    if not jobs:
        return []
    said = _cancel([job.job for job in jobs], *([f"--state={states}"] if states else []))
    console.print(
        f"{len(jobs)} Slurm jobs {'could not be ' if said else ''}cancelled{': ' + said if said else ''} "
        f"({job_names(jobs)}).",
        markup=False,
    )
    return jobs


def _cancel(jobs: list[str], *options: str) -> str:
    """Cancel jobs; return what Slurm complains of."""
    return error_of(call_slurm("scancel", *options, *jobs, patience_s=_CANCEL_S), _CANCEL_S)
