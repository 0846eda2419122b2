"""Test jobs: one per partition of a profile, and one more to test locks between two nodes."""

import fcntl
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pesatlas import __version__
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.cluster.facts import Cluster, command_output
from pesatlas.monitor.cluster.requests import Request
from pesatlas.monitor.squeue import call_slurm

FOLDER = Path("work/cluster")
STEPS = ("environment", "GPU", "scratch", "locks", "label")
_LONGEST_MIN = 30
_LABEL_RESERVE_MIN = 3
_SMALL_MB = 4000
_POLL_S = 2.0
_LATENCY_S = 60.0
"""Network file systems show a file that another machine wrote after a minute at the latest."""
_FAILED_LATENCY_S = 5.0
_LOG_LINES = 3
_CANCEL_S = 60.0
_OVER = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "PREEMPTED",
}


@dataclass
class Trial:
    """One small job.

    Attributes
    ----------
    second : on another node, to try the locks that the first one in the partition holds
    labels : it labels an atom, for the jobs that label run in this partition
    cores, memory_mb : what it asks for: those of one calculation if it labels
    job : its number; empty if it was not submitted
    problem : why it gives no or not all results; empty if it does
    waited_s : from its submission to its start, s
    results : as ``probe`` writes them
    """

    name: str
    partition: str
    request: Request
    second: bool = False
    labels: bool = False
    cores: int = 1
    memory_mb: int = _SMALL_MB
    job: str = ""
    problem: str = ""
    remedy: str = ""
    submitted: float = 0.0
    over_since: float | None = None
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """Node on which it ran, as Slurm calls it."""
        return str(self.results.get("slurm_node", ""))

    @property
    def waited_s(self) -> float | None:
        """Time from its submission to its start, s; None if it did not start."""
        started = self.results.get("started")
        return max(started - self.submitted, 0.0) if started else None

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """Findings by step."""
        steps: dict[str, dict[str, Any]] = self.results.get("steps", {})
        return steps

    @property
    def ended(self) -> bool:
        """Nothing more comes from it."""
        return bool(self.problem or self.results.get("finished"))

    @property
    def ok(self) -> bool:
        """All is well."""
        return not self.problem and all(step["ok"] for step in self.steps.values())


def try_cluster(
    campaign: Campaign,
    config: Path,
    requests: Sequence[Request],
    cluster: Cluster,
    *,
    element: int,
    patience_s: float,
    show: Callable[[str], None],
) -> list[Trial]:
    """Submit the jobs, wait for them, and cancel what is left; also when this is interrupted.

    Parameters
    ----------
    element : atomic number of the atom that is labelled
    patience_s : how long to wait for all of them, s
    show : takes a line about what is waited for, when it changes
    """
    trials = _planned(requests, cluster, campaign.label.cores)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    store = Path(campaign.campaign.store)
    store.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        own = [
            stack.enter_context(_held(folder / f".pesatlas-try-{os.getpid()}")) for folder in (FOLDER, store)
        ]
        stack.callback(_cancel, trials)
        job = _Submission(campaign, config, element, own, patience_s, stack)
        for trial in trials:
            if not trial.second:
                job.submit(trial)
        _wait(trials, job, time.monotonic() + patience_s, show)
    return trials


def _planned(requests: Sequence[Request], cluster: Cluster, label_cores: int) -> list[Trial]:
    by_partition: dict[str, list[Request]] = {}
    for request in requests:
        name = request.partition or cluster.default_partition or ""
        by_partition.setdefault(name, []).append(request)
    trials = []
    for name, group in by_partition.items():
        if name not in cluster.partitions:
            raise UserError(
                f"there is no partition {name or 'that is the default'}: `pesatlas doctor` lists the "
                "partitions that the profile may name."
            )
        request = max(group, key=lambda each: each.gpus)
        first = Trial(f"{name}-1", name, request)
        for label in (each for each in group if each.rule.startswith("label_")):
            # label jobs have memory for each core
            share = label.memory_mb[0] * label_cores // label.cores
            first.labels, first.cores, first.memory_mb = True, label_cores, max(first.memory_mb, share)
        trials.append(first)
        if len(cluster.partitions[name].nodes) > 1:
            trials.append(Trial(f"{name}-2", name, request, second=True))
    return trials


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """Hold a lock on a new file, which is removed in the end."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield path.absolute()
        finally:
            path.unlink(missing_ok=True)


@dataclass
class _Submission:
    """All that the jobs have in common."""

    campaign: Campaign
    config: Path
    element: int
    own: list[Path]
    patience_s: float
    cleanup: ExitStack

    def submit(self, trial: Trial, first: Trial | None = None) -> None:
        """Submit a job; ``first`` runs on another node, and holds locks."""
        minutes = min(_LONGEST_MIN, *trial.request.minutes[:1])
        hold = (
            []
            if trial.second
            else [self._lock(trial, folder) for folder in (FOLDER, Path(self.campaign.campaign.store))]
        )
        held = (
            [self._lock(first, folder) for folder in (FOLDER, Path(self.campaign.campaign.store))]
            if first
            else []
        )
        file = FOLDER / f"{trial.name}.json"
        file.write_text(
            json.dumps(
                {
                    "config": str(self.config),
                    "version": __version__,
                    "python": sys.executable,
                    "cores": trial.cores,
                    "gpus": trial.request.gpus,
                    "element": self.element if trial.labels else 0,
                    "label_s": 60 * max(minutes - _LABEL_RESERVE_MIN, 1),
                    "held": [*map(str, self.own), *held],
                    "hold": hold,
                    "between": [
                        socket.gethostname().split(".")[0],
                        *([first.node] if first else []),
                        "this node",
                    ],
                    "hold_s": self.patience_s if not trial.second else 0,
                    "until": str((FOLDER / f"{trial.name}.over").absolute()),
                }
            ),
            encoding="utf-8",
        )
        options = {
            "--mem": trial.memory_mb,
            "--time": minutes,
            "--cpus-per-task": trial.cores,
            "--partition": trial.partition,
            "--account": trial.request.account,
            "--constraint": trial.request.options.get("constraint"),
            "--qos": trial.request.options.get("qos"),
            "--exclude": first.node if first else None,
        }
        gpus = trial.request.gpus
        model = trial.request.options.get("gpu_model")
        options["--gpus" if gpus else "--ntasks"] = (f"{model}:{gpus}" if model else gpus) if gpus else 1
        command = [
            "sbatch",
            "--parsable",
            "--export=ALL",
            f"--job-name=try-pesatlas-{trial.name}",
            f"--output={FOLDER / f'{trial.name}.log'}",
            *(f"{name}={value}" for name, value in options.items() if value is not None),
            *shlex.split(str(trial.request.options.get("slurm_extra", ""))),
            f"--wrap=exec {shlex.join([sys.executable, '-m', 'pesatlas.monitor.cluster.probe', str(file)])}",
        ]
        trial.submitted = time.time()
        # as the executor does: a job that submits jobs hands none of its own settings on
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SLURM_") or name == "SLURM_CONF"
        }
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=environment
        )
        if done.returncode:
            trial.problem = f"sbatch refuses it: {done.stderr.strip().removeprefix('sbatch: error: ')}"
            trial.remedy = "`pesatlas doctor --profile` compares the profile with the cluster"
            return
        trial.job = done.stdout.strip().split(";")[0]

    def _lock(self, trial: Trial, folder: Path) -> str:
        path = folder.absolute() / f".pesatlas-try-{trial.name}"
        self.cleanup.callback(path.unlink, missing_ok=True)
        return str(path)


def _wait(trials: list[Trial], job: _Submission, deadline: float, show: Callable[[str], None]) -> None:
    """Wait until no more results come, or for too long; submit those that need another to run."""
    told = ""
    while True:
        queue = _queue([trial.job for trial in trials if trial.job])
        for trial in trials:
            _look(trial, queue)
        for first, second in _pairs(trials):
            _go_on(first, second, job)
        waiting = [trial for trial in trials if not trial.ended]
        if not waiting:
            return
        line = "; ".join(_fate(trial, queue) for trial in waiting)
        if line != told:
            show(line)
            told = line
        if time.monotonic() > deadline:
            for trial in waiting:
                trial.problem = f"given up: {_fate(trial, queue)}"
                trial.remedy = "wait longer (--wait), or see why it waits: squeue --me --start"
            return
        time.sleep(_POLL_S)


def _pairs(trials: list[Trial]) -> Iterator[tuple[Trial, Trial | None]]:
    """Yield each job that was submitted first with the one on another node, if there is one."""
    for trial in trials:
        if not trial.second:
            yield (
                trial,
                next((each for each in trials if each.second and each.partition == trial.partition), None),
            )


def _go_on(first: Trial, second: Trial | None, job: _Submission) -> None:
    holds = first.steps.get("locks", {}).get("ok", False)
    if second is not None and not second.job and not second.ended:
        if holds:
            job.submit(second, first)
        elif first.ended or "locks" in first.steps:
            second.problem = "not tried: the first job held no lock"
    if first.ended and (second is None or second.ended):
        (FOLDER / f"{first.name}.over").touch()


def _look(trial: Trial, queue: dict[str, tuple[str, str]]) -> None:
    """Read the results of a job; find out why there are none."""
    if not trial.job or trial.ended:
        return
    with suppress(OSError, json.JSONDecodeError):  # not there yet
        trial.results |= json.loads((FOLDER / f"{trial.name}.result.json").read_text(encoding="utf-8"))
    state, reason = queue.get(trial.job, ("gone", ""))
    if trial.ended or state not in {*_OVER, "gone"}:
        if state == "PENDING" and "held" in reason.lower():
            trial.problem, trial.remedy = f"it is held: {reason}", "ask the administrators of the cluster"
        return
    if trial.over_since is None:
        trial.over_since = time.monotonic()
    late = _LATENCY_S if state in {"COMPLETED", "gone"} else _FAILED_LATENCY_S
    if time.monotonic() - trial.over_since > late:
        log = FOLDER / f"{trial.name}.log"
        last = (
            " / ".join(log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:])
            if log.exists()
            else "no log"
        )
        at = next((step for step in STEPS if step not in trial.steps), "the end")
        trial.problem = f"job {trial.job} ended ({state.lower()}) before it reported {at}: {last}"
        trial.remedy = f"see {log}; environment and campaign must be in folders that every node can read"


def _queue(jobs: list[str]) -> dict[str, tuple[str, str]]:
    """Return the states and reasons of jobs."""
    if not jobs:
        return {}
    lines = (
        command_output(
            "squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}", "--format=%A|%T|%r"
        )
        or ""
    ).splitlines()
    return {
        number: (state, reason)
        for number, state, reason in (line.split("|", 2) for line in lines if line.count("|") >= 2)
    }


def _fate(trial: Trial, queue: dict[str, tuple[str, str]]) -> str:
    if not trial.job:
        return f"{trial.name} is submitted once the first job in {trial.partition} runs"
    state, reason = queue.get(trial.job, ("gone", ""))
    return f"{trial.name} (job {trial.job}) {'waits: ' + reason if state == 'PENDING' else state.lower()}"


def _cancel(trials: list[Trial]) -> None:
    jobs = [trial.job for trial in trials if trial.job]
    if jobs:
        # those that are over are none to cancel
        call_slurm("scancel", *jobs, patience_s=_CANCEL_S)
