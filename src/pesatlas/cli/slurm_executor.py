"""Snakemake's Slurm executor, tolerant of rejected submissions and of jobs that Slurm has forgotten.

Of version 2.8.0: while squeue does not answer, jobs are lost, and waited for for ever; what sbatch refuses
counts as a job that failed, so that it is asked for at once with twice the memory, three times; a job that
neither squeue nor sacct knows any more is waited for for ever; and so is one of which sacct says that
somebody cancelled it ("CANCELLED by 1234"), for it compares whole words.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm.job_status_query import query_job_status
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from pesatlas.cli import refusals
from pesatlas.runtime.progress import FOLDER

_POLL_S = 0.5
_SQUEUE = ("squeue", "--me", "--noheader", "--states=all", "--format=%A")
_PATIENCE_S = 60.0
_GRACEFUL = "graceful"
"""Note of the scheduler when it was told to end with SIGTERM."""

Job = Any
Outputs = dict[str, tuple[int, int] | None]


@dataclass
class _Waiting:
    job: Job
    at: float


class PatientExecutor(plugin.Executor):
    """The executor, with some of its methods extended."""

    def __post_init__(self, test_mode: bool = False) -> None:
        self._attempts: dict[Job, int] = {}
        self._hopeless: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str, float | None]] = set()
        self._waiting: list[_Waiting] = []
        self._waiting_lock = threading.Lock()
        self._over = threading.Event()
        self._before: dict[Job, Outputs] = {}
        self._missed: set[str] = set()
        self._settled: set[int] = set()
        super().__post_init__(test_mode)
        threading.Thread(target=self._submit_again, name="refused jobs", daemon=True).start()

    @property
    def _ending(self) -> bool:
        return self._over.is_set() or self.workflow.scheduler._user_kill is not None  # noqa: SLF001 - nothing else tells

    def run_job(self, job: Job) -> None:
        """Submit a job, unless the run ends."""
        if self._ending:
            super()._report_job_error_threadsafe(SubmittedJobInfo(job), "Not submitted: the run ends.")
            return
        self._before[job] = _outputs(job)
        super().run_job(job)

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """Handle a rejected submission: submit it again a while later.

        The last time, it failed for good.
        """
        job = job_info.job
        attempts = self._attempts[job] = self._attempts.get(job, 0) + 1
        kind = (job.name, refusals.words_of_sbatch(msg))
        again = attempts <= len(refusals.WAITS_S) and kind not in self._hopeless and not self._ending
        wait_s = refusals.WAITS_S[attempts - 1] if again else None
        refusal = refusals.refused(_name(job), msg, wait_s)
        refusals.note(refusal)
        if (*kind, wait_s) not in self._told:  # of a thousand jobs of a rule, one
            self._told.add((*kind, wait_s))
            print(refusal.text, file=sys.stderr, flush=True)  # noqa: T201 - whatever the profile's `quiet` hides
        if wait_s is not None:
            with self._waiting_lock:
                self._waiting.append(_Waiting(job, time.monotonic() + wait_s))
            return
        self._hopeless.add(kind)
        # no further attempt, which would ask for more
        job._attempt = job.restart_times + 1  # noqa: SLF001 - setting `attempt` would reset what the job asked for
        super()._report_job_error_threadsafe(job_info, msg)

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        """Record a submitted job."""
        self._attempts.pop(job_info.job, None)
        super()._report_job_submission_threadsafe(job_info)

    def _submit_again(self) -> None:
        """Submit refused jobs when it is time; when the run ends, none of them is waited for."""
        while not self._over.wait(_POLL_S):
            with self._waiting_lock:
                now = time.monotonic()
                due = [each for each in self._waiting if each.at <= now or self._ending]
                self._waiting = [each for each in self._waiting if not any(each is one for one in due)]
            for each in due:
                self._job_submission_executor.submit(self.run_job, each.job)

    def shutdown(self) -> None:
        """End; refused jobs are not waited for."""
        self._over.set()
        super().shutdown()

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Yield the jobs that still run.

        Those that Slurm has forgotten are done if their results are there, and failed if not.
        """
        if not active_jobs:
            # the thread that asks starts before ``__post_init__``: an attribute that is not there yet would
            # end it, and the run would wait for ever
            return
        check = super().check_active_jobs
        self._settled.clear()
        still = [info async for info in check(active_jobs)]
        # while Slurm does not answer it yields none of them, and they would never be heard of again
        heard = self._settled.union(map(id, still))
        still += [info for info in active_jobs if id(info) not in heard]
        known = await _known_to_slurm() if still else None
        for info in still:
            number = info.external_jobid
            clusters = self._submitted_job_clusters  # another cluster's squeue would have to be asked
            if known is None or clusters or number.partition("_")[0] in known:
                self._missed.discard(number)
                yield info
            elif number not in self._missed:  # once more, for certainty
                self._missed.add(number)
                yield info
            else:
                self._settle(info)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Record a finished job."""
        self._settled.add(id(job_info))
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **more: Any) -> None:
        """Print Slurm's message of a failed job, which the profile's `quiet` hides.

        It may have ended before its script began.
        """
        self._settled.add(id(job_info))
        if job_info.external_jobid is not None and msg:
            print(f"{_name(job_info.job)}: {msg.strip()}", file=sys.stderr, flush=True)  # noqa: T201
        super().report_job_error(job_info, msg=msg, **more)

    def _settle(self, info: SubmittedJobInfo) -> None:
        """Decide by its results whether a forgotten job succeeded."""
        job, said = info.job, f"Slurm has forgotten job {info.external_jobid} ({_name(info.job)}), "
        done = _has_results(job, self._before.get(job, {}), info.external_jobid)
        if done:
            said += "and its results exist: it is done."
        elif job.restart_times > job.attempt - 1 and not self._ending:
            said += "and its results do not exist: it is submitted again."
        else:
            said += "and its results do not exist: it failed."
        if done:
            print(said, file=sys.stderr, flush=True)  # noqa: T201 - whatever the profile's `quiet` hides
            self.report_job_success(info)
        else:
            self.report_job_error(info, msg=said)


def install() -> None:
    """Register this executor in place of Snakemake's for Slurm."""
    plugin.query_job_status = _query_states
    ExecutorPluginRegistry().get_plugin("slurm").executor = PatientExecutor


async def _query_states(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
    """Return the state of each job by number, one word each, and how long the answer took, s."""
    states, duration_s = await query_job_status(command, logger)
    return states and {number: state.partition(" ")[0] for number, state in states.items()}, duration_s


def _jobs(job: Job) -> Iterator[Job]:
    yield from job.jobs if job.is_group() else [job]


def _name(job: Job) -> str:
    """Return rule and batch of a job; of a group, all of them."""
    return ", ".join(" ".join([each.name, *map(str, each.wildcards_dict.values())]) for each in _jobs(job))


def _outputs(job: Job) -> Outputs:
    """Return what tells the files that a job makes from later ones of the same names.

    None for those that are not there.
    """
    found: Outputs = {}
    for each in _jobs(job):
        for output in each.output:
            try:
                state = Path(output).stat()
            except OSError:
                found[str(output)] = None
            else:
                found[str(output)] = (state.st_ino, state.st_mtime_ns)
    return found


def _has_results(job: Job, before: Outputs, number: str) -> bool:
    """Return whether all files of a job were made since its submission, and it was not cut off."""
    now = _outputs(job)
    made = all(state is not None and state != before.get(name) for name, state in now.items())
    return made and not any(_broke_off(each, number) for each in _jobs(job))


def _broke_off(job: Job, number: str) -> bool:
    """Return whether the progress file of this Slurm job says that it is unfinished."""
    log = Path(str(job.log[0])) if job.log else Path()
    batch = log.stem if log.parent.name == job.name else ""
    path = FOLDER / f"{'-'.join(filter(None, (job.name, batch)))}.json"
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return state.get("slurm_job") == number and state.get("state") != "finished"


async def _known_to_slurm() -> set[str] | None:
    """Return the numbers of all jobs of this user that Slurm still knows, also of those that are over.

    None if it does not answer.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_SQUEUE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    except (OSError, TimeoutError):
        return None
    return set(output.decode().split()) if process.returncode == 0 else None
