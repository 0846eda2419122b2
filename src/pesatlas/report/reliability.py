"""Figures of a round: reliability of committee disagreement as a measure of error."""

from pathlib import Path
from typing import Any

import altair as alt

from pesatlas.campaign.layout import path_of, shown
from pesatlas.report.figure import Data, Figure, diagonal
from pesatlas.tables import read_table

_QUERIES = {
    "energy": f"FROM '{path_of('calibration')}' WHERE quantity = 'energy'",
    "forces": f"FROM '{path_of('calibration')}' WHERE quantity = 'forces'",
}
_UNITS = {"energy": "eV/atom", "forces": "eV/Å"}


def reliability_data(calibration: Path) -> dict[str, Data]:
    """Return bins of table ``calibration``, by quantity."""
    rows = read_table(calibration, "calibration").to_pylist()
    found = {}
    for quantity in _UNITS:
        mine = [row for row in rows if row["quantity"] == quantity and row["bin"]]
        names = ("bin", "values", "std", "expected", "error", "error_low", "error_high")
        found[f"reliability_{quantity}"] = Data(
            {name: [row[name] for row in mine] for name in names}, len(mine), "bins"
        )
    return found


def reliability_figures(calibration: Path, data: dict[str, Data]) -> list[Figure]:
    """Return the reliability curve of energies and of forces."""
    rows = read_table(calibration, "calibration").to_pylist()
    whole = {row["quantity"]: row for row in rows if not row["bin"]}
    return [_curve(quantity, whole[quantity], data[f"reliability_{quantity}"]) for quantity in _UNITS]


def round_table(advice: dict[str, Any]) -> dict[str, Any]:
    """Return the domains and elements in which labels are missing most."""
    rows = [
        (kind, each["name"], f"{each['expected_error_eV_per_A']:.3g}", f"{each['atoms']:,}")
        for kind, names in (("domain", advice["domains"]), ("element", advice["elements"]))
        for each in names
    ]
    return {
        "title": "Largest expected errors of the committee, on candidates that were not picked",
        "heads": ["", "which", "expected error of a force (eV/Å)", "atoms"],
        "rows": rows,
        "empty": "Too few candidates are left.",
    }


def _curve(quantity: str, whole: dict[str, Any], bins: Data) -> Figure:
    name, unit = f"reliability_{quantity}", _UNITS[quantity]
    values = [0.0, *bins.columns["expected"], *bins.columns["error"]]
    low = alt.Y("error_low:Q", title=f"error of the committee's mean ({unit})")
    bars = alt.Chart(alt.NamedData(name)).mark_rule().encode(x="expected:Q", y=low, y2="error_high:Q")
    points = (
        alt.Chart(alt.NamedData(name))
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X(
                "expected:Q",
                title=f"error expected from the disagreement ({unit})",
                scale=alt.Scale(zero=True),
            ),
            y=alt.Y("error:Q"),
            tooltip=["expected:Q", "error:Q", "error_low:Q", "error_high:Q", "std:Q", "values:Q"],
        )
    )
    on = (
        "held out from its training"
        if whole["held_out"]
        else "ON WHICH IT WAS TRAINED, so that errors are too small"
    )
    ranks = whole["rank_correlation"]
    return Figure(
        name,
        f"Does disagreement predict the error? {quantity.capitalize()}",
        f"Labels of the previous round, {on}, in bins of as many each from small to large disagreement. "
        f"Expected is {whole['factor']:.3g} ({whole['factor_low']:.3g} to {whole['factor_high']:.3g}) times "
        "the disagreement, which is correct on average; on the line it is correct in every bin. On average "
        f"a bin is off by {100 * whole['miscalibration']:.0f} %. "
        + (f"Rank correlation of disagreement and error: {ranks:.2f}. " if ranks is not None else "")
        + "Bars: 95 %, by resampling crystals.",
        name,
        shown("calibration"),
        _QUERIES[quantity],
        alt.layer(diagonal(values), bars, points),
    )
