"""Errors of a potential on labelled frames of one run, with intervals, and whether they are small enough."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import shown_formula, symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.benchmark.statistics import bootstrap_ratio

LEAST_FORCE = 1e-3
"""eV/Å, root mean square of the labels' components: below, they are noise and have no slope."""
UNITS = {
    "energy_mae": "meV/atom",
    "force_mae": "meV/Å",
    "force_rmse": "meV/Å",
    "stress_mae": "GPa",
    "force_slope": "",
}
_SHORT = {"energy_mae": "energy", "force_mae": "forces", "stress_mae": "stress", "force_slope": "slope"}
_FEWEST = 5
"""Frames with which an interval decides anything: of fewer, a bootstrap is too narrow."""

Floats = NDArray[np.float64]
Verdict = Literal["within", "beyond", "undecided", ""]


@dataclass(frozen=True)
class Tolerances:
    """Largest mean absolute errors that are good enough, and largest distance of the force slope from 1."""

    energy_meV_per_atom: float = 10.0
    force_meV_per_A: float = 100.0
    stress_GPa: float = 1.0
    slope: float = 0.1

    def of(self, quantity: str) -> float | None:
        """Return the limit of a quantity; None if it has none."""
        return {
            "energy_mae": self.energy_meV_per_atom,
            "force_mae": self.force_meV_per_A,
            "stress_mae": self.stress_GPa,
            "force_slope": self.slope,
        }.get(quantity)


@dataclass(frozen=True, eq=False)
class Compared:
    """One frame with its label and the prediction.

    Attributes
    ----------
    condition : under which it was made, in words
    numbers : (n,) atomic numbers
    energies : of label and prediction, eV
    forces : (2, n, 3) of label and prediction, eV/Å
    stresses : (2, 6) of label and prediction, eV/Å³, Voigt
    """

    condition: str
    numbers: NDArray[np.int64]
    energies: tuple[float, float]
    forces: Floats
    stresses: Floats


class Shift(NamedTuple):
    """Difference between the zeros of label and prediction, and what is left of energies.

    Attributes
    ----------
    errors : (frames,) meV/atom, prediction less label less shift; None if there are too few frames
    text : which shift was taken off, in words
    """

    errors: Floats | None
    text: str


def shift_energies(compared: Sequence[Compared]) -> Shift:
    """Take one constant for each element off the energies, by least squares.

    Two codes, or a potential and a code, count energies from different zeros: no error in any force or
    difference of energies of one composition. Frames of one composition have one constant together. A fit
    pulls its own frames along, so errors are scaled by sqrt(N / (N - parameters)).
    """
    elements = sorted({int(z) for each in compared for z in each.numbers})
    shares = np.array([[np.mean(each.numbers == z) for z in elements] for each in compared])
    errors = np.array([(each.energies[1] - each.energies[0]) / len(each.numbers) for each in compared])
    rank = int(np.linalg.matrix_rank(shares)) if compared else 0
    if len(compared) <= rank:
        return Shift(None, "energies are not compared: as many unknown zeros as frames")
    constants = np.linalg.lstsq(shares, errors, rcond=None)[0]
    left = (errors - shares @ constants) * np.sqrt(len(compared) / (len(compared) - rank))
    formulas = {shown_formula(each.numbers.tolist()) for each in compared}
    if len(formulas) == 1:
        text = f"energies after one shift for {formulas.pop()}, {errors.mean():+.4f} eV/atom"
    else:
        parts = ", ".join(f"{symbol_of(z)} {c:+.3f}" for z, c in zip(elements, constants, strict=True))
        text = f"energies after a shift for each element ({parts} eV)"
    return Shift(1000 * left, text)


def frame_errors(each: Compared) -> dict[str, float | None]:
    """Return the columns of table ``validation`` that are errors of one frame's forces and stress."""
    label, predicted = each.forces
    difference = 1000 * (predicted - label)
    return {
        "force_mae_meV_per_A": float(np.abs(difference).mean()),
        "force_rmse_meV_per_A": float(np.sqrt((difference**2).mean())),
        "stress_mae_GPa": _stress_error(each),
        "force_slope": float((predicted * label).sum() / (label**2).sum())
        if (label**2).mean() > LEAST_FORCE**2
        else None,
    }


def summarize(compared: Sequence[Compared], shift: Shift, limits: Tolerances) -> list[dict[str, Any]]:
    """Return rows of table ``validation_summary``.

    Of all frames, of each element (forces on its atoms), and of each condition if there are several.
    """
    rows = []
    for kind, name, members in _groups(compared):
        atoms = [compared[i].numbers == name if kind == "element" else slice(None) for i in members]
        forces = [compared[i].forces[:, chosen] for i, chosen in zip(members, atoms, strict=True)]
        found = dict(_of_forces(forces))
        if kind != "element":
            found["stress_mae"] = bootstrap_ratio(
                [_stress_error(compared[i]) for i in members], np.ones(len(members))
            )
            if shift.errors is not None:
                found["energy_mae"] = bootstrap_ratio(np.abs(shift.errors[members]), np.ones(len(members)))
        shown = symbol_of(int(name)) if kind == "element" else str(name)
        rows += [
            _row(kind, shown, quantity, len(members), found[quantity], limits.of(quantity))
            for quantity in UNITS
            if quantity in found
        ]
    return rows


def _groups(compared: Sequence[Compared]) -> Iterator[tuple[str, Any, list[int]]]:
    everything = list(range(len(compared)))
    if compared:
        yield "all", "", everything
    for number in sorted({int(z) for each in compared for z in each.numbers}):
        yield "element", number, [i for i in everything if number in compared[i].numbers]
    conditions = dict.fromkeys(each.condition for each in compared)
    for condition in conditions if len(conditions) > 1 else ():
        yield "condition", condition, [i for i in everything if compared[i].condition == condition]


def _of_forces(forces: Sequence[Floats]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield errors of forces, given (2, n, 3) of each frame in eV/Å: value and interval."""
    differences = [1000 * (predicted - label) for label, predicted in forces]
    counts = [each.size for each in differences]
    yield "force_mae", bootstrap_ratio([np.abs(each).sum() for each in differences], counts)
    value, low, high = bootstrap_ratio([(each**2).sum() for each in differences], counts)
    yield "force_rmse", (float(np.sqrt(value)), float(np.sqrt(low)), float(np.sqrt(high)))
    squares = [(label**2).sum() for label, _ in forces]
    if sum(squares) > LEAST_FORCE**2 * sum(counts):
        yield (
            "force_slope",
            bootstrap_ratio([(label * predicted).sum() for label, predicted in forces], squares),
        )


def _stress_error(each: Compared) -> float:
    label, predicted = each.stresses
    return float(np.abs(predicted - label).mean()) * EV_PER_A3_TO_GPA


def _row(
    kind: str,
    name: str,
    quantity: str,
    frames: int,
    found: tuple[float, float, float],
    limit: float | None,
) -> dict[str, Any]:
    value, low, high = found
    known = bool(np.isfinite(low))
    return {
        "of": kind,
        "name": name,
        "quantity": quantity,
        "unit": UNITS[quantity],
        "frames": frames,
        "value": value,
        "low": low if known else None,
        "high": high if known else None,
        "limit": limit,
        "verdict": _verdict(quantity, low, high, limit, known=known and frames >= _FEWEST),
    }


def _verdict(quantity: str, low: float, high: float, limit: float | None, *, known: bool) -> Verdict:
    """Compare an interval with a limit: undecided if the limit lies inside, or there are too few frames."""
    if limit is None:
        return ""
    if quantity == "force_slope":
        low, high = low - 1, high - 1
        if known and -limit <= low and high <= limit:
            return "within"
        return "beyond" if known and (high < -limit or low > limit) else "undecided"
    if known and high <= limit:
        return "within"
    return "beyond" if known and low > limit else "undecided"


def answer(potential: str, level: str, summary: Sequence[dict[str, Any]], limits: Tolerances) -> str:
    """Return the answer to "may I trust it for this run?", a few sentences with numbers and intervals."""
    mine = {row["quantity"]: row for row in summary if row["of"] == "all"}
    if not mine:
        return f"It is unknown whether {potential} may be trusted for this run: no frame could be compared."
    verdicts = [row["verdict"] for row in mine.values() if row["verdict"]]
    what = (
        f"{limits.energy_meV_per_atom:g} meV/atom, {limits.force_meV_per_A:g} meV/Å, "
        f"{limits.stress_GPa:g} GPa and a force slope within {limits.slope:g} of 1"
    )
    frames = f"{next(iter(mine.values()))['frames']} frames"
    if "beyond" in verdicts:
        start = f"No: {potential} may not be trusted for this run at {level} to {what}"
    elif "undecided" in verdicts:
        start = (
            f"Undecided: more labels must tell whether {potential} is right for this run at {level} to {what}"
        )
    else:
        start = f"Yes: {potential} may be trusted for this run at {level} to {what}"
    numbers = [text for name in ("energy_mae", "force_mae", "stress_mae") if (text := _text(mine.get(name)))]
    sentences = [f"{start}: mean errors on {frames} are {', '.join(numbers)} (95 % intervals)."]
    if slope := mine.get("force_slope"):
        sentences.append(_slope_sentence(slope))
    for kind in ("element", "condition"):
        beyond: dict[str, list[str]] = {}
        for row in summary:
            if row["of"] == kind and row["verdict"] == "beyond":
                beyond.setdefault(row["name"], []).append(_SHORT[row["quantity"]])
        if beyond:
            parts = (f"{name} ({', '.join(what)})" for name, what in beyond.items())
            sentences.append(f"Beyond a limit by {kind}: {'; '.join(parts)}.")
    return " ".join(sentences)


def _text(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    interval = f" ({row['low']:.3g} to {row['high']:.3g})" if row["low"] is not None else ""
    return f"{row['value']:.3g}{interval} {row['unit']}"


def _slope_sentence(row: dict[str, Any]) -> str:
    interval = f", {row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else ""
    share = 100 * abs(1 - row["value"])
    side = "too weak: it is soft" if row["value"] < 1 else "too strong"
    if row["verdict"] == "within" and (row["low"] or 0) <= 1 <= (row["high"] or 0):
        side = "off"
    return f"Its forces are {share:.1f} % {side} (slope {row['value']:.3f}{interval})."
