"""The last lines of `pesatlas run`: why it ended, what needs repair, and what to do next."""

import signal
from pathlib import Path

from rich.markup import escape

import pesatlas
from pesatlas.campaign.layout import RESULTS, below
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


def look_at(results: Path) -> list[str]:
    """Return three lines on what to look at in a finished campaign; none of one without a row.

    A run of some rules or files alone may leave others of a campaign that was finished before missing: it is
    told how many.
    """
    atlas = pesatlas.open(results)
    missing = [path for paths in atlas.files().values() for path in paths if not Path(path).is_file()]
    if missing:
        return [
            f"Missing still: {missing[0]}" + (f" and {len(missing) - 1} more tables" if missing[1:] else ""),
            "This run was not asked to make them; `pesatlas run` does.",
        ]
    first = atlas.query("SELECT min(snapshot_id) AS first FROM dataset")["first"][0].as_py()
    if first is None:
        return []
    lines = {
        str(below(results, "report")): "the report: open it in a browser",
        "pesatlas query worst-forces": "a question to its tables; there are more",
        f"pesatlas explain {first}": "the history of one row",
    }
    width = max(map(len, lines))
    return ["Look at:", *(f"  {what:<{width}}  {why}" for what, why in lines.items())]


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
        # SIGTERM of a whole group of processes, or of a machine that goes down, ends the jobs too
        ended = any(job.fate == "stopped" for job in lost)
        return "\n".join(
            [
                *_stopped(stopped, whole=not failed and not refused, ended=ended),
                *_failed(failed),
                *_refused(refused),
                _next(failed, refused),
                *_so_far(folder),
            ]
        )
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


def _so_far(folder: Path) -> list[str]:
    """Return what can be looked at before the end; nothing before there are tables."""
    if not below(folder / RESULTS, "structures").is_file():
        return []
    return ["What is there so far: `pesatlas status`, `pesatlas summary`, `pesatlas failures`."]


def _stopped(stopped: Stopped, *, whole: bool, ended: bool) -> list[str]:
    if stopped.how == "take over":
        return [
            (
                f"[bold]Ended by {escape(stopped.by)}.[/bold] Nothing needs to be repaired: another "
                "`pesatlas run` continues, and so do running Slurm jobs."
            )
        ]
    running = (
        "Running jobs finished"
        if stopped.how == "quietly" and not ended
        else "Running jobs were ended with it; their finished work is kept"
        if stopped.how == "quietly"
        else "Running jobs were cancelled; their finished work is kept"
    )
    state = "nothing needs to be repaired" if whole else "some jobs failed before that"
    return [f"[bold]Stopped by {escape(stopped.by)}:[/bold] {state}. {running}."]


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
