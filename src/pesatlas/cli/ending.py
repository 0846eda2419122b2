"""The last lines of `pesatlas run`: why it ended, what needs repair, and what to do next."""

import signal
from pathlib import Path

from rich.markup import escape

from pesatlas.cli.controller import Stopped
from pesatlas.cli.refusals import Refusal
from pesatlas.monitor.counts import Manifests
from pesatlas.monitor.jobs import Job, read_jobs

MISUSED = 2
"""Snakemake's exit status for options that there are not."""
SHOWN = 8
"""Jobs that are named after a run."""

Which = tuple[str, int, float]


def jobs_without_results(folder: Path) -> list[Job]:
    """Return the jobs of the campaign in ``folder`` that have no results."""
    return read_jobs(folder, Manifests(folder).has_results, None)


def which(job: Job) -> Which:
    """Return the identity of a job. When it started is by the clock of its machine, which is no other's."""
    return job.state.host, job.state.pid, job.state.started


def failed_before(folder: Path) -> set[Which]:
    """Return the jobs that are no news after a run."""
    return {which(job) for job in jobs_without_results(folder) if not job.running}


def closing_lines(
    folder: Path, before: set[Which], status: int, *, stopped: Stopped | None = None, refused: list[Refusal]
) -> str:
    """Return why a run failed, and what to do.

    Parameters
    ----------
    before : jobs that had failed before it
    status : Snakemake's exit status, negative if a signal ended it
    stopped : how the run was told to end
    refused : submissions that Slurm refused for good
    """
    if status == MISUSED:
        return (
            "[bold]Snakemake does not accept these options.[/bold] `pesatlas run -- --help` lists its "
            "options."
        )
    lost = [job for job in jobs_without_results(folder) if not job.running and which(job) not in before]
    if stopped is not None:
        # what was cancelled is no failure
        failed = [job for job in lost if job.fate == "failed"] if stopped.how == "quietly" else []
        return "\n".join([*_stopped(stopped), *_failed(failed), *_refused(refused), _next(failed, refused)])
    if status < 0:
        name = signal.Signals(-status).name
        killed = (
            f"[bold]Snakemake was killed ({name})[/bold], by a user, or by the system for lack of memory. "
            "Its jobs on this machine were ended, Slurm jobs continue; finished work is kept."
        )
        failed = [job for job in lost if job.fate == "failed"]
        return "\n".join([killed, *_failed(failed), *_refused(refused), _next(failed, refused)])
    lines = ["[bold]The campaign stopped before its end.[/bold] Finished work is kept."]
    lines += [*_failed(lost), *_refused(refused)]
    if not lost and not refused:
        return "\n".join([*lines, "The lines above state why it stopped. The same command continues."])
    return "\n".join([*lines, _next(lost, refused)])


def _stopped(stopped: Stopped) -> list[str]:
    if stopped.how == "take over":
        return [
            (
                f"[bold]Ended by {escape(stopped.by)}.[/bold] Nothing needs to be repaired: another "
                "`pesatlas run` continues, and so do running Slurm jobs."
            )
        ]
    running = (
        "Running jobs finished"
        if stopped.how == "quietly"
        else "Running jobs were cancelled; their finished work is kept"
    )
    return [f"[bold]Stopped by {escape(stopped.by)}:[/bold] nothing needs to be repaired. {running}."]


def _failed(jobs: list[Job]) -> list[str]:
    lines = [
        f"  {f'{job.state.rule} {job.state.batch}'.strip()} {job.fate}: see {job.log}" for job in jobs[:SHOWN]
    ]
    return [*lines, f"  and {len(jobs) - SHOWN} more: `pesatlas status`"] if len(jobs) > SHOWN else lines


def _refused(refused: list[Refusal]) -> list[str]:
    by_words: dict[str, list[Refusal]] = {}
    for each in refused:
        by_words.setdefault(each.said, []).append(each)
    lines = []
    for said, those in list(by_words.items())[:SHOWN]:
        names = ", ".join(dict.fromkeys(each.job for each in those[:SHOWN]))
        more = f" and {len(those) - SHOWN} more" if len(those) > SHOWN else ""
        lines.append(f"  Slurm refused {names}{more}: {escape(said)}. {those[0].remedy}.")
    return lines


def _next(failed: list[Job], refused: list[Refusal]) -> str:
    if failed:
        return "After repairs according to the logs, the same command continues."
    if refused:
        return "After this repair, the same command continues."
    return "The same command continues."
