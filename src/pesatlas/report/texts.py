"""Texts of the report that other modules share; imports nothing heavy."""

import json
from pathlib import Path
from typing import Any

STOP, GO_ON = "stop", "go on"


def format_hours(hours: float) -> str:
    """Return a time in the unit that suits it."""
    if not hours:
        return "-"
    seconds = 3600 * hours
    return (
        f"{seconds:.2g} s"
        if seconds < 10
        else f"{seconds:,.0f} s"
        if seconds < 120
        else f"{seconds / 60:,.0f} min"
        if hours < 2
        else f"{hours:,.1f} h"
    )


def read_advice(path: Path) -> dict[str, Any] | None:
    """Return what ``advise_round`` wrote; None in a campaign that is no round, or has not come so far."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def advice_text(found: dict[str, Any]) -> str:
    """Return it in two or three sentences."""
    error, gain, hours = (
        found[name] for name in ("expected_error_eV_per_A", "gain_eV_per_A", "core_hours_of_1000_labels")
    )
    cost = f"for {format_hours(hours)} on all cores" if hours else "at a cost that was not measured"
    if error is None:
        return (
            "Go on: every candidate was picked, or none could be evaluated, so there is no estimate of the "
            "error of the committee."
        )
    now = f"The expected force error of the committee is {error:.3g} eV/Å where nothing was labelled"
    if gain is None:
        return f"Go on: {now[0].lower()}{now[1:]}; the gain from more labels cannot be estimated from so few."
    verdict = "Stop" if found["verdict"] == STOP else "Go on"
    limit = found["stop_below_eV_per_A"]
    because = (
        f"{'less' if found['verdict'] == STOP else 'no less'} than the {limit:g} eV/Å of "
        "round.stop_below_eV_per_A"
    )
    where = ", ".join(
        f"{each['name']} ({each['expected_error_eV_per_A']:.2g} eV/Å)" for each in found["elements"]
    )
    here = f" Here: {where}." if where and found["verdict"] == GO_ON else ""
    return (
        f"{verdict}. {now}. A thousand more labels would reduce it by {gain:.2g} eV/Å, {because}, "
        f"{cost}.{here}"
    )
