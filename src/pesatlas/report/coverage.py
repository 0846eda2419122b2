"""Figures of the pool's coverage by the picks."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from pesatlas.campaign.layout import shown
from pesatlas.report.figure import GREY, Data, Figure, base
from pesatlas.report.frames_before import BEFORE


def coverage(data: dict[str, Data], levels: Sequence[str]) -> list[Figure]:
    """Return the figures of the section."""
    return [
        _map(data["frames"]),
        _elements(levels, "selection" if any(data["frames"].columns["picked"]) else "pool"),
        _fill(data["quality"], "atoms"),
        _fill(data["quality"], "structures"),
        _gain(data["gain"]),
    ]


def _map(frames: Data) -> Figure:
    points = base("frames")
    few = len(frames) < 1000
    kinds = ["pool", "picked", *([BEFORE] if BEFORE in frames.columns["kind"] else [])]
    pool = points.transform_filter("!datum.picked").mark_point(
        size=60 if few else 18, opacity=0.7, filled=False, strokeWidth=1, invalid="show"
    )
    picks = points.transform_filter("datum.picked").mark_circle(
        # smaller than the rings, which would be hidden behind them
        size=22 if few else 9,
        opacity=0.8,
        stroke="#1b1b1b",
        strokeWidth=0.4,
        invalid="show",
    )
    where = {
        "x": alt.X("pc1:Q", title="weighted PC 1"),
        "y": alt.Y("pc2:Q", title="weighted PC 2"),
        "tooltip": ["snapshot_id:N", "formula:N", "novelty:Q"],
    }
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=kinds, range=[GREY, "#D55E00", "#56B4E9"][: len(kinds)]),
        title=None,
    )
    chart = alt.layer(pool.encode(**where, color=colour), picks.encode(**where, color=colour))
    drawn, before = (frames.columns["kind"].count(kind) for kind in ("picked", BEFORE))
    earlier = f" Blue: {before:,} frames labelled before this round; colour by round to see when."
    return Figure(
        "map",
        "The pool and the picks",
        "Structures in the first two weighted principal components of their features: the pool as rings, "
        f"{drawn:,} of the picks as discs. Nearby points are similar. Click on a point to see its "
        "structure; rings "
        f"without a disc nearby are not in the dataset.{earlier if before else ''}",
        "frames",
        shown("clusters", "snapshots", "selection"),
        "SELECT c.snapshot_id, c.structure_pcs, s.rank IS NOT NULL AS picked FROM clusters c LEFT JOIN "
        "selection s USING (snapshot_id)",
        chart if len(frames) else None,
        "No frame was encoded.",
        colours=_colours(frames),
    )


_COLOURED_BY = {
    "energy": ("energy", "quantitative", "energy by the potential (eV/atom)"),
    "force": ("force", "quantitative", "largest force by the potential (eV/Å)"),
    "error": ("error", "quantitative", "error of a force component by the potential (eV/Å)"),
    "novelty": ("novelty", "quantitative", "distance to the nearest earlier pick"),
    "temperature": ("temperature", "ordinal", "temperature (K)"),
    "heaviest element": ("heaviest", "nominal", "heaviest element"),
    "domain": ("domain", "nominal", "domain"),
    "round": ("round", "ordinal", "round in which it was explored"),
}


def _colours(frames: Data) -> dict[str, dict[str, Any]]:
    """Return the encodings of columns that differ between points; what a row lacks is drawn grey."""
    found = {}
    for name, (column, kind, title) in _COLOURED_BY.items():
        values = [value for value in frames.columns[column] if value is not None]
        if len(set(values)) < 2:
            continue
        scale = {"scheme": "tableau20" if kind == "nominal" else "viridis"}
        legend: dict[str, Any] = {"gradientLength": 160, "symbolLimit": 20, "titleLimit": 400}
        if kind == "quantitative":
            legend["type"] = "gradient"
        by = {"field": column, "type": kind, "title": title, "scale": scale, "legend": legend}
        found[name] = by | {"condition": {"test": f"datum.{column} === null", "value": GREY}}
    return found


def _elements(levels: Sequence[str], first: str) -> Figure:
    of = alt.param(
        name="of",
        value=first,
        bind=alt.binding_select(options=["pool", "selection", *levels], name="share in "),
    )
    cells = (
        alt.Chart(alt.NamedData("elements"))
        .add_params(of, alt.param(name="element", value=""))
        .transform_filter("datum.of == of")
    )
    where = {"x": alt.X("column:O", axis=None), "y": alt.Y("row:O", axis=None)}
    squares = cells.mark_rect(cornerRadius=2, cursor="pointer").encode(
        **where,
        color=alt.condition(
            "datum.rows > 0",
            alt.Color(
                "share:Q",
                title="% of rows",
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(gradientLength=160),
            ),
            alt.value("#8a8a8a33"),
        ),
        stroke=alt.condition("datum.symbol == element", alt.value("#D55E00"), alt.value(None)),
        strokeWidth=alt.value(3),
        tooltip=["symbol:N", "rows:Q", "share:Q"],
    )
    names = (
        cells.transform_filter("datum.rows > 0")
        .mark_text(size=11, cursor="pointer")
        .encode(
            **where,
            text="symbol:N",
            # dark letters on the bright end of the scale
            color=alt.condition("datum.bright < 0.6", alt.value("#ffffff"), alt.value("#1b1b1b")),
        )
    )
    absent = (
        cells.transform_filter("datum.rows == 0")
        .mark_text(size=11, color=GREY)
        .encode(**where, text="symbol:N")
    )
    return Figure(
        "elements",
        "Elements",
        "Percent of the snapshots that contain each element, in the pool, in the selection, or in the "
        "dataset at a level. Click on an element to show only what contains it in every figure; click again "
        "for all.",
        "elements",
        f"{shown('snapshots')} or its sample, {shown('selection', 'dataset')}",
        "SELECT z AS atomic_number, level, count(*) AS rows FROM (SELECT level, "
        "unnest(list_distinct(numbers)) AS z FROM dataset) GROUP BY ALL",
        alt.layer(squares, absent, names),
    )


def _fill(quality: Data, part: str) -> Figure:
    chart = (
        alt.Chart(alt.NamedData("quality"))
        .transform_filter(f"datum.part == '{part}'")
        .mark_line(point=True)
        .encode(
            x=alt.X("picks:Q", scale=alt.Scale(type="log"), title="labels"),
            y=alt.Y("distance:Q", scale=alt.Scale(type="log"), title="distance to the nearest pick"),
            color=alt.Color(
                "of:N", title=None, scale=alt.Scale(domain=["picks", "random"], range=["#D55E00", GREY])
            ),
            # told in the caption: a second legend has no room on a phone
            strokeDash=alt.StrokeDash(
                "measure:N",
                legend=None,
                scale=alt.Scale(domain=["mean", "p99", "max"], range=[[1, 0], [6, 3], [1.5, 2.5]]),
            ),
            tooltip=["of:N", "measure:N", "picks:Q", "distance:Q"],
        )
    )
    return Figure(
        f"fill_{part}",
        f"Distance to the nearest pick: {part}",
        f"Distance from the {part} of the pool to the nearest picked one, in weighted principal components: "
        "mean (solid), 99th percentile (dashed) and largest (dotted), as the picks grow in number, and for "
        "as many random frames. Lower is better; the distance between the two colours is what the selection "
        "is worth.",
        "quality",
        shown("quality"),
        f'SELECT "of", picks, fill_mean_{part}, fill_p99_{part}, fill_max_{part} FROM quality',
        chart if len(quality) else None,
        "Too few picks for a curve.",
    )


def _gain(gain: Data) -> Figure:
    chart = (
        alt.Chart(alt.NamedData("gain"))
        .mark_line(point={"color": "#D55E00"}, color="#D55E00")
        .encode(
            x=alt.X("picks:Q", scale=alt.Scale(type="log"), title="labels"),
            y=alt.Y("gain:Q", title="gain by 1,000 more labels (%)"),
            tooltip=["picks:Q", "gain:Q"],
        )
    )
    return Figure(
        "gain",
        "Benefit of a thousand more labels",
        "Expected decrease of the mean distance between atoms and the nearest pick by a "
        "thousand more labels, at the rate of the last ones. Near zero: stop, or explore "
        "elsewhere. In campaigns of less than a thousand labels this is an extrapolation.",
        "gain",
        shown("quality"),
        "SELECT picks, 100 * gain_per_1000_labels AS percent FROM quality WHERE \"of\" = 'picks'",
        chart if len(gain) else None,
        "Too few picks for a rate.",
    )
