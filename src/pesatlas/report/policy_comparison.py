"""Results of a comparison of policies: error against DFT cost, and significance of differences."""

from pathlib import Path
from typing import Any

import altair as alt

from pesatlas.campaign.layout import path_of, shown
from pesatlas.report.figure import COLOURS, Data, Figure
from pesatlas.report.report_verdict import Verdict
from pesatlas.tables import read_table

_ERRORS = {
    "force_mae_meV_per_A": "forces (meV/Å)",
    "energy_mae_meV_per_atom": "energy (meV/atom)",
    "stress_mae_GPa": "stress (GPa)",
}
_ENDS = ("cost_ratio_low", "cost_ratio_high")
_SHOWN = "force_mae_meV_per_A"


class Compared:
    """A comparison of policies, from its tables.

    Parameters
    ----------
    comparison : table of the errors of every potential
    contrasts : table of the means of the arms, and of their differences from the first
    efficiency : table of the costs of the first's error; older comparisons have none
    """

    def __init__(self, comparison: Path, contrasts: Path, efficiency: Path | None = None) -> None:
        self._runs = read_table(comparison, "comparison").to_pylist()
        self._contrasts = read_table(contrasts, "contrasts").to_pylist()
        self._efficiency = read_table(efficiency, "efficiency").to_pylist() if efficiency else []

    def data(self) -> dict[str, Data]:
        """Return the rows behind the figure, by name."""
        names = ("arm", "frames", "cost_share", "cost_atoms3")
        means = [row for row in self._contrasts if row["error"] == _SHOWN]
        columns: dict[str, list[Any]] = {name: [row[name] for row in self._runs] for name in names}
        columns |= {name: [row[name] for row in self._runs] for name in ("seed", _SHOWN)}
        ends: dict[str, list[Any]] = {
            name: [row[name] for row in means] for name in (*names, "mean", "low", "high")
        }
        return {
            "comparison": Data(columns, len(self._runs), "potentials"),
            "contrasts": Data(ends, len(means), "arms"),
        }

    @staticmethod
    def figures(data: dict[str, Data]) -> list[Figure]:
        """Return the figures of the section."""
        frames = data["contrasts"].columns["frames"]
        which = "dynamics" if "dynamics" in frames else "equilibrium"
        return [_error_against_cost(data["contrasts"], which)]

    def verdict(self) -> Verdict:
        """Return the verdict: each arm against the first, by errors of forces at the whole cost."""
        rows = [row for row in self._contrasts if row["error"] == _SHOWN]
        most = max((row["cost_share"] for row in rows), default=None)
        told = [
            f"{row['arm']} on {row['frames']}: {row['ratio']:.3f} ({row['ratio_low']:.3f} to "
            f"{row['ratio_high']:.3f}) of the error of {row['reference']}, {row['verdict']}"
            for row in rows
            if row["cost_share"] == most and not row["reference"].startswith(f"{row['arm']} at ")
        ]
        told += [
            f"{row['arm']} on {row['frames']}: {_cost(row)} of the cost of {row['reference']} for its error, "
            f"{row['verdict']} (the comparison could show differences of errors from {_detectable(row)} on)"
            for row in self._efficiency
            if row["error"] == _SHOWN
        ]
        question = "Which policy teaches most?"
        if not told:
            return Verdict(question, "not known", "Not known: no test frame could be evaluated.")
        return Verdict(question, "fine", f"{'; '.join(told)}.")

    def tables(self) -> list[dict[str, Any]]:
        """Return label efficiencies, and the arms, with their intervals and verdicts."""
        efficiencies = {
            "title": "Label efficiency",
            "heads": [
                "level",
                "frames",
                "error",
                "policy",
                "cost for the error of the reference, of its cost (95 %)",
                "reference",
                "verdict",
                "shows differences of errors from",
            ],
            "rows": [
                (
                    row["level"],
                    row["frames"],
                    _ERRORS[row["error"]],
                    row["arm"],
                    _cost(row),
                    row["reference"],
                    row["verdict"],
                    _detectable(row),
                )
                for row in self._efficiency
            ],
            "empty": "Not known: the comparison was made before label efficiencies were.",
        }
        return [efficiencies, self._arms()]

    def _arms(self) -> dict[str, Any]:
        picks = {(row["arm"], row["cost_share"]): row["picks"] for row in self._runs}
        reference = self._contrasts[0]["reference"] if self._contrasts else "the first"
        return {
            "title": "Arms of the comparison",
            "heads": [
                "level",
                "frames",
                "error",
                "policy",
                "share of the cost",
                "picks",
                "mean (95 %)",
                f"of that of {reference} (95 %)",
                "verdict",
            ],
            "rows": [
                (
                    row["level"],
                    row["frames"],
                    _ERRORS[row["error"]],
                    row["arm"],
                    f"{row['cost_share']:g}",
                    picks[row["arm"], row["cost_share"]],
                    f"{row['mean']:.3g} ({row['low']:.3g} to {row['high']:.3g})",
                    f"{row['ratio']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})",
                    row["verdict"],
                )
                for row in self._contrasts
            ],
            "empty": "No test frame could be evaluated.",
        }


def _cost(row: dict[str, Any]) -> str:
    """Return a label efficiency with its interval, which has no end beyond the shares."""
    low, high = (None if row[name] is None else f"{row[name]:.2f}" for name in _ENDS)
    ends = f"{low} to {high}" if low and high else f"<{high}" if high else f">{low}" if low else "any"
    return f"{row['bound']}{row['cost_ratio']:.2f} ({ends})"


def _detectable(row: dict[str, Any]) -> str:
    return f"{100 * (1 - row['detectable_ratio']):.0f} %"


def _error_against_cost(means: Data, frames: str) -> Figure:
    arms = list(dict.fromkeys(means.columns["arm"]))
    base = (
        alt.Chart(alt.NamedData("contrasts"))
        .transform_filter(f"datum.frames == '{frames}'")
        .encode(
            x=alt.X(
                "cost_atoms3:Q",
                title="DFT cost (cube of atoms, summed)",
                scale=alt.Scale(zero=False, padding=20),
            ),
            color=alt.Color(
                "arm:N", title=None, scale=alt.Scale(domain=arms, range=list(COLOURS[: len(arms)]))
            ),
            tooltip=[
                "arm:N",
                "frames:N",
                "cost_share:Q",
                "cost_atoms3:Q",
                alt.Tooltip("mean:Q", format=".3g"),
                alt.Tooltip("low:Q", format=".3g"),
                alt.Tooltip("high:Q", format=".3g"),
            ],
        )
    )
    error = alt.Y("mean:Q", title="error of forces (meV/Å)", scale=alt.Scale(zero=False))
    chart = alt.layer(
        base.mark_line(point=True).encode(y=error),
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
    )
    return Figure(
        "error_against_cost",
        "Error against DFT cost",
        "Mean absolute error of force components of the potentials that were trained on what each policy "
        f"picked, on frames of materials that none was trained on ({frames}). Bars: 95 % intervals over "
        "seeds and held-out materials; materials are the same for all arms, so arms may differ where bars "
        "overlap: see the ratios below. Lower and further left is better.",
        "contrasts",
        shown("contrasts"),
        f"SELECT * FROM '{path_of('contrasts')}' WHERE error = 'force_mae_meV_per_A'",  # noqa: S608 - our own paths
        chart if len(means) else None,
        "No test frame could be evaluated.",
    )
