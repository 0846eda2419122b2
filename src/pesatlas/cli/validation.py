"""`pesatlas validate`: chosen frames of a run, labelled, and the errors of a potential on them."""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas import __version__
from pesatlas.atoms.elements import reduced_formula, symbol_of
from pesatlas.benchmark.benchmarked import UNKNOWN, BenchmarkedPotential
from pesatlas.benchmark.cached_evaluator import Static, evaluate_all
from pesatlas.benchmark.validation import (
    Compared,
    Shift,
    Tolerances,
    answer,
    frame_errors,
    shift_energies,
    summarize,
)
from pesatlas.campaign.convergence import read_convergence
from pesatlas.campaign.layout import RESULTS, WORK, below, numbered
from pesatlas.campaign.load import load_campaign
from pesatlas.cli.app import print_json
from pesatlas.cli.benchmark import read_potential
from pesatlas.cli.open_campaign import campaign_of
from pesatlas.cli.run_frames import Frame, read_frames
from pesatlas.cli.select import run_stage, selection_settings
from pesatlas.config.campaign import Campaign
from pesatlas.config.scaled import HOURS_OF_64_ATOMS
from pesatlas.dynamics.relax import Start
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Outcome, Result, Task, from_bytes
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key, open_calculations
from pesatlas.label.rows import definitions
from pesatlas.label.verdict import QUARANTINED, decide_verdict
from pesatlas.levels.lookup import levels_of
from pesatlas.potentials.device import check_device
from pesatlas.potentials.loading import fetch_potential, load_potential
from pesatlas.potentials.potential import VOIGT, Potential
from pesatlas.runtime.progress import Progress
from pesatlas.storage.store import stores_at
from pesatlas.tables import FailureReason, read_table, write_table
from pesatlas.tables.failures import Failure

_ATOMS_PER_CHUNK = 500
_COLOURS = {"within": "green", "beyond": "red", "undecided": "yellow"}
_HEADS = {
    "energy_mae": ("energy", "meV/atom"),
    "force_mae": ("forces", "meV/Å"),
    "force_rmse": ("forces, rms", "meV/Å"),
    "stress_mae": ("stress", "GPa"),
    "force_slope": ("slope", "of forces"),
}

Row = dict[str, Any]


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


def show_validation(
    request: Request, limits: Tolerances, *, to: Path | None, dry_run: bool, console: Console, as_json: bool
) -> None:
    """Choose frames, tell the cost, label them, write the errors and show them with an answer.

    Raises
    ------
    UserError
        If the potential, the frames, the level or the backend are not there, or the budget is no number.
    """
    budget = _Budget.read(request.budget)
    check_device(request.device, "--device")
    campaign = _campaign(request)
    benchmarked = read_potential(request.potential)
    rate = _rate(campaign, request.level)
    with tempfile.TemporaryDirectory(prefix="pesatlas-validate-") as temporary:
        frames = read_frames(request.files, Path(temporary) / "pool.parquet")
        chosen = _choose(frames, budget, rate, campaign, request, Path(temporary))
    level = levels_of(campaign.label.backend, [request.level])[request.level]
    tasks = [task_of(frame.row, level) for frame in chosen]
    plan = _plan(frames, chosen, tasks, campaign, rate)
    if not as_json:
        _tell_plan(console, request, benchmarked, level.code_text, plan)
    if dry_run:
        if as_json:
            print_json(plan)
        return
    fetch_potential(benchmarked.options)
    potential = load_potential(benchmarked.options, request.device)
    answers = _predict(potential, benchmarked.name, tasks)
    # a frame that the potential cannot evaluate needs no label
    evaluated = [task for task, found in zip(tasks, answers, strict=True) if isinstance(found, Static)]
    labelled, made = _label(campaign, evaluated)
    left = iter(labelled)
    outcomes = [next(left) if isinstance(found, Static) else None for found in answers]
    compared = [
        _compare(frame, task, outcome, found)
        for frame, task, outcome, found in zip(chosen, tasks, outcomes, answers, strict=True)
    ]
    sound = [each for each in compared if isinstance(each, Compared)]
    shift = shift_energies(sound)
    summary = summarize(sound, shift, limits)
    rows = _rows(chosen, tasks, compared, outcomes, shift)
    for row in rows:
        row |= {"potential": benchmarked.name, "potential_hash": potential.weights_hash}
    names = {"potential": benchmarked.name, "level": request.level}
    table = below(to or Path(RESULTS), "validation", **names)
    write_table(table, "validation", rows, level.fingerprint, metadata=definitions([level]))
    write_table(
        below(to or Path(RESULTS), "validation_summary", **names),
        "validation_summary",
        summary,
        level.fingerprint,
    )
    verdict = answer(benchmarked.name, request.level, summary, limits)
    if as_json:
        about = {"answer": verdict, "energies": shift.text, "summary": summary, "calculated": made}
        print_json(about | {"plan": plan, "frames": rows})
        return
    _tell(console, rows, summary, shift, verdict)
    level_itself = read_convergence(Path(RESULTS), request.level)
    if level_itself is not None:
        console.print(f"The labels: {level_itself.sentence}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{made} calculated now. Tables are in {table.parent}.", soft_wrap=True, highlight=False)


def _campaign(request: Request) -> Campaign:
    """Return the configuration whose backend labels, with ``request.level`` as its only level."""
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


def _plan(
    frames: Sequence[Frame],
    chosen: Sequence[Frame],
    tasks: Sequence[Task],
    campaign: Campaign,
    rate: _Rate | None,
) -> Row:
    info = campaign.campaign
    store = stores_at(info.store, info.read_stores, "labels")
    store.refresh()
    payloads = [store.get(content_key(task)) for task in tasks]
    left = [
        len(task.numbers)
        for task, payload in zip(tasks, payloads, strict=True)
        if payload is None or not isinstance(from_bytes(payload), Result | Failed)
    ]
    return {
        "frames": len(frames),
        "chosen": len(chosen),
        "stored": len(tasks) - len(left),
        "core_hours": rate.of(left) if rate else None,
        "core_hours_from": rate.source if rate else None,
        "snapshot_ids": [frame.row["snapshot_id"] for frame in chosen],
    }


def _tell_plan(
    console: Console, request: Request, benchmarked: BenchmarkedPotential, code: str, plan: Row
) -> None:
    left = plan["chosen"] - plan["stored"]
    how = "all" if plan["chosen"] == plan["frames"] else f"{plan['chosen']} chosen by DIRECT"
    cost = (
        f" They cost about {plan['core_hours']:.2g} core hours ({plan['core_hours_from']}, times the cube of "
        "the number of atoms)."
        if left and plan["core_hours"] is not None
        else ""
    )
    console.print(
        f"{plan['frames']} frames, {how}; {left} labels to calculate at {request.level} ({code}), "
        f"{plan['stored']} in the store.{cost}",
        soft_wrap=True,
        markup=False,
    )
    trained = "its kind cannot tell" if benchmarked.level == UNKNOWN else benchmarked.level
    console.print(
        f"{benchmarked.name} was trained at: {trained}. At another level than {request.level}, errors hold "
        "the difference of the two.",
        soft_wrap=True,
        markup=False,
    )


def _predict(potential: Potential, name: str, tasks: Sequence[Task]) -> list[Static | Failure]:
    """Evaluate the potential where it knows all elements; in the order of ``tasks``."""
    known = [potential.elements.issuperset(task.numbers.tolist()) for task in tasks]
    starts = [Start(task.numbers, task.cell, task.positions) for task in tasks]
    found = evaluate_all(
        potential, [start for start, able in zip(starts, known, strict=True) if able], _ATOMS_PER_CHUNK
    )
    return [
        next(found) if able else _unsupported(name, set(task.numbers.tolist()) - potential.elements)
        for task, able in zip(tasks, known, strict=True)
    ]


def _unsupported(name: str, numbers: set[int]) -> Failure:
    symbols = " ".join(symbol_of(z) for z in sorted(numbers))
    return Failure(FailureReason.UNSUPPORTED_ELEMENT, f"{name} does not know {symbols}")


def _label(campaign: Campaign, tasks: Sequence[Task]) -> tuple[list[Outcome], int]:
    """Return the outcomes of all tasks, from the store where it has them, and how many are new."""
    outcomes: list[Outcome] = []
    progress = Progress("labels", len(tasks))
    with open_calculations(
        campaign.label, campaign.campaign, "validate", Path(WORK["label_batch"])
    ) as calculations:
        for (outcome,) in calculations.outcomes([[task] for task in tasks]):
            outcomes.append(outcome)
            progress.step(failed=int(isinstance(outcome, Failed)))
        return outcomes, calculations.made


def _compare(
    frame: Frame, task: Task, outcome: Outcome | None, found: Static | Failure
) -> Compared | Failure:
    """Return label and prediction of a frame side by side, or why there are not both."""
    if isinstance(found, Failure):
        return found
    if not isinstance(outcome, Result):
        why = outcome or Failed(FailureReason.CRASHED, "it was not calculated")
        return Failure(why.reason, why.detail)
    verdict, rules = decide_verdict(outcome)
    if verdict == QUARANTINED:
        return Failure(FailureReason.QUARANTINED, "; ".join(json.loads(rules)))
    return Compared(
        frame.condition,
        task.numbers,
        (outcome.energy_eV, found.energy_eV),
        np.array([outcome.forces_eV_per_A, found.forces], dtype=float),
        np.array([outcome.stress_eV_per_A3, found.stress[VOIGT]], dtype=float),
    )


def _rows(
    chosen: Sequence[Frame],
    tasks: Sequence[Task],
    compared: Sequence[Compared | Failure],
    outcomes: Sequence[Outcome | None],
    shift: Shift,
) -> list[Row]:
    """Return rows of table ``validation``, but for the potential."""
    errors = iter([] if shift.errors is None else shift.errors.tolist())
    rows = []
    for frame, task, each, outcome in zip(chosen, tasks, compared, outcomes, strict=True):
        row = {name: frame.row[name] for name in ("snapshot_id", "structure_id", "n_atoms", "numbers")} | {
            "file": frame.file,
            "place": frame.place,
            "condition": frame.condition,
            "formula": reduced_formula(task.numbers.tolist()),
            "level": task.level.name,
            "level_fingerprint": task.level.fingerprint,
            "wall_s": outcome.wall_s if isinstance(outcome, Result) else None,
            "code_version": __version__,
        }
        if isinstance(each, Failure):
            row |= {"reason": each.reason.value, "detail": each.detail}
        else:
            row |= {"energy_eV": each.energies[0], "mlip_energy_eV": each.energies[1], **frame_errors(each)}
            row["energy_error_meV_per_atom"] = next(errors, None)
        rows.append(row)
    return rows


def _tell(console: Console, rows: Sequence[Row], summary: Sequence[Row], shift: Shift, verdict: str) -> None:
    table = Table(
        title="Errors of the potential, with 95 % intervals",
        title_justify="left",
        caption="The frames were chosen to cover the run: rare ones count more than in its average.",
        caption_justify="left",
    )
    table.add_column("of")
    table.add_column("frames", justify="right")
    for head, unit in _HEADS.values():
        table.add_column(f"{head}\n{unit}", justify="right")
    for group in dict.fromkeys((row["of"], row["name"]) for row in summary):
        mine = {row["quantity"]: row for row in summary if (row["of"], row["name"]) == group}
        count = str(next(iter(mine.values()))["frames"])
        table.add_row(
            escape(group[1] or "all"),
            count,
            *(_cell(mine.get(quantity)) for quantity in _HEADS),
            end_section=True,
        )
    console.print(table)
    failed = [row for row in rows if row.get("reason")]
    for row in failed:
        console.print(
            f"no errors for {row['snapshot_id']}: {row['reason']}, {row['detail']}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"Energies: {shift.text.removeprefix('energies ')}.", soft_wrap=True, highlight=False)
    console.print(verdict, soft_wrap=True, markup=False, highlight=False, style="bold")


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    colour = _COLOURS.get(row["verdict"])
    value = f"[{colour}]{row['value']:.3g}[/{colour}]" if colour else f"{row['value']:.3g}"
    return value if row["low"] is None else f"{value}\n{row['low']:.3g} to {row['high']:.3g}"
