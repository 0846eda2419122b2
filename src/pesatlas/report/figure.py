"""A figure of the report: a Vega-Lite chart, interactive by element in the page, static as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np

# Okabe and Ito's colours, told apart by people who do not see red and green alike.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31"]
GREY = "#8a8a8a"
WIDTH, HEIGHT, SIDE = 560, 300, 400
_COUNTS = [0, *(k * 10**n for n in range(8) for k in (1, 2, 3, 5))]
"""Ticks of an axis of counts that is logarithmic with a place for zero: whole numbers, none twice."""
_NUMBERS = (
    "datum.value === 0 && length(datum.label) > 4 ? '0' : "
    "isNumber(datum.value) && datum.value !== 0 && abs(datum.value) < 0.001 ? format(datum.value, '.2~e') : "
    "datum.label"
)

Columns = dict[str, list[Any]]


def columns_of(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Columns:
    """Return values of rows as columns, by their names; None where a row lacks one."""
    found = list(rows)
    return {name: [row.get(name) for row in found] for name in names}


@dataclass(frozen=True)
class Data:
    """Rows behind figures, as columns of one length.

    Attributes
    ----------
    total : how many rows they were taken from; the same as their number if nothing was left out
    what : what one row is, in the plural
    """

    columns: Columns
    total: int
    what: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    @property
    def count(self) -> str:
        """Number of rows, and of how many they are a sample."""
        n = len(self)
        of = "" if n >= self.total else f" drawn of {self.total:,}"
        one = n == 1 and not of and " " not in self.what
        return f"{n:,}{of} {self.what.removesuffix('s') if one else self.what}"

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as Vega-Lite takes them: mappings, nothing in them that JSON does not know."""
        names = list(self.columns)
        return [
            dict(zip(names, map(plain, values), strict=True))
            for values in zip(*self.columns.values(), strict=True)
        ]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : as in ``pesatlas.report.figure_names.FIGURES``
    caption : what it shows, and how to read it
    data : name of the rows behind it in the page
    source : tables that the rows come from
    query : what gives all of them to ``pesatlas query``
    chart : None if there is nothing to draw
    empty : why there is nothing to draw
    square : whether both axes have one scale
    colours : columns that points may be coloured by, as encodings of Vega-Lite by their names
    """

    name: str
    title: str
    caption: str
    data: str
    source: str
    query: str
    chart: alt.TopLevelMixin | None = None
    empty: str = ""
    square: bool = False
    colours: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite's JSON, without data and as wide as its place.

        What cannot be drawn says why.
        """
        chart = self.chart
        if chart is None:
            note = alt.Chart(alt.Data(values=[{"text": self.empty}])).mark_text(size=13, limit=WIDTH)
            chart = note.encode(text="text:N")
        size = {"width": SIDE, "height": SIDE} if self.square else {"width": "container", "height": HEIGHT}
        found: dict[str, Any] = chart.properties(**size).to_dict()
        return found


def plain(value: Any) -> Any:
    """Return a number as JSON knows it: five digits, null where it is not finite."""
    if isinstance(value, float | np.floating):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def base(data: str, *, level: bool = False) -> alt.Chart:
    """Return a chart of the rows ``data``, which the page filters by element, domain and level."""
    chart = alt.Chart(alt.NamedData(data)).add_params(
        alt.param(name="element", value=""), alt.param(name="domain", value="")
    )
    chart = chart.transform_filter(
        "element == '' || indexof(datum.elements, '|' + element + '|') >= 0"
    ).transform_filter("domain == '' || datum.domain == domain")
    if level:
        chart = chart.add_params(alt.param(name="level", value="")).transform_filter(
            "level == '' || datum.level == level"
        )
    return chart


def histogram(
    data: str,
    values: Sequence[float | None],
    field: str,
    titles: tuple[str, str],
    levels: list[str],
    *,
    bins: int = 50,
) -> alt.Chart:
    """Return the distribution of ``field`` at each level, over the unfiltered range of ``values``.

    The number of rows is on an axis that is logarithmic with a place for zero: tails of a few rows are what
    one looks for.
    """
    known = [value for value in values if value is not None and np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    axis, what = titles
    return (
        base(data, level=True)
        .transform_filter(f"isValid(datum.{field})")
        .transform_bin(["low", "high"], field, bin=alt.Bin(maxbins=bins, extent=[low, high]))
        .transform_aggregate(rows="count()", groupby=["low", "high", "level"])
        .mark_bar(fillOpacity=0.5)
        .encode(
            x=alt.X(
                "low:Q", title=axis, scale=alt.Scale(zero=False, nice=False, domain=[low, high], clamp=True)
            ),
            x2="high:Q",
            y2=alt.datum(0),
            y=alt.Y(
                "rows:Q",
                stack=None,
                scale=alt.Scale(type="symlog"),
                title=what,
                axis=alt.Axis(values=_COUNTS, format=",d", labelOverlap="greedy"),
            ),
            color=by_level(levels),
            tooltip=[
                alt.Tooltip("low:Q", title="from"),
                alt.Tooltip("high:Q", title="to"),
                "level:N",
                "rows:Q",
            ],
        )
    )


def line_at(axis: str, values: list[float]) -> alt.Chart:
    """Return thin grey lines at some values of an axis, ``x`` or ``y``."""
    chart = alt.Chart(alt.Data(values=[{"at": value} for value in values]))
    return chart.mark_rule(color=GREY, strokeDash=[4, 3]).encode(
        **{axis: alt.X("at:Q") if axis == "x" else alt.Y("at:Q")}
    )


def diagonal(values: list[Any]) -> alt.Chart:
    """Return the line on which two numbers are the same, over the range of ``values``."""
    low, high = _range(values)
    chart = alt.Chart(alt.Data(values=[{"a": end, "b": end} for end in (low, high)]))
    return chart.mark_line(color=GREY, strokeDash=[4, 3]).encode(x="a:Q", y="b:Q")


def _range(values: list[Any]) -> tuple[float, float]:
    known = [value for value in values if value is not None and np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def parity(
    table: str,
    data: Data,
    fields: tuple[str, str],
    titles: tuple[str, str],
    unit: str,
    *,
    colour: alt.Color,
    note: str = "",
) -> alt.LayerChart | alt.FacetChart:
    """Return a parity plot: two columns over one range, the diagonal, and MAE, RMSE and R² of what is shown.

    The errors follow the page's filter, as the points do.

    Parameters
    ----------
    fields : columns of the abscissa, which is the reference, and of the ordinate
    unit : of both, for the errors
    note : a line below them; empty for none
    """
    x, y = fields
    values = data.columns[x] + data.columns[y]
    scale = alt.Scale(domain=list(_range(values)), nice=False, zero=False)
    points = (
        base(table)
        .mark_circle(size=16 if len(data) > 500 else 40, opacity=0.5)
        .encode(
            x=alt.X(f"{x}:Q", title=titles[0], scale=scale),
            y=alt.Y(f"{y}:Q", title=titles[1], scale=scale),
            color=colour,
            tooltip=["snapshot_id:N", f"{x}:Q", f"{y}:Q"],
        )
    )
    errors = (
        base(table)
        .transform_joinaggregate(mean=f"mean({x})")
        .transform_calculate(
            off=f"abs(datum.{y} - datum.{x})",
            square=f"pow(datum.{y} - datum.{x}, 2)",
            spread=f"pow(datum.{x} - datum.mean, 2)",
        )
        .transform_aggregate(n="count()", mae="mean(off)", mse="mean(square)", variance="mean(spread)")
        .transform_filter("datum.n > 0")
        .transform_calculate(
            text=f"['MAE ' + format(datum.mae, '.3~g') + ' {unit}', 'RMSE ' + format(sqrt(datum.mse), "
            "'.3~g') + "
            f"' {unit}', datum.variance > 0 ? 'R² ' + format(1 - datum.mse / datum.variance, '.3f') : 'R² "
            "-', "
            "format(datum.n, ',') + (datum.n == 1 ? ' point' : ' points'), "
            f"'{note}']"
        )
        .mark_text(align="left", baseline="top", fontSize=12, lineHeight=16)
        .encode(x=alt.value(8), y=alt.value(8), text="text:N")
    )
    return alt.layer(diagonal(values), points, errors)


def by_level(levels: list[str]) -> alt.Color:
    """Return the colours of the levels, the same in every figure."""
    return alt.Color("level:N", scale=alt.Scale(domain=levels), title="level")


def theme(*, dark: bool) -> dict[str, Any]:
    """Return Vega-Lite's configuration for light or dark pages."""
    ink, soft, line, paper = (
        ("#eeeeee", "#b5b5b5", "#3d3d3d", "#161616") if dark else ("#1b1b1b", "#555555", "#dddddd", "#ffffff")
    )
    axis = {
        "labelColor": ink,
        "titleColor": ink,
        "gridColor": line,
        "domainColor": soft,
        "tickColor": soft,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "labelExpr": _NUMBERS,
    }
    return {
        "background": paper,
        "font": "sans-serif",
        "axis": axis,
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "orient": "top",
            "labelFontSize": 12,
            "titleFontSize": 12,
            "symbolOpacity": 1,
        },
        "view": {"stroke": None},
        "mark": {"color": COLOURS[5] if dark else COLOURS[0]},
        "text": {"color": ink},
        "range": {
            "category": ["#56B4E9", *COLOURS[1:]] if dark else COLOURS,
            "ramp": {"scheme": "viridis"},
            "heatmap": {"scheme": "viridis"},
        },
    }


def picture(figure: Figure, data: Mapping[str, Data]) -> bytes:
    """Return the figure as PNG, light, of all its rows."""
    import vl_convert  # noqa: PLC0415 - slow to import

    spec = figure.spec
    spec |= {"width": SIDE if figure.square else WIDTH, "config": theme(dark=False), "title": figure.title}
    spec["datasets"] = {name: data[name].rows() for name in _names(spec)}
    spec["autosize"] = {"type": "pad"}
    png: bytes = vl_convert.vegalite_to_png(spec, scale=2)
    return png


def _names(spec: dict[str, Any]) -> set[str]:
    """Return the names of the data that a chart or its layers refer to."""
    own = {spec["data"]["name"]} if "name" in spec.get("data", {}) else set()
    return own.union(*map(_names, spec.get("layer", [])))
