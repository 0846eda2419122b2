"""The figure of `pesatlas convergence`: changes of energy, forces and stress along both series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from pesatlas.campaign.convergence import CHANGES, SERIES, Limits
from pesatlas.report.figure import COLOURS, GREY, theme
from pesatlas.storage.atomic import write_text

_WIDTH, _HEIGHT = 260, 170
_TITLES = {
    "energy_change_meV_per_atom": "energy (meV/atom)",
    "force_change_meV_per_A": "force component (meV/Å)",
    "stress_change_GPa": "stress component (GPa)",
}
_AXES = {
    "cutoff": ("cutoff_eV", "cut-off (eV)"),
    "kpoints": ("kpoint_spacing_per_A", "k-point spacing (1/Å), finer to the right"),
}
_FLOOR = 1e-3
"""Smallest change that a logarithmic axis shows, in multiples of the limit."""


def draw_series(path: Path, rows: Sequence[dict[str, Any]], limits: Limits) -> None:
    """Write ``path`` (.svg) from rows of table ``convergence``.

    Sizes of changes from the densest point on a logarithmic axis, the limit as a dashed line, the level's own
    settings as full circles. The densest point itself has no change and is not drawn.
    """
    import vl_convert  # noqa: PLC0415 - slow to import

    panels = [
        alt.hconcat(*(_panel(rows, name, series, limits) for series in SERIES)).resolve_scale(y="shared")
        for name in CHANGES
    ]
    title = "Size of the change from the densest point"
    chart = alt.vconcat(*panels, title=title).resolve_scale(color="shared")
    spec = chart.to_dict() | {"config": theme(dark=False)}
    svg: str = vl_convert.vegalite_to_svg(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, svg)


def _panel(rows: Sequence[dict[str, Any]], name: str, series: str, limits: Limits) -> Any:
    limit = float(getattr(limits, CHANGES[name][0]))
    key, title = _AXES[series]
    values = [
        {
            "structure": row["snapshot_id"],
            "x": row[key],
            "y": max(abs(row[name]), _FLOOR * max(limit, _FLOOR)),
            "own": row["is_level"],
        }
        for row in rows
        if row["series"] == series and row[name] is not None and not row["is_densest"]
    ]
    scale = alt.Scale(zero=False, nice=False, padding=12, reverse=series == "kpoints")
    names = list(dict.fromkeys(row["snapshot_id"] for row in rows))
    base = alt.Chart(alt.Data(values=values), width=_WIDTH, height=_HEIGHT).encode(
        x=alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5)),
        y=alt.Y("y:Q", title=_TITLES[name], scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4)),
        color=alt.Color(
            "structure:N",
            title=None,
            scale=alt.Scale(domain=names, range=[COLOURS[i % len(COLOURS)] for i in range(len(names))]),
            legend=alt.Legend(columns=2, labelLimit=260),
        ),
    )
    points = base.mark_point(size=60, opacity=1).encode(
        fill=alt.condition("datum.own", alt.Color("structure:N", legend=None), alt.value("white"))
    )
    rule = alt.Chart(alt.Data(values=[{"y": limit}])).mark_rule(strokeDash=[4, 4], color=GREY).encode(y="y:Q")
    return rule + base.mark_line() + points if limit > 0 else base.mark_line() + points
