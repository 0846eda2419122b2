"""The status of a campaign: stages, jobs, Slurm, and its controller."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pesatlas.campaign.account import Account
from pesatlas.campaign.layout import path_of
from pesatlas.campaign.rules import RULES
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.monitor.controlling_process import ControllingProcess, read_controller
from pesatlas.monitor.counts import TABLES, Manifests, Stage, count_picks, count_stages
from pesatlas.monitor.jobs import Job, mean_duration, read_jobs
from pesatlas.monitor.squeue import ALLOCATION, Queue, SlurmJob, read_queue
from pesatlas.monitor.stale import count_stale, stale_files
from pesatlas.report.texts import read_advice

_SAME_UNIT = frozenset({*TABLES, "label_atoms"})
"""Rules whose progress counts what their stage counts."""
_SAMPLE = 20
"""Finished jobs from whose durations those of others are estimated."""


@dataclass
class Pace:
    """Current rate of a stage.

    Attributes
    ----------
    running : jobs that run
    per_s : items per second, all running jobs together; None if nothing runs, or too short a time to tell
    left_s : time left for the stage at this pace, s
    """

    running: int = 0
    per_s: float | None = None
    left_s: float | None = None


@dataclass
class Status:
    """Everything that ``pesatlas status`` shows."""

    folder: Path
    campaign: str
    controller: ControllingProcess | None
    stages: list[Stage]
    paces: dict[str, Pace]
    jobs: list[Job]
    queue: Queue
    advice: dict[str, Any] | None = None
    stale: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)
    exported: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """True if every stage has its results, as they would be made today."""
        return all(stage.complete for stage in self.stages)

    @property
    def lost(self) -> list[Job]:
        """Jobs that ended without their results."""
        return [job for job in self.jobs if not job.running]

    @property
    def orphans(self) -> tuple[list[SlurmJob], list[Job]]:
        """Jobs that Slurm has or that run outside it, while no `pesatlas run` looks after them.

        Empty while that is not certain.
        """
        if self.controller is not None and self.controller.alive is not False:
            return [], []
        # an allocation that waits has no `pesatlas run` yet
        slurm = [job for job in self.queue.jobs if job.rule != ALLOCATION]
        return slurm, [job for job in self.jobs if job.alive and not job.state.slurm_job]

    def as_json(self) -> dict[str, Any]:
        """Return the same for programs; times in seconds."""
        slurm, local = self.orphans
        controller = asdict(self.controller) if self.controller else None
        return {
            "folder": str(self.folder),
            "campaign": self.campaign,
            "at": time.time(),
            "finished": self.finished,
            "controller": controller,
            "head": controller,  # the former name, for programs that read it
            "advice": self.advice,
            "stale": [{"file": str(path), "why": list(why)} for path, why in self.stale.items()],
            "accounts": [
                {"level": each.level, "selected": each.selected, **each.parts(self.exported)}
                for each in self.accounts
            ],
            "stages": [
                {**asdict(stage), "left": stage.left, **asdict(self.paces[stage.name])}
                for stage in self.stages
            ],
            "jobs": [{**asdict(job.state), "fate": job.fate, "log": job.log} for job in self.jobs],
            "slurm": {"problem": self.queue.problem, "jobs": [asdict(job) for job in self.queue.jobs]},
            "orphans": {"slurm": [job.job for job in slurm], "processes": [job.state.pid for job in local]},
        }


def read_status(folder: Path, campaign: Campaign, prefix: str) -> Status:
    """Read the status of the campaign in ``folder``; names of its Slurm jobs begin with ``prefix``.

    Nothing is written or locked.

    Raises
    ------
    UserError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder. Name the folder of a campaign, in which `pesatlas run` runs."
        )
    # the controller first: what it submits in the meantime is then never taken for an orphan
    queue = read_queue(prefix)
    controller = read_controller(folder)
    if controller is not None and controller.alive is None and _in_allocation(queue):
        controller = replace(controller, alive=True)
    manifests = Manifests(folder)
    stages = count_stages(manifests, campaign)
    stale = stale_files(folder, campaign)
    count_stale(stages, stale)
    jobs = read_jobs(folder, manifests.has_results, queue.alive)
    paces = {}
    for stage in stages:
        rules = RULES[stage.name]
        running = [job for job in jobs if job.running and job.state.rule in rules]
        _add(stage, running)
        paces[stage.name] = _pace(stage, running, _usual_duration(folder, manifests, stage))
    advice = read_advice(folder / path_of("advice")) if campaign.round else None
    return Status(
        folder.resolve(),
        campaign.campaign.name,
        controller,
        stages,
        paces,
        jobs,
        queue,
        advice,
        stale,
        count_picks(manifests, campaign),
        tuple(campaign.dataset.exports.verdicts),
    )


def _in_allocation(queue: Queue) -> bool:
    """Return whether an allocation of the campaign runs: it ends with the `pesatlas run` inside it."""
    return any(job.rule == ALLOCATION and job.state not in {"PENDING", "COMPLETING"} for job in queue.jobs)


def _add(stage: Stage, running: Sequence[Job]) -> None:
    """Add what jobs that run have done to what is on file, where they count in the stage's unit."""
    for job in running:
        state = job.state
        if state.rule in _SAME_UNIT and state.total is not None:
            stage.done += state.done - state.failed
            stage.failed += state.failed
            stage.under_way += state.total - state.done


def _usual_duration(folder: Path, manifests: Manifests, stage: Stage) -> float | None:
    """Return how long the latest finished jobs of a stage with batches took on average, s."""
    rule = RULES[stage.name][0]
    if rule not in TABLES:
        return None
    return mean_duration(folder, rule, manifests.finished(rule, stage.batches)[-_SAMPLE:])


def _pace(stage: Stage, running: Sequence[Job], usual: float | None) -> Pace:
    """Extrapolate from the jobs that run: each by its own estimate, or by what such jobs usually take."""
    pace = Pace(len(running))
    timed = [(job, duration) for job in running if (duration := job.duration_s or usual)]
    if not timed or stage.batches is None:
        return pace
    counted = [(job, duration) for job, duration in timed if job.state.rule in _SAME_UNIT]
    pace.per_s = sum((job.state.total or 0) / duration for job, duration in counted) or None
    jobs_left = stage.batches - stage.batches_done - sum(job.share for job in running)
    at_once = sum(1 / duration for _, duration in timed)
    pace.left_s = max(jobs_left / at_once, *(job.state.left_s or 0.0 for job in running))
    return pace
