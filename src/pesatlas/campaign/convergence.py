"""Verdict of a convergence series: whether a level is converged to limits of energy, forces and stress."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from pesatlas.campaign.layout import below
from pesatlas.tables import read_table

LIMITS = "pesatlas.limits"
"""Key of the metadata of table ``convergence``: the limits that its series was made for, as JSON."""

SERIES = {"cutoff": "cut-off", "kpoints": "k-points"}
"""Settings that vary, as columns and sentences name them."""
CHANGES = {
    "energy_change_meV_per_atom": ("energy_meV_per_atom", "meV/atom"),
    "force_change_meV_per_A": ("force_meV_per_A", "meV/Å"),
    "stress_change_GPa": ("stress_GPa", "GPa"),
}
"""Columns of table ``convergence``, each with its limit and its unit."""

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Limits:
    """Largest changes that still count as converged: of the energy, a force and a stress component."""

    energy_meV_per_atom: float = 1.0
    force_meV_per_A: float = 10.0
    stress_GPa: float = 0.1

    @property
    def text(self) -> str:
        """The limits with their units."""
        return (
            f"{self.energy_meV_per_atom:g} meV/atom, {self.force_meV_per_A:g} meV/Å, {self.stress_GPa:g} GPa"
        )


@dataclass(frozen=True)
class Convergence:
    """Verdict on a level.

    Attributes
    ----------
    changes : by column of ``CHANGES``, distance of the level from the densest points of both series, added,
        for the worst structure; None if no structure has all of its points
    relative_meV_per_atom : the same of energies relative to the first structure of the same formula; None
        without two structures of one formula
    sentence : verdict with its numbers
    """

    level: str
    verdict: Literal["converged", "not converged", "undecided"]
    changes: dict[str, float | None]
    relative_meV_per_atom: float | None
    sentence: str


def read_convergence(results: Path, level: str) -> Convergence | None:
    """Return the verdict of the series in the folder ``results``; None if none was made for ``level``.

    Raises
    ------
    UserError
        If the table is damaged.
    """
    path = below(results, "convergence", level=level)
    if not path.is_file():
        return None
    rows = read_table(path, "convergence").to_pylist()
    limits = json.loads((pq.read_schema(path).metadata or {}).get(LIMITS.encode(), b"{}"))
    return assess(rows, Limits(**limits))


def metadata_of(limits: Limits) -> dict[str, str]:
    """Return the metadata of table ``convergence`` that ``read_convergence`` reads."""
    return {LIMITS: json.dumps(asdict(limits))}


def assess(rows: Rows, limits: Limits) -> Convergence:
    """Decide whether the level of ``rows`` (at least one, of table ``convergence``) is within ``limits``.

    A change counts from the level's own settings to the densest point; those of both series are added,
    without signs, so that errors do not cancel by luck. A level is undecided where a point that this needs
    failed, where a series has no denser point than the level's own, or where it still moves by more than a
    limit between its two densest points.
    """
    level = rows[0]["level"]
    changes = {name: _worst(rows, name) for name in CHANGES}
    relative = _worst(rows, "relative_energy_change_meV_per_atom")
    beyond = [name for name, value in changes.items() if value is not None and value > _limit(limits, name)]
    doubts = _doubts(rows, limits)
    points = f"{sum(row['reason'] is None for row in rows)} of {len(rows)} points"
    found = _numbers(changes)
    if beyond:
        verdict: Literal["converged", "not converged", "undecided"] = "not converged"
        sentence = (
            f"{level} is not converged to {limits.text}: its settings are {found} from the densest "
            f"({points}); beyond the limit: {'; '.join(_blame(rows, name) for name in beyond)}."
        )
        if doubts:
            sentence += f" True distances may be larger: {'; '.join(doubts)}."
    elif doubts:
        verdict = "undecided"
        sentence = f"It is undecided whether {level} is converged to {limits.text}: {'; '.join(doubts)}."
    else:
        verdict = "converged"
        sentence = (
            f"{level} is converged to {limits.text}: its settings are at most {found} from the densest "
            f"({points})."
        )
    if relative is not None:
        sentence += (
            " Energy differences between structures of one formula change by "
            f"{number_text(relative)} meV/atom."
        )
    return Convergence(level, verdict, changes, relative, sentence)


def is_within(row: dict[str, Any], limits: Limits) -> bool:
    """Return whether one point is within ``limits`` of the densest of its series."""
    return row["reason"] is None and all(
        row[name] is not None and abs(row[name]) <= _limit(limits, name) for name in CHANGES
    )


def _limit(limits: Limits, name: str) -> float:
    return float(getattr(limits, CHANGES[name][0]))


def _structures(rows: Rows) -> Iterable[list[dict[str, Any]]]:
    names = dict.fromkeys(row["snapshot_id"] for row in rows)
    return [[row for row in rows if row["snapshot_id"] == name] for name in names]


def _own(rows: Rows, series: str) -> dict[str, Any] | None:
    return next((row for row in rows if row["series"] == series and row["is_level"]), None)


def _sum(rows: Rows, name: str) -> float | None:
    """Return the change of one structure over both series; None if one is not known."""
    own = [_own(rows, series) for series in SERIES]
    values = [row[name] for row in own if row is not None]
    return None if not values or None in values else sum(map(abs, values))


def _worst(rows: Rows, name: str) -> float | None:
    return max((x for each in _structures(rows) if (x := _sum(each, name)) is not None), default=None)


def _blame(rows: Rows, name: str) -> str:
    """Return the structure that is worst in one quantity, and the part of each series."""
    known = [each for each in _structures(rows) if _sum(each, name) is not None]
    worst = max(known, key=lambda each: _sum(each, name) or 0.0)
    parts = [
        f"{words} {number_text(abs(row[name]))}"
        for key, words in SERIES.items()
        if (row := _own(worst, key)) is not None
    ]
    where = f"{worst[0]['snapshot_id']}: " if len(known) > 1 else ""
    return f"{where}{', '.join(parts)} {CHANGES[name][1]}"


def _numbers(changes: dict[str, float | None]) -> str:
    known = [
        f"{number_text(value)} {CHANGES[name][1]}" for name, value in changes.items() if value is not None
    ]
    return ", ".join(known)


def _doubts(rows: Rows, limits: Limits) -> list[str]:
    """Return why a level that is within its limits may still not be converged, a sentence for each reason."""
    failed, ends, moving = [], [], []
    for each in _structures(rows):
        for series, words in SERIES.items():
            points = [row for row in each if row["series"] == series]
            own = _own(each, series)
            where = f"{words} of {each[0]['snapshot_id']}"
            if own is None or own["energy_change_meV_per_atom"] is None:
                failed.append(where)
            elif own["is_densest"]:
                ends.append(where)
            elif not is_within(_before_last(points), limits):
                moving.append(where)
    doubts = (
        (failed, "the level's own point or the densest one failed"),
        (ends, "there is no denser point than the level's own"),
        (moving, "the series still moves at its dense end"),
    )
    return [f"{doubt} ({', '.join(names)})" for names, doubt in doubts if names]


def _before_last(points: Rows) -> dict[str, Any]:
    """Return the densest point but one of those that have values."""
    known = [row for row in points if row["reason"] is None and not row["is_densest"]]
    return max(known, key=density)


def number_text(value: float) -> str:
    """Return a number with two digits or more, never with an exponent: 296, 16, 0.0076."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) >= 1e-4 else "0"


def density(row: dict[str, Any]) -> tuple[float, int]:
    """Key to sort points of one series by, coarse to dense."""
    a, b, c = row["kpoints"]
    return row["cutoff_eV"], a * b * c
