"""`pesatlas validate`: chosen frames of a run, labelled, and the errors of a potential on them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas import __version__
from pesatlas.atoms.elements import reduced_formula, symbol_of
from pesatlas.benchmark.benchmarked import UNKNOWN
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
from pesatlas.campaign.layout import RESULTS, WORK, below
from pesatlas.cli.app import print_json
from pesatlas.cli.run_frames import Frame
from pesatlas.cli.validation_plan import Plan, Request, make_plan
from pesatlas.config.campaign import Campaign
from pesatlas.dynamics.relax import Start
from pesatlas.label.backend import Failed, Outcome, Result, Task
from pesatlas.label.calculate import open_calculations
from pesatlas.label.label_rows import definitions
from pesatlas.label.label_verdict import decide_verdict
from pesatlas.potentials.loading import fetch_potential, load_potential
from pesatlas.potentials.potential import VOIGT, Potential
from pesatlas.runtime.progress import Progress
from pesatlas.tables import FailureReason, write_table
from pesatlas.tables.failures import Failure
from pesatlas.tables.label_verdicts import QUARANTINED

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
class _Found:
    """Rows of tables ``validation`` and ``validation_summary``, the shift of energies, and new labels."""

    rows: list[Row]
    summary: list[Row]
    shift: Shift
    made: int


def show_validation(
    request: Request, limits: Tolerances, *, to: Path | None, dry_run: bool, console: Console, as_json: bool
) -> None:
    """Choose frames, tell the cost, label them, write the errors and show them with an answer.

    Raises
    ------
    UserError
        If the potential, the frames, the level or the backend are not there, or the budget is no number.
    """
    plan = make_plan(request)
    if not as_json:
        _print_plan(console, plan)
    if dry_run:
        if as_json:
            print_json(plan.facts)
        return
    found = _measure(plan, limits, request.device)
    names = {"potential": plan.benchmarked.name, "level": plan.level.name}
    table, summary = (
        below(to or Path(RESULTS), name, **names) for name in ("validation", "validation_summary")
    )
    fingerprint = plan.level.fingerprint
    write_table(table, "validation", found.rows, fingerprint, metadata=definitions([plan.level]))
    write_table(summary, "validation_summary", found.summary, fingerprint)
    verdict = answer(plan.benchmarked.name, plan.level.name, found.summary, limits)
    if as_json:
        about = {"answer": verdict, "energies": found.shift.text, "summary": found.summary}
        print_json(about | {"calculated": found.made, "plan": plan.facts, "frames": found.rows})
        return
    _print_answer(console, found, verdict)
    level_itself = read_convergence(Path(RESULTS), plan.level.name)
    if level_itself is not None:
        console.print(f"The labels: {level_itself.sentence}", soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"{found.made} calculated now. Tables are in {table.parent}.", soft_wrap=True, highlight=False
    )


def _measure(plan: Plan, limits: Tolerances, device: str) -> _Found:
    """Evaluate and label the chosen frames, and compare both."""
    fetch_potential(plan.benchmarked.options)
    potential = load_potential(plan.benchmarked.options, device)
    answers = _predict(potential, plan.benchmarked.name, plan.tasks)
    # a frame that the potential cannot evaluate needs no label
    evaluated = [task for task, found in zip(plan.tasks, answers, strict=True) if isinstance(found, Static)]
    labelled, made = _label(plan.campaign, evaluated)
    left = iter(labelled)
    outcomes = [next(left) if isinstance(found, Static) else None for found in answers]
    compared = [
        _compare(frame, task, outcome, found)
        for frame, task, outcome, found in zip(plan.chosen, plan.tasks, outcomes, answers, strict=True)
    ]
    sound = [each for each in compared if isinstance(each, Compared)]
    shift = shift_energies(sound)
    about = {"potential": plan.benchmarked.name, "potential_hash": potential.weights_hash}
    rows = [row | about for row in _rows(plan, compared, outcomes, shift)]
    return _Found(rows, summarize(sound, shift, limits), shift, made)


def _print_plan(console: Console, plan: Plan) -> None:
    left = len(plan.chosen) - plan.stored
    how = "all" if len(plan.chosen) == plan.frames else f"{len(plan.chosen)} chosen by DIRECT"
    cost = (
        f" They cost about {plan.core_hours:.2g} core hours ({plan.core_hours_from}, times the cube of the "
        "number of atoms)."
        if left and plan.core_hours is not None
        else ""
    )
    console.print(
        f"{plan.frames} frames, {how}; {left} labels to calculate at {plan.level.name} "
        f"({plan.level.code_text}), {plan.stored} in the store.{cost}",
        soft_wrap=True,
        markup=False,
    )
    known = plan.benchmarked.level
    console.print(
        f"{plan.benchmarked.name} was trained at: {'its kind cannot tell' if known == UNKNOWN else known}. "
        f"At another level than {plan.level.name}, errors hold the difference of the two.",
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
    plan: Plan, compared: Sequence[Compared | Failure], outcomes: Sequence[Outcome | None], shift: Shift
) -> list[Row]:
    """Return rows of table ``validation``, but for the potential."""
    errors = iter([] if shift.errors is None else shift.errors.tolist())
    rows = []
    for frame, task, each, outcome in zip(plan.chosen, plan.tasks, compared, outcomes, strict=True):
        row = frame.row | {
            "numbers": task.numbers.tolist(),
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


def _print_answer(console: Console, found: _Found, verdict: str) -> None:
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
    for group in dict.fromkeys((row["of"], row["name"]) for row in found.summary):
        mine = {row["quantity"]: row for row in found.summary if (row["of"], row["name"]) == group}
        count = str(next(iter(mine.values()))["frames"])
        table.add_row(
            escape(group[1] or "all"),
            count,
            *(_cell(mine.get(quantity)) for quantity in _HEADS),
            end_section=True,
        )
    console.print(table)
    failed = [row for row in found.rows if row.get("reason")]
    for row in failed:
        console.print(
            f"no errors for {row['snapshot_id']}: {row['reason']}, {row['detail']}",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"Energies: {found.shift.text.removeprefix('energies ')}.", soft_wrap=True, highlight=False)
    console.print(verdict, soft_wrap=True, markup=False, highlight=False, style="bold")


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    colour = _COLOURS.get(row["verdict"])
    value = f"[{colour}]{row['value']:.3g}[/{colour}]" if colour else f"{row['value']:.3g}"
    return value if row["low"] is None else f"{value}\n{row['low']:.3g} to {row['high']:.3g}"
