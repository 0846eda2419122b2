"""Figures of energies, forces and stresses at each level."""

from collections.abc import Sequence

import altair as alt

from pesatlas.campaign.layout import shown
from pesatlas.report.figure import GREY, Data, Figure, base, histogram, line_at, parity
from pesatlas.report.published_ranges import Span, spans


def energetics(data: dict[str, Data], levels: list[str]) -> list[Figure]:
    """Return the figures of the section."""
    labels, atoms, pairs = data["labels"], data["atoms"], data["pairs"]
    return [
        _histogram(
            ("cohesive_energy", "Cohesive energy"),
            ("labels", labels),
            ("cohesive_energy_eV_per_atom", "cohesive energy (eV/atom)"),
            levels,
            "Energy minus that of isolated atoms at the same level, per atom: negative is bound. A narrow "
            "peak means crystals at rest; dynamics add the tail.",
        ),
        _histogram(
            ("forces", "Forces"),
            ("atoms", atoms),
            ("force_eV_per_A", "force on an atom (eV/Å)"),
            levels,
            "Length of the force on each atom. Zero is equilibrium by symmetry; a potential learns its "
            "curvature from the rest.",
        ),
        _histogram(
            ("pressure", "Pressure"),
            ("labels", labels),
            ("static_pressure_GPa", "pressure of the label (GPa)"),
            levels,
            "Minus a third of the trace of the stress: compressed cells are positive. A level whose "
            "equilibrium volume differs from that of the exploring potential is shifted.",
        ),
        _histogram(
            ("volume", "Volume"),
            ("labels", labels),
            ("volume_A3_per_atom", "volume (Å³/atom)"),
            levels,
            "Volume of the cell divided by its atoms; it comes from the dynamics and is the same at every "
            "level.",
        ),
        _level_parity(pairs, levels),
        _level_offsets(data["offsets"], levels),
    ]


def _histogram(
    names: tuple[str, str],
    rows: tuple[str, Data],
    column: tuple[str, str],
    levels: list[str],
    caption: str,
) -> Figure:
    (name, title), (table, data), (field, axis) = names, rows, column
    values = data.columns[field]
    bars = histogram(table, values, field, (axis, data.what), levels)
    published = spans(name)
    sources = " ".join(f"{span.dataset}: {span.about} ({span.source})." for span in published)
    return Figure(
        name,
        title,
        f"{caption} The number of rows is on a scale that is logarithmic above one."
        + (
            f" Grey, what others publish, as far as it reaches into this picture: {sources}"
            if published
            else ""
        ),
        table,
        shown("dataset"),
        f"SELECT level, {_SQL[name]} FROM dataset",
        alt.layer(bars, *_published(published)) if any(value is not None for value in values) else None,
        "There are no isolated atoms of these elements at this level, and therefore no cohesive energies."
        if name == "cohesive_energy"
        else "The dataset has no row.",
    )


_SQL = {
    "cohesive_energy": "cohesive_energy_eV_per_atom",
    "forces": "unnest(abs_forces_eV_per_A) AS force_eV_per_A",
    "pressure": "static_pressure_GPa",
    "volume": "abs(cell_A[1] * (cell_A[5] * cell_A[9] - cell_A[6] * cell_A[8]) - cell_A[2] * (cell_A[4] * "
    "cell_A[9] - cell_A[6] * cell_A[7]) "
    "+ cell_A[3] * (cell_A[4] * cell_A[8] - cell_A[5] * cell_A[7])) / n_atoms AS volume_A3_per_atom",
}


def _published(published: Sequence[Span]) -> list[alt.Chart]:
    """Return bars along the top, one for each published range, with the name of its dataset."""
    charts: list[alt.Chart] = []
    for i, span in enumerate(published):
        rows = alt.Chart(alt.Data(values=[{"low": span.low, "high": span.high, "name": span.dataset}]))
        y = alt.value(8 + 16 * i)
        charts += [
            rows.mark_rule(size=3, color=GREY).encode(x="low:Q", x2="high:Q", y=y),
            # clamped to the picture, whose middle the range covers or not
            rows.mark_text(align="right", dy=9, dx=-2, fontSize=11, color=GREY).encode(
                x="high:Q", y=y, text="name:N"
            ),
        ]
    return charts


_ONE = "For campaigns at two levels."


def _level_parity(pairs: Data, levels: list[str]) -> Figure:
    chart = None
    if len(levels) > 1 and len(pairs):
        chart = parity(
            "pairs",
            pairs,
            ("first", "second"),
            tuple(f"cohesive energy, {level} (eV/atom)" for level in levels[:2]),  # type: ignore[arg-type]  # two
            "eV/atom",
            colour=alt.Color(
                "outlier:N",
                title=None,
                scale=alt.Scale(domain=["as the others", "outlier"], range=["#0072B2", "#D55E00"]),
            ),
        )
    return Figure(
        "level_parity",
        "Comparison of the two levels",
        _ONE
        if len(levels) < 2
        else "Cohesive energies of the same snapshots at two levels. Outliers are those "
        "whose difference is further from the median than the rule "
        "level_gap allows: another magnetic or SCF solution, perhaps. Two levels that lie on the line "
        "exactly would be one file given twice.",
        "pairs",
        shown("dataset"),
        "SELECT snapshot_id, a.cohesive_energy_eV_per_atom AS first, b.cohesive_energy_eV_per_atom AS second "
        f"FROM dataset a JOIN dataset b USING (snapshot_id) WHERE a.level = '{levels[0]}' AND b.level = "
        f"'{levels[-1]}'",
        chart,
        "There is one level only."
        if len(levels) < 2
        else "No snapshot has a cohesive energy at both levels.",
        square=True,
    )


def _level_offsets(offsets: Data, levels: list[str]) -> Figure:
    chart = None
    if len(offsets):
        where = base("offsets")
        x = alt.X("symbol:N", title="snapshots that contain", sort=None)
        points = where.mark_circle(size=60).encode(
            x=x,
            y=alt.Y("mean:Q", title=f"{levels[1]} less {levels[0]} (eV/atom)"),
            tooltip=["symbol:N", "mean:Q", "low:Q", "high:Q", "rows:Q"],
        )
        whiskers = where.mark_rule().encode(x=x, y="low:Q", y2="high:Q")
        chart = alt.layer(line_at("y", [0.0]), whiskers, points)
    return Figure(
        "level_offsets",
        "Offset between levels, by element",
        _ONE
        if len(levels) < 2
        else f"Cohesive energy at {levels[-1]} minus that at {levels[0]}, over the snapshots that contain an "
        f"element: mean, and from the 10th to the 90th percentile.",
        "offsets",
        shown("dataset"),
        "SELECT z AS atomic_number, avg(gap) AS mean FROM (SELECT unnest(list_distinct(a.numbers)) AS z, "
        "b.cohesive_energy_eV_per_atom - a.cohesive_energy_eV_per_atom AS gap "
        f"FROM dataset a JOIN dataset b USING (snapshot_id) WHERE a.level = '{levels[0]}' AND b.level = "
        f"'{levels[-1]}') GROUP BY z",
        chart,
        "There is one level only."
        if len(levels) < 2
        else "No snapshot has a cohesive energy at both levels.",
    )
