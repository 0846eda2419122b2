"""End the run of a campaign from another terminal or another login node."""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console

from pesatlas.cli.local_jobs import interrupt, kill_with_jobs, local_jobs
from pesatlas.cli.lock import is_free
from pesatlas.cli.orphans import cancel_jobs, job_names
from pesatlas.cli.slurm_jobs import job_prefix
from pesatlas.cli.stop_request import How, forget_request, request
from pesatlas.errors import UserError
from pesatlas.monitor.controlling_process import (
    LOCK_FILE,
    ControllingProcess,
    controller_text,
    read_controller,
)
from pesatlas.monitor.counts import Manifests
from pesatlas.monitor.jobs import read_jobs
from pesatlas.monitor.squeue import read_queue

ANSWER_S, ANSWER_ELSEWHERE_S = 20.0, 120.0
"""Time for a `pesatlas run` to say that it was heard; network file systems show a new file late."""
_POLL_S = 0.5
_TOLD_S = 30.0
"""Time between two lines about what is waited for."""
_END_S = 180.0
"""Time for a run to cancel its jobs."""


def stop(folder: Path, console: Console, *, now: bool) -> None:
    """End the run of the campaign in ``folder`` and return when it has ended.

    Raises
    ------
    UserError
        If there is no such folder, or the run does not answer.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder. Name the folder of a campaign, in which `pesatlas run` runs."
        )
    controller = read_controller(folder)
    if controller is None or controller.alive is False:
        _no_run(folder, controller, console, now=now)
        return
    end_run(folder, controller, "now" if now else "quietly", console)
    console.print("The run has ended. Finished work is kept; `pesatlas run` continues.")


def take_over(folder: Path, console: Console) -> None:
    """End the live `pesatlas run` of the campaign in ``folder``, if any.

    Raises
    ------
    UserError
        If it does not answer.
    """
    controller = read_controller(folder)
    if controller is None or controller.alive is False:
        return
    try:
        end_run(folder, controller, "take over", console)
    except UserError:
        if controller.alive is not None or not is_free(folder):
            raise
        console.print(
            f"No answer, and nobody holds the lock: {controller.host} is gone, or the run has ended.",
            markup=False,
        )


def end_run(folder: Path, controller: ControllingProcess, how: How, console: Console) -> None:
    """End the `pesatlas run` ``controller``; return when it has ended.

    Raises
    ------
    UserError
        If it does not answer.
    """
    console.print(f"{controller_text(controller)}.", markup=False)
    here = controller.host == socket.gethostname()
    if controller.suspended:
        console.print("It is resumed, so that it receives this request.")
        for pid in (controller.pid, controller.snakemake, *(job.pid for job in local_jobs(controller.pid))):
            _send(pid, signal.SIGCONT)
    if controller.orphaned:
        _end_snakemake(controller.snakemake, how)
    else:
        try:
            request(folder, controller, how)
        except OSError as error:
            _signal(controller, how, error, here=here)
        try:
            _wait_for_answer(folder, controller, how, ANSWER_S if here else ANSWER_ELSEWHERE_S)
        except TimeoutError:
            forget_request(folder)
            if not here or how == "quietly":
                raise UserError(_no_answer(controller, how, here=here)) from None
            console.print("It does not answer; it is killed.")
            _send(controller.pid, signal.SIGKILL)
            if controller.snakemake:
                kill_with_jobs(controller.snakemake)
    if how == "quietly":
        _wait_quietly(folder, controller, console)
    else:
        _wait_until(lambda: _has_ended(folder, controller), folder, controller, _END_S)
    if how == "now":
        cancel_jobs(job_prefix(folder), console)


def _no_run(folder: Path, controller: ControllingProcess | None, console: Console, *, now: bool) -> None:
    """Report that there is no run to end, and cancel Slurm jobs that it left."""
    console.print(
        "No `pesatlas run` is alive in "
        f"{folder.resolve()}{f': {controller_text(controller)}' if controller else ''}.",
        markup=False,
    )
    jobs = read_queue(job_prefix(folder)).jobs
    if jobs and now:
        cancel_jobs(job_prefix(folder), console)
    elif jobs:
        console.print(
            f"{len(jobs)} Slurm jobs that it submitted continue ({job_names(jobs)}): their results are "
            "kept. `pesatlas stop --now` cancels them."
        )


def _signal(controller: ControllingProcess, how: How, error: OSError, *, here: bool) -> None:
    """Send ``controller`` a signal where a request cannot be written, as on a full disk.

    Raises
    ------
    UserError
        If it runs elsewhere, or belongs to somebody else.
    """
    number = {"quietly": signal.SIGTERM, "now": signal.SIGINT, "take over": signal.SIGKILL}[how]
    refused = f"the request to end cannot be written ({error.strerror}): {controller_text(controller)}"
    command = f"`kill -{number.name.removeprefix('SIG')} {controller.pid}`"
    if not here:
        raise UserError(f"{refused}. Log in there and type {command}.") from None
    try:
        _send(controller.pid, number)
    except PermissionError:
        raise UserError(f"{refused}. Ask its owner to type {command}.") from None


def _end_snakemake(pid: int, how: How) -> None:
    """End a Snakemake whose `pesatlas run` was killed and which lives nevertheless."""
    if how == "quietly":
        _send(pid, signal.SIGTERM)
    elif how == "now":
        interrupt(pid)
    else:
        kill_with_jobs(pid)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if pid:
            os.kill(pid, number)


def _has_ended(folder: Path, controller: ControllingProcess) -> bool:
    # listing the folder makes network file systems look again
    list(folder.iterdir())
    now = read_controller(folder)
    return now is None or not controller.is_same(now) or now.alive is False


def _wait_for_answer(folder: Path, controller: ControllingProcess, how: How, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not _has_ended(folder, controller):
        now = read_controller(folder)
        if now is not None and now.stopping == how:
            return
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_POLL_S)


def _wait_until(
    condition: Callable[[], bool], folder: Path, controller: ControllingProcess, patience_s: float
) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise UserError(
                f"the run in {folder.resolve()} did not end within {patience_s:.0f} s: "
                f"{controller_text(controller)}. `pesatlas status` shows what it is doing; try again."
            )
        time.sleep(_POLL_S)


def _wait_quietly(folder: Path, controller: ControllingProcess, console: Console) -> None:
    """Wait until a run has ended that waits for its running jobs, and tell for which."""
    console.print(
        "No further jobs are submitted; running jobs finish. Ctrl-C ends only this waiting; `pesatlas stop "
        "--now` cancels the jobs."
    )
    told, at = "", 0.0
    while not _has_ended(folder, controller):
        if time.monotonic() - at > _TOLD_S or not told:
            waited = _waited_for(folder)
            if waited != told:
                console.print(f"It waits for {waited or 'Snakemake'}.", markup=False)
            told, at = waited or " ", time.monotonic()
        time.sleep(_POLL_S)


def _waited_for(folder: Path) -> str:
    queue = read_queue(job_prefix(folder))
    local = [
        f"{job.state.rule} {job.state.batch}".strip()
        for job in read_jobs(folder, Manifests(folder).has_results, queue.alive)
        if job.running and not job.state.slurm_job
    ]
    slurm = [job for job in queue.jobs if job.state != "PENDING"]
    parts = [f"{len(local)} jobs here: {', '.join(sorted(local))}"] if local else []
    parts += [f"{len(slurm)} Slurm jobs: {job_names(slurm)}"] if slurm else []
    return "; ".join(parts)


def _no_answer(controller: ControllingProcess, how: How, *, here: bool) -> str:
    if here:
        return (
            f"no answer within {ANSWER_S:.0f} s: {controller_text(controller)}. `pesatlas stop --now` ends "
            "it by force; finished work is kept."
        )
    command = "kill -TERM" if how == "quietly" else "kill -INT"
    return (
        f"no answer from {controller.host} within {ANSWER_ELSEWHERE_S:.0f} s: "
        f"{controller_text(controller)}. Log in there and type `{command} {controller.pid}`. If that "
        "machine is gone, its lock is too: `pesatlas run` continues here; if its lock is held nevertheless, "
        f"move the file away first: mv {LOCK_FILE} {LOCK_FILE}.old."
    )
