"""Figures on trust: losses, potential against labels, behaviour of the dynamics."""

from collections.abc import Mapping

import altair as alt

from pesatlas.campaign.layout import FAILURES, folder_of, path_of, shown
from pesatlas.report.figure import GREY, Data, Figure, base, histogram, line_at, parity
from pesatlas.report.published_ranges import published_error
from pesatlas.tables.failures import LOST

_FEW_TICKS = 10
"""Counts up to which each has a tick: Vega would put halves between them."""
_NO_PARITY = "No label was evaluated with the potential."


def trust(
    data: dict[str, Data], levels: list[str], potential: str, limits: Mapping[str, float]
) -> list[Figure]:
    """Return the figures of the section; ``limits`` are those of the dataset's rules by name."""
    of = potential, levels[0]
    return [
        _losses(data["losses"]),
        _losses_by_element(data["losses_by_element"]),
        _parity("energy", data, of, "meV/atom", "relative energy"),
        _parity("forces", data, of, "eV/Å", "component of a force"),
        _parity("stress", data, of, "GPa", "component of the stress"),
        _net_force(data["labels"], levels, limits.get("net_force")),
        _scf_steps(data["labels"], levels),
        _temperature(data["md"]),
        _volume(data["md"]),
    ]


def _losses(losses: Data) -> Figure:
    most = max(losses.columns["rows"], default=0)
    chart = (
        alt.Chart(alt.NamedData("losses"))
        .transform_calculate(what="datum.reason + (datum.level == '-' ? '' : ', ' + datum.level)")
        .mark_bar(size=18)
        .encode(
            y=alt.Y("what:N", title=None, sort="-x"),
            x=alt.X(
                "sum(rows):Q",
                title="what did not become a row",
                axis=alt.Axis(
                    values=list(range(most + 1)) if most <= _FEW_TICKS else alt.Undefined, format=",d"
                ),
            ),
            color=alt.Color("stage:N", title=None),
            tooltip=["stage:N", "level:N", "reason:N", "rows:Q"],
        )
    )
    return Figure(
        "losses",
        "Losses by reason",
        "Failures and quarantined labels by reason and level, coloured by the stage in which it happened: "
        f"{sum(losses.columns['rows']):,} in all.",
        "losses",
        f"{FAILURES}/",
        f"SELECT stage, level, reason, count(*) AS rows FROM failures WHERE {LOST} GROUP BY ALL",
        chart if len(losses) else None,
        "Nothing failed.",
    )


def _losses_by_element(losses: Data) -> Figure:
    chart = (
        base("losses_by_element")
        .mark_rect()
        .encode(
            x=alt.X("symbol:N", title="crystals that contain"),
            y=alt.Y("reason:N", title=None),
            color=alt.Color("rows:Q", title="failures", scale=alt.Scale(scheme="viridis")),
            tooltip=["symbol:N", "reason:N", "rows:Q"],
        )
    )
    return Figure(
        "losses_by_element",
        "Losses by element",
        "Share of failures that contain each element. An element with many failures points to "
        "its pseudopotential, its magnetism, or the potential. Crystals rejected before they "
        "became cells are not included.",
        "losses_by_element",
        f"{FAILURES}/, {shown('structures')}",
        "SELECT z AS atomic_number, reason, count(*) AS rows FROM (SELECT DISTINCT structure_id, "
        "unnest(numbers) AS z FROM structures) JOIN failures USING (structure_id) GROUP BY ALL",
        chart if len(losses) else None,
        "No failure has known elements.",
    )


def _parity(what: str, data: dict[str, Data], of: tuple[str, str], unit: str, quantity: str) -> Figure:
    potential, level = of
    table = f"parity_{what}"
    rows = data[table]
    published, source = published_error(potential, what)
    chart = parity(
        table,
        rows,
        ("label", "potential"),
        (f"{quantity}, {level} ({unit})", f"potential ({unit})"),
        unit,
        colour=alt.Color("domain:N", title=None),
        note=published and f"published MAE {published}",
    )
    told = {
        "energy": "The two have different zeros; energies are therefore relative to the mean of each "
        "crystal's "
        "rows, and crystals with one row are omitted.",
        "forces": "A cloud flatter than the line is a soft potential: it underestimates forces, and lets "
        "atoms "
        "move further than they should (arXiv 2405.07105).",
        "stress": "Tension is positive, six components of each snapshot.",
    }[what]
    return Figure(
        table,
        f"Potential against label: {what}",
        "Predictions of the exploring potential for labelled snapshots; errors are of the points shown. "
        f"{told}"
        f"{source}",
        table,
        f"{shown('parity')}, {folder_of('dataset', level=level)}/",
        f"SELECT snapshot_id, {_SQL[what]} FROM dataset JOIN '{path_of('parity')}' p USING (snapshot_id) "
        f"WHERE level = '{level}'",
        chart if len(rows) else None,
        _NO_PARITY,
        square=True,
    )


_SQL = {
    "energy": "energy_eV, mlip_energy_eV",
    "forces": "forces_eV_per_A, mlip_forces_eV_per_A",
    "stress": "stress_eV_per_A3, mlip_stress_eV_per_A3",
}


def _net_force(labels: Data, levels: list[str], limit: float | None) -> Figure:
    field = "net_force_eV_per_A"
    bars = histogram(
        "labels",
        labels.columns[field],
        field,
        ("length of the sum of all forces (eV/Å)", labels.what),
        levels,
    )
    within = f" The rule net_force excludes labels above {limit:g} eV/Å." if limit else ""
    return Figure(
        "net_force",
        "Do forces sum to zero?",
        f"They do in a converged calculation.{within}",
        "labels",
        shown("dataset"),
        "SELECT level, net_force_eV_per_A FROM dataset",
        bars if len(labels) else None,
        "The dataset has no row.",
    )


def _scf_steps(labels: Data, levels: list[str]) -> Figure:
    bars = histogram(
        "labels", labels.columns["scf_steps"], "scf_steps", ("SCF iterations", labels.what), levels
    )
    return Figure(
        "scf_steps",
        "How hard was convergence?",
        "Iterations until self-consistency. If a label needs many more than others, check "
        "its moments and gap.",
        "labels",
        shown("dataset"),
        "SELECT level, scf_steps FROM dataset",
        bars if any(labels.columns["scf_steps"]) else None,
        "No label has SCF iterations.",
    )


def _temperature(md: Data) -> Figure:
    chart = None
    if any(value is not None for value in md.columns["temperature_ratio"]):
        found = base("md").transform_filter("isValid(datum.temperature_ratio)")
        x = alt.X("n_atoms:O", title="atoms in the cell", axis=alt.Axis(labelAngle=0, labelOverlap="greedy"))
        means = found.mark_point(filled=True, size=60).encode(
            x=x,
            y=alt.Y("mean(temperature_ratio):Q", title="kinetic temperature / target"),
            tooltip=["n_atoms:O", "mean(temperature_ratio):Q", "count():Q"],
        )
        spread = found.mark_errorbar(extent="stdev").encode(x=x, y=alt.Y("temperature_ratio:Q", title=""))
        expected = (
            found.transform_aggregate(groupby=["n_atoms"], seen="count()")
            .transform_calculate(
                low="1 - sqrt(2 / (3 * datum.n_atoms - 3))", high="1 + sqrt(2 / (3 * datum.n_atoms - 3))"
            )
            .mark_bar(width=14, opacity=0.25, color=GREY)
            .encode(x=x, y="low:Q", y2="high:Q")
        )
        chart = alt.layer(expected, line_at("y", [1.0]), spread, means)
    return Figure(
        "md_temperature",
        "Did the dynamics reach its temperature?",
        "Mean and standard deviation of the kinetic temperature over its target, for cells of each size. "
        "Grey: what the canonical ensemble gives, 1 ± √(2/(3n - 3)), once velocities are "
        "thermal; those of the first frames are not yet.",
        "md",
        f"{shown('snapshots')} or a sample of it",
        "SELECT n_atoms, avg(instant_temperature_K / temperature_K) AS mean FROM snapshots WHERE ensemble = "
        "'NpT' GROUP BY n_atoms",
        chart,
        "No frame of dynamics.",
    )


def _volume(md: Data) -> Figure:
    chart = None
    if len(md):
        found = base("md").transform_bin("time_bin_ps", "time_ps", bin=alt.Bin(maxbins=20))
        x = alt.X("time_bin_ps:Q", title="time (ps)")
        band = found.mark_errorband(extent="iqr").encode(
            x=x, y=alt.Y("volume_ratio:Q", title="volume / initial volume", scale=alt.Scale(zero=False))
        )
        middle = found.mark_line(point=True).encode(x=x, y=alt.Y("median(volume_ratio):Q", title=""))
        chart = alt.layer(line_at("y", [1.0]), band, middle)
    return Figure(
        "md_volume",
        "Did the volume drift?",
        "Volume of the cells over that of the crystal they started from: median and middle half. "
        "It converges to the potential's equilibrium at the given temperature and pressure; a "
        "line that keeps rising means that a crystal melts or falls apart.",
        "md",
        f"{shown('snapshots')} or a sample of it, {shown('structures')}",
        "SELECT snapshot_id, time_fs, cell_A FROM snapshots WHERE ensemble = 'NpT'",
        chart,
        "No frame of dynamics.",
    )
