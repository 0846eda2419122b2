"""`pesatlas convergence`: a series over cut-off and k-points of a level, and its verdict."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pesatlas.campaign.convergence import CHANGES, Convergence, Limits, assess, is_within, number_text
from pesatlas.campaign.layout import RESULTS, WORK, below, numbered
from pesatlas.cli.app import campaign_folder, print_json, seen_from
from pesatlas.cli.convergence_figure import draw_series
from pesatlas.cli.open_campaign import campaign_of
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.label.convergence import Cost, Point, cost_of, plan_series, run_series, write_series
from pesatlas.structures.external_frames import read_external
from pesatlas.tables import read_table

_EQUILIBRIUM = "equilibrium"
_COLUMNS = ["snapshot_id", "structure_id", "condition", "n_atoms", "numbers", "cell_A", "positions_A", "rank"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """Level, structures and settings that a user asks for; empty: by default.

    Attributes
    ----------
    names : snapshot_ids of picks
    count : how many structures, if none is named
    files : structures instead of picks
    cutoffs_eV, spacings_per_A : of the series
    """

    level: str | None
    names: Sequence[str]
    count: int
    files: Sequence[str]
    cutoffs_eV: Sequence[float]
    spacings_per_A: Sequence[float]


def show_convergence(
    folder: Path,
    config: Path | None,
    request: Request,
    limits: Limits,
    *,
    to: Path | None,
    dry_run: bool,
    console: Console,
    as_json: bool,
) -> None:
    """Tell the cost, calculate the series of the campaign in ``folder``, write and show it.

    Raises
    ------
    UserError
        If the campaign has no such level or picks, or its backend has no cut-off and no k-points.
    """
    files = [str(seen_from(folder, Path(text))) for text in request.files]
    target = seen_from(folder, to)
    # stores, weights and scratch of a configuration are relative to its campaign
    with campaign_folder(folder, config) as path:
        campaign = campaign_of(Path(), path, extensions=True)
        level = _level(campaign, request.level)
        rows = _of_files(files, request) if files else _picks(Path(RESULTS), request)
        points = plan_series(campaign.label, level, rows, request.cutoffs_eV, request.spacings_per_A)
        cost = cost_of(points, campaign.label, campaign.campaign, _seconds(Path(RESULTS), level, rows))
        if not as_json:
            _print_cost(console, level, rows, cost)
        if dry_run:
            print_json(asdict(cost)) if as_json else console.print(_plan(points))
            return
        found, made = run_series(points, campaign.label, campaign.campaign, Path(WORK["label_batch"]))
        table, figure = (
            below(target or Path(RESULTS), name, level=level)
            for name in ("convergence", "convergence_figure")
        )
        write_series(table, points, found, limits)
        draw_series(figure, found, limits)
    verdict = assess(found, limits)
    if as_json:
        about = {"verdict": asdict(verdict), "limits": asdict(limits), "calculated": made, "points": found}
        print_json(about)
        return
    _show_rows(console, found, limits)
    _print_verdict(console, verdict, made, table, figure)


def _level(campaign: Campaign, name: str | None) -> str:
    levels = campaign.label.levels
    if name is not None and name not in levels:
        raise UserError(f"--level {name}: the campaign has {', '.join(levels)} (label.levels). Choose one.")
    return name or levels[0]


def _of_files(files: list[str], request: Request) -> list[Row]:
    if request.names:
        raise UserError("--pick and --of: give either picks of the campaign or files of structures.")
    with tempfile.TemporaryDirectory(prefix="pesatlas-convergence-") as temporary:
        frames = Path(temporary) / "frames.parquet"
        read_external(files, frames, Path(temporary) / "failures.parquet")
        rows = pq.read_table(frames, columns=[name for name in _COLUMNS if name != "rank"]).to_pylist()
    # the name that its file gives it is enough, unless it gives it to several
    given = Counter(row["structure_id"] for row in rows)
    return [
        row | {"snapshot_id": row["structure_id"] if given[row["structure_id"]] == 1 else row["snapshot_id"]}
        for row in rows[: request.count]
    ]


def _picks(results: Path, request: Request) -> list[Row]:
    """Return the named picks, or a few that are cheap and together have all elements if they can."""
    path = below(results, "selection")
    if not path.is_file():
        raise UserError(
            f"{path.absolute()} does not exist: the campaign has picked nothing yet. Run it until then "
            "(`pesatlas run --until pick_snapshots`), or name files of structures with --of."
        )
    rows = read_table(path, "selection", _COLUMNS).to_pylist()
    if not rows:
        raise UserError(f"{path} has no pick. Name files of structures with --of.")
    if request.names:
        known = {row["snapshot_id"]: row for row in rows}
        unknown = [name for name in request.names if name not in known]
        if unknown:
            raise UserError(
                f"--pick {unknown[0]}: no such snapshot_id in {path}. There are, for example, "
                f"{', '.join(list(known)[:3])}."
            )
        return [known[name] for name in dict.fromkeys(request.names)]
    return choose_picks(rows, request.count)


def choose_picks(rows: Sequence[Row], count: int) -> list[Row]:
    """Return ``count`` rows of table ``selection``.

    Small ones, which together have all elements if they can, then second ones of these formulas.
    Crystals at rest come last: their forces are zero at every setting.
    """
    left = sorted(rows, key=lambda row: (row["condition"] == _EQUILIBRIUM, row["n_atoms"], row["rank"]))
    chosen: list[Row] = []
    elements: set[int] = set()
    for row in left:
        if len(chosen) < count and not elements.issuperset(row["numbers"]):
            chosen.append(row)
            elements.update(row["numbers"])
    # the others: second ones of the formulas that are there, for differences of energies
    compositions = {_composition(row) for row in chosen}
    others = sorted(
        (row for row in left if row not in chosen), key=lambda row: _composition(row) not in compositions
    )
    return [*chosen, *others[: count - len(chosen)]]


def _composition(row: Row) -> tuple[tuple[int, float], ...]:
    numbers = row["numbers"]
    return tuple((z, numbers.count(z) / len(numbers)) for z in sorted(set(numbers)))


def _seconds(results: Path, level: str, rows: Sequence[Row]) -> dict[str, float]:
    """Return the wall times of labels of ``rows`` that the campaign has made, s."""
    names = [row["snapshot_id"] for row in rows]
    found: dict[str, float] = {}
    for path in numbered(results, "labels"):
        table = pq.read_table(path, columns=["snapshot_id", "level", "wall_s"])
        picked = pc.is_in(table["snapshot_id"], value_set=pa.array(names, pa.string()))
        mine = table.filter(pc.and_(pc.equal(table["level"], level), picked))
        found.update(zip(mine["snapshot_id"].to_pylist(), mine["wall_s"].to_pylist(), strict=True))
    return found


def _print_cost(console: Console, level: str, rows: Sequence[Row], cost: Cost) -> None:
    structures = f"{len(rows)} structure{'s' if len(rows) != 1 else ''} at {level}"
    left = cost.points - cost.stored
    if not left:
        console.print(f"{structures}: all {cost.points} points are in the store; nothing is calculated.")
        return
    hours = f", about {_duration(cost.core_s)} of core time" if cost.core_s is not None else ""
    console.print(
        f"{structures}: {cost.points} points, {cost.stored} of them in the store. The other {left} cost "
        f"about as much as {number_text(cost.labels)} labels of these structures{hours} (plane waves^1.5 "
        "times k-points, without symmetry).",
        soft_wrap=True,
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.2g} s"


def _plan(points: Sequence[Point]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("structure", "atoms", "varies", "cut-off/eV", "k-points", "spacing/(1/Å)"):
        table.add_column(
            head, justify="left" if head in {"structure", "varies"} else "right", overflow="fold"
        )
    last = None
    for point in points:
        name = point.row["snapshot_id"]
        table.add_row(
            name if name != last else "",
            str(len(point.task.numbers)) if name != last else "",
            "the level's own" if point.is_level else point.series[0],
            f"{point.precision.cutoff_eV:g}",
            _mesh(point.precision.kpoints),
            f"{point.precision.kpoint_spacing_per_A:g}",
        )
        last = name
    return table


def _show_rows(console: Console, rows: Sequence[Row], limits: Limits) -> None:
    """Print a table for each structure, a section for each series."""
    console.print("Changes from the densest point of each series; * marks the level's own settings.")
    for name in dict.fromkeys(row["snapshot_id"] for row in rows):
        mine = [row for row in rows if row["snapshot_id"] == name]
        about = f"{escape(name)} ({mine[0]['formula']}, {mine[0]['n_atoms']} atoms)"
        table = Table(title=about, title_justify="left")
        for head in (
            "cut-off\neV",
            "k-points",
            "energy\nmeV/atom",
            "forces\nmeV/Å",
            "stress\nGPa",
            "time\ns",
        ):
            table.add_column(head, justify="right")
        table.add_column(f"within {limits.text}")
        for row, after in zip(mine, [*mine[1:], None], strict=True):
            own = "*" if row["is_level"] else ""
            table.add_row(
                f"{row['cutoff_eV']:g}{own if row['series'] == 'cutoff' else ''}",
                f"{_mesh(row['kpoints'])}{own if row['series'] == 'kpoints' else ''}",
                *(_number(row[change]) for change in CHANGES),
                "" if row["wall_s"] is None else f"{row['wall_s']:.0f}",
                _outcome(row, limits),
                end_section=after is not None and after["series"] != row["series"],
            )
        console.print(table)


def _outcome(row: Row, limits: Limits) -> str:
    if row["reason"]:
        return str(row["reason"])
    return "densest" if row["is_densest"] else "yes" if is_within(row, limits) else "no"


def _mesh(kpoints: Sequence[int]) -> str:
    return "x".join(map(str, kpoints))


def _number(value: float | None) -> str:
    return "" if value is None else number_text(value)


def _print_verdict(console: Console, verdict: Convergence, made: int, table: Path, figure: Path) -> None:
    colour = {"converged": "green", "not converged": "red"}.get(verdict.verdict, "yellow")
    console.print(verdict.sentence, style=colour, soft_wrap=True, markup=False, highlight=False)
    console.print(f"{made} calculated now. Table {table}, figure {figure}.", soft_wrap=True, highlight=False)
