"""Convergence series of a level: plane-wave cut-off and k-points vary, one at a time.

Each point is a label like any other, of a level of its own: it is in the store under that level's
fingerprint, and in no dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import __version__
from pesatlas.atoms.elements import reduced_formula
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.convergence import Limits, density, metadata_of
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.label.backend import Failed, Outcome, Result, Task, from_bytes
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key, open_calculations
from pesatlas.label.label_rows import definitions
from pesatlas.levels.level import Level, Precision
from pesatlas.levels.lookup import Knobs, knobs_of, levels_of
from pesatlas.runtime.progress import Progress
from pesatlas.storage.store import stores_at
from pesatlas.tables import write_table

CUTOFF_FACTORS = (0.8, 1.25, 1.5)
"""Cut-offs of a series, as multiples of the level's own, unless they are given."""
_COARSER, _FINER, _FINER_MESHES, _STEPS = 1.5, 0.8, 2, 12
"""K-points of a series: a coarser spacing, and finer ones until the mesh was finer so many times."""
_CUTOFF_STEP_EV = 10.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One calculation of a series.

    Attributes
    ----------
    row : structure: snapshot_id, structure_id, n_atoms, numbers, cell_A, positions_A
    series : which of the two settings vary here; the level's own point belongs to both
    precision : plane waves and k-points
    is_level : whether these are the level's own
    """

    row: Row
    series: tuple[str, ...]
    precision: Precision
    is_level: bool
    task: Task


@dataclass(frozen=True)
class Cost:
    """Cost of a series before it starts.

    Attributes
    ----------
    points : calculations in all
    stored : of these, finished ones in the store
    labels : time of the others in multiples of a label of the level: plane waves^1.5 times k-points, without
        symmetry
    core_s : the same in core seconds; None where no label of these structures has been timed
    """

    points: int
    stored: int
    labels: float
    core_s: float | None


def plan_series(
    settings: Label, level: str, rows: Sequence[Row], cutoffs: Sequence[float], spacings: Sequence[float]
) -> list[Point]:
    """Return the points of both series for each structure, those of one structure together.

    Parameters
    ----------
    rows : structures, as in table ``snapshots``
    cutoffs : cut-offs (eV) beside the level's own; none: ``CUTOFF_FACTORS`` times that
    spacings : spacings of k-points (1/Å) beside the level's own; none: one coarser mesh and two finer ones

    Raises
    ------
    UserError
        If labels of the backend have neither.
    """
    knobs = knobs_of(settings.backend)
    own = levels_of(settings.backend, [level])[level]
    return [point for row in rows for point in _of_structure(knobs, own, row, cutoffs, spacings)]


def _of_structure(
    knobs: Knobs, level: Level, row: Row, cutoffs: Sequence[float], spacings: Sequence[float]
) -> list[Point]:
    task = task_of(row, level)
    numbers = task.numbers.tolist()

    def point(series: str, changed: Level) -> Point:
        precision = knobs.precision_of(changed, numbers, task.cell)
        return Point(row, (series,), precision, is_level=False, task=replace(task, level=changed))

    own = replace(point("cutoff", level), series=("cutoff", "kpoints"), is_level=True, task=task)
    found = {(own.precision.cutoff_eV, own.precision.kpoints): own}
    energies = cutoffs or [
        _CUTOFF_STEP_EV * round(factor * own.precision.cutoff_eV / _CUTOFF_STEP_EV)
        for factor in CUTOFF_FACTORS
    ]
    made = [point("cutoff", knobs.at_precision(level, cutoff_eV=float(energy))) for energy in energies]
    chosen = spacings or _spacings(knobs, level, numbers, task.cell)
    made += [point("kpoints", knobs.at_precision(level, kpoint_spacing_per_A=float(each))) for each in chosen]
    for each in made:
        # spacings that give the same mesh are one calculation, and the level's own is in the store already
        found.setdefault((each.precision.cutoff_eV, each.precision.kpoints), each)
    return list(found.values())


def _spacings(knobs: Knobs, level: Level, numbers: list[int], cell: np.ndarray) -> list[float]:
    own = knobs.precision_of(level, numbers, cell)
    spacings, meshes = [round(_COARSER * own.kpoint_spacing_per_A, 4)], {own.kpoints}
    for step in range(1, _STEPS + 1):
        spacing = round(own.kpoint_spacing_per_A * _FINER**step, 4)
        finer = knobs.at_precision(level, kpoint_spacing_per_A=spacing)
        mesh = knobs.precision_of(finer, numbers, cell).kpoints
        if mesh not in meshes:
            meshes.add(mesh)
            spacings.append(spacing)
        if len(meshes) > _FINER_MESHES:
            break
    return spacings


def cost_of(points: Sequence[Point], settings: Label, info: CampaignInfo, seconds: dict[str, float]) -> Cost:
    """Return what a series costs that begins now.

    Parameters
    ----------
    seconds : wall time of a label of the level, by ``snapshot_id``, s
    """
    store = stores_at(info.store, info.read_stores, "labels")
    store.refresh()
    own = {point.row["snapshot_id"]: point for point in points if point.is_level}
    left = [point for point in points if not _is_stored(store.get(content_key(point.task)))]
    labels = {
        id(point): point.precision.relative_cost / own[point.row["snapshot_id"]].precision.relative_cost
        for point in left
    }
    known = all(point.row["snapshot_id"] in seconds for point in left)
    core_s = sum(
        labels[id(point)] * seconds.get(point.row["snapshot_id"], 0.0) * settings.cores for point in left
    )
    return Cost(len(points), len(points) - len(left), sum(labels.values()), core_s if known else None)


def _is_stored(payload: bytes | None) -> bool:
    return payload is not None and isinstance(from_bytes(payload), Result | Failed)


def run_series(
    points: Sequence[Point], settings: Label, info: CampaignInfo, work: Path
) -> tuple[list[Row], int]:
    """Calculate what the store does not have; return rows of table ``convergence``, and how many were new.

    A point that fails is a row with its reason. Stopped and begun again, it calculates only what is missing.

    Parameters
    ----------
    work : folder for locks
    """
    outcomes: list[Outcome] = []
    progress = Progress("points of the series", len(points))
    with open_calculations(settings, info, "convergence", work) as calculations:
        # each alone: what one level hands over to the next (a wavefunction) is of other settings here
        for (outcome,) in calculations.outcomes([[point.task] for point in points]):
            outcomes.append(outcome)
            progress.step(failed=int(isinstance(outcome, Failed)))
        made = calculations.made
    return _rows(points, outcomes), made


def write_series(path: Path, points: Sequence[Point], rows: Sequence[Row], limits: Limits) -> None:
    """Write table ``convergence``, with the limits and every level of its points in full."""
    level = next(point.task.level for point in points if point.is_level)
    levels = {point.task.level.fingerprint: point.task.level for point in points}
    about = metadata_of(limits) | definitions(levels.values())
    write_table(path, "convergence", rows, level.fingerprint, metadata=about)


def _rows(points: Sequence[Point], outcomes: Sequence[Outcome]) -> list[Row]:
    """Return the rows of each structure and series, coarse to dense, compared with the densest result."""
    rows = []
    for name in dict.fromkeys(point.row["snapshot_id"] for point in points):
        for series in ("cutoff", "kpoints"):
            mine = [
                (_row(point, series, outcome), outcome)
                for point, outcome in zip(points, outcomes, strict=True)
                if point.row["snapshot_id"] == name and series in point.series
            ]
            mine.sort(key=lambda each: density(each[0]))
            results = [(row, outcome) for row, outcome in mine if isinstance(outcome, Result)]
            for row, outcome in results:
                row.update(_changes(outcome, results[-1][1], row["n_atoms"]))
            if results:
                results[-1][0]["is_densest"] = True
            rows += [row for row, _ in mine]
    _compare_formulas(rows)
    return rows


def _row(point: Point, series: str, outcome: Outcome) -> Row:
    result = outcome if isinstance(outcome, Result) else None
    failed = outcome if isinstance(outcome, Failed) else None
    return {
        "snapshot_id": point.row["snapshot_id"],
        "structure_id": point.row["structure_id"],
        "formula": reduced_formula(point.row["numbers"]),
        "n_atoms": len(point.task.numbers),
        "level": point.task.level.name,
        "series": series,
        "cutoff_eV": point.precision.cutoff_eV,
        "kpoint_spacing_per_A": point.precision.kpoint_spacing_per_A,
        "kpoints": list(point.precision.kpoints),
        "is_level": point.is_level,
        "is_densest": False,
        "level_fingerprint": point.task.level.fingerprint,
        "energy_eV": result and result.energy_eV,
        "relative_energy_change_meV_per_atom": None,
        "wall_s": result and result.wall_s,
        "reason": failed and failed.reason.value,
        "detail": failed and failed.detail,
        "code_version": __version__,
    } | dict.fromkeys(("energy_change_meV_per_atom", "force_change_meV_per_A", "stress_change_GPa"))


def _changes(outcome: Result, densest: Result, n_atoms: int) -> Row:
    forces = np.subtract(outcome.forces_eV_per_A, densest.forces_eV_per_A)
    stress = np.subtract(outcome.stress_eV_per_A3, densest.stress_eV_per_A3)
    return {
        "energy_change_meV_per_atom": 1000 * (outcome.energy_eV - densest.energy_eV) / n_atoms,
        "force_change_meV_per_A": 1000 * float(np.abs(forces).max()),
        "stress_change_GPa": EV_PER_A3_TO_GPA * float(np.abs(stress).max()),
    }


def _compare_formulas(rows: list[Row]) -> None:
    """Add changes of energies relative to the first structure of the same formula.

    Points are the same where the series, the cut-off and the spacing are.
    """
    energy = "energy_change_meV_per_atom"
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row["formula"], row["snapshot_id"])
    of_first = {_setting(row): row[energy] for row in rows if first[row["formula"]] == row["snapshot_id"]}
    for row in rows:
        reference = of_first.get(_setting(row))
        if first[row["formula"]] != row["snapshot_id"] and None not in {reference, row[energy]}:
            row["relative_energy_change_meV_per_atom"] = row[energy] - reference


def _setting(row: Row) -> tuple[Any, ...]:
    return row["formula"], row["series"], row["cutoff_eV"], row["kpoint_spacing_per_A"]
