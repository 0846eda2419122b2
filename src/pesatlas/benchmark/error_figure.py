"""One figure of a benchmark.

Errors with their intervals beside published ones, survival when heated, slopes of forces.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from pesatlas.benchmark.statistics import survival
from pesatlas.dynamics.ends import SURVIVED
from pesatlas.storage.atomic import write_text

_WIDTH = 320
# Okabe and Ito's colours, told apart by people who do not see red and green alike.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31"]


def draw(rows: Sequence[dict[str, Any]], summary: Sequence[dict[str, Any]], path: Path) -> None:
    """Write ``path`` (.svg) from rows of tables ``scores`` and ``summary``."""
    import vl_convert  # noqa: PLC0415 - slow to import

    names = sorted({row["potential"] for row in summary})
    colour = alt.Color("potential:N", scale=alt.Scale(domain=names, range=_COLOURS), title=None)
    charts = [
        chart for chart in (_errors(summary, colour), _survival(rows, colour), _slopes(rows, colour)) if chart
    ]
    if not charts:
        charts = [
            alt.Chart(alt.Data(values=[{"text": "nothing has a value"}])).mark_text().encode(text="text:N")
        ]
    whole = alt.vconcat(*charts).configure_view(stroke=None).configure_axis(labelLimit=260)
    svg: str = vl_convert.vegalite_to_svg(whole.to_dict())
    write_text(path, svg)


def _errors(summary: Sequence[dict[str, Any]], colour: Any) -> Any:
    """Each statistic relative to what was published, with its interval: 1 is as good."""
    values = [
        {
            "potential": row["potential"],
            "what": row["quantity"].replace("_", " "),
            "model": row["published_model"],
            **{
                name: row[name] / row["published"]
                for name in ("value", "low", "high")
                if row[name] is not None
            },
        }
        for row in summary
        if row["published"] and row["value"] is not None and row["statistic"] in {"mae", "mean"}
    ]
    if not values:
        return None
    models = ", ".join(sorted({each["model"] for each in values}))
    base = alt.Chart(
        alt.Data(values=values), width=_WIDTH, title=f"Error relative to that of {models}"
    ).encode(y=alt.Y("what:N", title=None), yOffset="potential:N", color=colour)
    line = alt.Chart(alt.Data(values=[{"x": 1}])).mark_rule(strokeDash=[3, 3]).encode(x="x:Q")
    bars = base.mark_rule().encode(x=alt.X("low:Q", title="times the published value"), x2="high:Q")
    return line + bars + base.mark_point(filled=True, size=50).encode(x="value:Q")


def _survival(rows: Sequence[dict[str, Any]], colour: Any) -> Any:
    heated = [r for r in rows if r["property"] == "md_stability" and r["value"] is not None]
    if not heated:
        return None
    values = []
    last = max(row["value"] for row in heated)
    for name in sorted({row["potential"] for row in heated}):
        own = [row for row in heated if row["potential"] == name]
        at, share = survival([r["value"] for r in own], [r["outcome"] != SURVIVED for r in own])
        steps = [
            (min(300.0, *[r["value"] for r in own]), 1.0),
            *zip(at.tolist(), share.tolist(), strict=True),
        ]
        values += [{"potential": name, "T": t, "share": s} for t, s in [*steps, (last, steps[-1][1])]]
    return (
        alt.Chart(alt.Data(values=values), width=_WIDTH, height=160, title="Dynamics that survive heating")
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("T:Q", title="temperature (K)", scale=alt.Scale(zero=False)),
            y=alt.Y("share:Q", title="share of running trajectories", scale=alt.Scale(domain=[0, 1])),
            color=colour,
        )
    )


def _slopes(rows: Sequence[dict[str, Any]], colour: Any) -> Any:
    values = [
        {"potential": row["potential"], "slope": row["value"]}
        for row in rows
        if row["property"] == "softening" and row["value"] is not None
    ]
    if not values:
        return None
    return (
        alt.Chart(
            alt.Data(values=values), width=_WIDTH, title="Slope of forces against the reference; 1 is right"
        )
        .mark_tick()
        .encode(
            x=alt.X("slope:Q", scale=alt.Scale(zero=False)), y=alt.Y("potential:N", title=None), color=colour
        )
    )
