"""Plan of `pesatlas validate`: the frames that are labelled, and what that costs."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.benchmark.benchmarked import BenchmarkedPotential
from pesatlas.campaign.layout import RESULTS, below, numbered
from pesatlas.campaign.load import load_campaign
from pesatlas.cli.benchmark import read_potential
from pesatlas.cli.open_campaign import campaign_of
from pesatlas.cli.run_frames import Frame, geometries, read_frames
from pesatlas.cli.select import run_stage, selection_settings
from pesatlas.config.campaign import Campaign
from pesatlas.config.scaled import HOURS_OF_64_ATOMS
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Result, Task, from_bytes
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key
from pesatlas.levels.level import Level
from pesatlas.levels.lookup import levels_of
from pesatlas.potentials.device import check_device
from pesatlas.storage.store import stores_at
from pesatlas.tables import read_table


@dataclass(frozen=True)
class Request:
    """Question of a user.

    Attributes
    ----------
    potential : as ``pesatlas benchmark`` takes it
    files : frames of the run
    level : reference level of the labels
    budget : number of labels, or core hours with an h
    config : configuration whose backend labels; None: config.yaml
    backend : kind of backend instead of a configuration
    device : of potential and encoder
    """

    potential: str
    files: Sequence[str]
    level: str
    budget: str
    config: Path | None
    backend: str | None
    device: str


@dataclass(frozen=True)
class _Budget:
    """Limit of the labels: their number, or core hours."""

    labels: int | None
    core_hours: float | None

    @classmethod
    def read(cls, text: str) -> "_Budget":
        if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*h\s*", text):
            hours = float(match[1])
            if hours > 0:
                return cls(None, hours)
        elif text.strip().isdecimal() and int(text) > 1:
            return cls(int(text), None)
        raise UserError(
            f"--budget {text}: give a number of labels from 2 on, such as 20, or core hours such as 8h."
        )


@dataclass(frozen=True)
class _Rate:
    """Core hours of a label of 64 atoms, which grow with the cube of the atoms, and where they are from."""

    hours: float
    source: str

    def of(self, atoms: Sequence[int]) -> float:
        return self.hours * sum((n / 64) ** 3 for n in atoms)


@dataclass(frozen=True)
class Plan:
    """Labels to make.

    Attributes
    ----------
    frames : how many the run has
    chosen : those to label, in the order of the run
    tasks : their calculations
    stored : how many of these are finished in the store
    core_hours : of the others; None if unknown
    core_hours_from : where that is from
    """

    campaign: Campaign
    benchmarked: BenchmarkedPotential
    level: Level
    frames: int
    chosen: Sequence[Frame]
    tasks: Sequence[Task]
    stored: int
    core_hours: float | None
    core_hours_from: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """The plan for programs."""
        return {
            "frames": self.frames,
            "chosen": len(self.chosen),
            "stored": self.stored,
            "core_hours": self.core_hours,
            "core_hours_from": self.core_hours_from,
            "snapshot_ids": [frame.row["snapshot_id"] for frame in self.chosen],
        }


def make_plan(request: Request) -> Plan:
    """Read the run, choose its frames, and count what they cost.

    Raises
    ------
    UserError
        If the potential, the frames, the level or the backend are not there, or the budget is no number.
    """
    budget = _Budget.read(request.budget)
    check_device(request.device, "--device")
    campaign = _campaign(request)
    benchmarked = read_potential(request.potential)
    level = levels_of(campaign.label.backend, [request.level])[request.level]
    rate = _rate(campaign, request.level)
    with tempfile.TemporaryDirectory(prefix="pesatlas-validate-") as temporary:
        snapshots = Path(temporary) / "pool.parquet"
        frames = read_frames(request.files, snapshots)
        chosen = _choose(frames, budget, rate, campaign, request, Path(temporary))
        tasks = [task_of(row, level) for row in geometries(chosen, snapshots)]
    left = _not_stored(tasks, campaign)
    return Plan(
        campaign,
        benchmarked,
        level,
        len(frames),
        chosen,
        tasks,
        len(tasks) - len(left),
        rate.of([len(task.numbers) for task in left]) if rate else None,
        rate.source if rate else None,
    )


def _not_stored(tasks: Sequence[Task], campaign: Campaign) -> list[Task]:
    info = campaign.campaign
    store = stores_at(info.store, info.read_stores, "labels")
    store.refresh()
    payloads = [store.get(content_key(task)) for task in tasks]
    return [
        task
        for task, payload in zip(tasks, payloads, strict=True)
        if payload is None or not isinstance(from_bytes(payload), Result | Failed)
    ]


def _campaign(request: Request) -> Campaign:
    """Return the configuration whose backend labels at ``request.level``."""
    if request.backend is None:
        campaign = campaign_of(Path(), request.config, extensions=True)
        if request.level not in campaign.label.levels:
            raise UserError(
                f"--level {request.level}: the campaign has {', '.join(campaign.label.levels)} "
                "(label.levels). Choose one, or add it to the configuration."
            )
        return campaign
    if request.config is not None:
        raise UserError("--backend and --config: give either a kind of backend or a configuration.")
    return load_campaign(
        {
            "structures": {"sources": [{"kind": "demo"}]},
            "label": {"backend": {"kind": request.backend}, "levels": [request.level]},
        },
        "--backend and --level, as a configuration has them",
    )


def _rate(campaign: Campaign, level: str) -> _Rate | None:
    """Return the cost of a label: measured in this folder, as configured, or assumed; None if unknown."""
    hours = []
    for path in numbered(Path(RESULTS), "labels"):
        table = pq.read_table(path, columns=["level", "wall_s", "n_atoms"])
        mine = table.filter(pc.equal(table["level"], level))
        seconds, atoms = mine["wall_s"].to_numpy(), mine["n_atoms"].to_numpy()
        hours += (campaign.label.cores * seconds / 3600 * (64 / atoms) ** 3).tolist()
    if hours:
        return _Rate(float(np.median(hours)), f"measured on {len(hours)} labels of this campaign")
    if campaign.select.budget is not None:
        return _Rate(campaign.select.budget.core_hours_of_64_atoms, "from select.budget")
    assumed = HOURS_OF_64_ATOMS.get(campaign.label.backend.kind)
    return None if assumed is None else _Rate(assumed, "assumed for this backend")


def _choose(
    frames: list[Frame], budget: _Budget, rate: _Rate | None, campaign: Campaign, request: Request, work: Path
) -> list[Frame]:
    """Return the frames to label: all if the budget allows, else those that DIRECT picks."""
    if budget.core_hours is not None and rate is None:
        raise UserError(
            f"--budget {request.budget}: nobody knows what a label of {campaign.label.backend.kind} costs. "
            "Give a number of labels, or set select.budget in the configuration."
        )
    everything = rate.of([frame.row["n_atoms"] for frame in frames]) if rate else 0.0
    if (budget.labels or len(frames)) >= len(frames) and everything <= (budget.core_hours or np.inf):
        return frames
    encoder: Any = campaign.encode.encoder
    settings: dict[str, Any] = {
        "count": budget.labels or len(frames),
        "policy": "matpes",
        "encoder": encoder.model_dump(mode="json"),
        "device": request.device,
        "min_distance_A": campaign.select.min_distance_A,
        "seed": campaign.campaign.seed,
    }
    if budget.core_hours is not None and rate is not None:
        settings["budget"] = {"core_hours": budget.core_hours, "core_hours_of_64_atoms": rate.hours}
    run_stage(selection_settings(settings), work, known=False)
    picks = read_table(below(work, "selection"), "selection", ["step"])["step"].to_pylist()
    if not picks:
        least = rate.of([min(frame.row["n_atoms"] for frame in frames)]) if rate else 0.0
        raise UserError(
            f"--budget {request.budget}: not enough for one label (about {least:.2g} core hours each, "
            f"{rate.source if rate else 'unknown'}). Give more, or a number of labels."
        )
    # in the order of the run, as its conditions are told
    return [frames[step] for step in sorted(picks)]
