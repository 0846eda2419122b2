"""`pesatlas gaps`: what a dataset does not cover, of all elements or of given structures."""

import tempfile
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pesatlas.atoms.elements import SYMBOLS, symbol_of
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.cli.gaps_map import draw_map
from pesatlas.config.campaign import Campaign
from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.encode.encode_shard import encode_snapshots
from pesatlas.errors import UserError
from pesatlas.potentials.device import check_device
from pesatlas.select.coverage_gaps import VERDICTS, find_gaps, fit_both, read_environments, worst
from pesatlas.structures.external_frames import EXTERNAL, Origin, read_external
from pesatlas.structures.prepare import prepare_structures
from pesatlas.tables import write_table

_SHOWN = 20
_ABOUT = ("structure_id", "domain", "temperature_K", "pressure_GPa", "conditions")
_UNUSUAL = 94
"""Plutonium: heavier elements are in no dataset and no PAW library."""

Facts = dict[str, Any]


def show_gaps(
    dataset: Path,
    of: list[str],
    *,
    settings: dict[str, Any],
    table: Path | None,
    picture: Path | None,
    console: Console | None,
) -> Facts:
    """Report the gaps of ``dataset``, on ``console`` if there is one.

    Write ``table`` and ``picture`` if they are asked for.

    ``settings`` has ``encoder`` (options of one) and ``device``. ``of`` are files, folders and globs of
    structures, or one configuration of a campaign, whose cells are taken; without any, only what the dataset
    has is counted, and nothing is encoded.

    Raises
    ------
    UserError
        If there is nothing to read, or a name has no known ending.
    """
    for path, endings in ((table, {".parquet"}), (picture, {".html", ".png"})):
        if path is not None and path.suffix not in endings:
            raise UserError(f"{path}: give it a name that ends in {' or '.join(sorted(endings))}.")
        if path is not None and not of:
            raise UserError(f"{path}: there is nothing to write without structures; name some with --of.")
    campaign = _campaign(settings)
    with tempfile.TemporaryDirectory(prefix="pesatlas-gaps-") as temporary:
        work = Path(temporary)
        frames = _read(_files(dataset), work, "dataset")
        facts: Facts = {"dataset": str(dataset), **_census(frames)}
        if of:
            check_device(campaign.encode.device, "--device")
            others = _read(_structures(of, work), work, "others")
            rows, points = _compare(campaign, work, others)
            facts |= _differences(frames, others) | {"structures": _by_structure(rows), "rows": rows}
            if table is not None:
                write_table(table, "gaps", rows, digest(campaign.encode.identity()))
            if picture is not None:
                draw_map(picture, points, rows, [frame["structure"] for frame in others])
        else:
            facts["missing_elements"] = [s for s in SYMBOLS[:_UNUSUAL] if s not in facts["elements"]]
            facts["missing_pairs"] = _pairs_of_none(frames)
    if console is not None:
        _print_facts(console, facts)
    return facts


def _campaign(settings: dict[str, Any]) -> Campaign:
    found = load_campaign(
        {
            "structures": {"sources": [{"kind": "demo"}]},
            "explore": {},
            "encode": settings,
            "select": {},
            "label": {"backend": {"kind": "gpaw"}},
        },
        "options of `pesatlas gaps`, as a configuration has them",
        extensions=False,
    )
    model: Any = found.encode.encoder
    check = getattr(find("pesatlas.encode.encoders", model.kind), "check", None)
    if check is not None:
        check(model)
    return found


def _files(dataset: Path) -> list[str]:
    """Return the files of a dataset: of a campaign or release, those of its first level."""
    if below(dataset, "manifest").is_file():
        level = read_campaign_manifest(dataset)["levels"][0]
        return [str(below(dataset, "dataset", level=level))]
    return [str(dataset)]


def _structures(of: list[str], work: Path) -> list[str]:
    """Return files of structures.

    A configuration is answered with the cells that its campaign would explore.
    """
    configurations = [path for path in of if Path(path).suffix in {".yaml", ".yml"}]
    if not configurations:
        return of
    if len(of) > 1:
        raise UserError(f"--of {configurations[0]}: give either one configuration or files of structures.")
    cells = work / "structures.parquet"
    campaign = read_campaign(Path(of[0]))
    prepare_structures(
        campaign.structures,
        campaign.explore,
        campaign.label.backend,
        structures=cells,
        failures=work / "structures-failures.parquet",
    )
    return [str(cells)]


def _read(files: list[str], work: Path, name: str) -> list[Facts]:
    """Read frames into a table of snapshots; return what is known of each."""
    snapshots = work / f"{name}.parquet"
    origins = read_external(files, snapshots, work / f"{name}-failures.parquet")
    rows_by_path = {path: _rows_of_table(path) for path in {origin.path for origin in origins}}
    read = pq.read_table(snapshots, columns=["structure_id", "numbers"]).to_pylist()
    return [
        {
            "structure": row["structure_id"],
            "symbols": sorted({symbol_of(z) for z in row["numbers"]}),
            "atoms": len(row["numbers"]),
            **_facts(rows_by_path, origin),
        }
        for row, origin in zip(read, origins, strict=True)
    ]


def _rows_of_table(path: Path) -> list[dict[str, Any]]:
    """Return the data of each frame of a table besides its geometry; none for other files."""
    if path.suffix != ".parquet":
        return []
    names = [name for name in _ABOUT if name in pq.read_schema(path).names]
    return pq.read_table(path, columns=names).to_pylist()


def _facts(rows_by_path: dict[Path, list[dict[str, Any]]], origin: Origin) -> Facts:
    row = rows_by_path[origin.path][origin.place] if rows_by_path[origin.path] else {}
    at = row.get("conditions") or [row]
    known: Facts = {"domain": row.get("domain") or EXTERNAL}
    for name in ("temperature_K", "pressure_GPa"):
        values = [each.get(name) for each in at]
        known[name] = [value for value in values if value is not None and np.isfinite(value)]
    return known


def _census(frames: list[Facts]) -> Facts:
    """Count what there is: frames by element, and by domain with the range of their conditions."""
    elements = Counter(symbol for frame in frames for symbol in frame["symbols"])
    domains: dict[str, Facts] = {}
    for name in sorted({frame["domain"] for frame in frames}):
        mine = [frame for frame in frames if frame["domain"] == name]
        domains[name] = {"frames": len(mine)} | {
            what: _range([value for frame in mine for value in frame[what]])
            for what in ("temperature_K", "pressure_GPa")
        }
    return {
        "frames": len(frames),
        "atoms": sum(frame["atoms"] for frame in frames),
        "elements": dict(sorted(elements.items())),
        "domains": domains,
    }


def _range(values: list[float]) -> list[float] | None:
    return [min(values), max(values)] if values else None


def _pairs(frames: list[Facts]) -> set[tuple[str, str]]:
    return {pair for frame in frames for pair in combinations(frame["symbols"], 2)}


def _pairs_of_none(frames: list[Facts]) -> list[tuple[str, str]]:
    """Return pairs of elements that are there, but never in one frame."""
    symbols = sorted({symbol for frame in frames for symbol in frame["symbols"]})
    return sorted(set(combinations(symbols, 2)) - _pairs(frames))


def _differences(frames: list[Facts], others: list[Facts]) -> Facts:
    """Report elements, pairs of elements and conditions that others have and the dataset lacks."""
    there = {symbol for frame in frames for symbol in frame["symbols"]}
    beyond = {}
    for what in ("temperature_K", "pressure_GPa"):
        have, want = (_range([value for frame in some for value in frame[what]]) for some in (frames, others))
        if have and want and (want[0] < have[0] or want[1] > have[1]):
            beyond[what] = {"dataset": have, "wanted": want}
    return {
        "missing_elements": sorted({s for frame in others for s in frame["symbols"]} - there),
        "missing_pairs": sorted(_pairs(others) - _pairs(frames)),
        "conditions_beyond": beyond,
    }


def _compare(campaign: Campaign, work: Path, others: list[Facts]) -> tuple[list[dict[str, Any]], Any]:
    """Encode dataset and others.

    Return the rows of table ``gaps``, and the first two components of all structures.
    """
    names = ("dataset", "others")
    features, moments = (
        {name: work / f"{name}.{what}" for name in names} for what in ("features.parquet", "moments.npz")
    )
    for name in names:
        encode_snapshots(campaign.encode, work / f"{name}.parquet", features[name], moments[name])
    pca = fit_both(moments["dataset"], moments["others"])
    found = {name: read_environments(work / f"{name}.parquet", features[name], pca) for name in names}
    rows = find_gaps(found["dataset"], found["others"])
    for row in rows:
        frame = others[row.pop("frame")]
        row |= {"structure": frame["structure"], "domain": frame["domain"]}
    return rows, {name: found[name].structures for name in names}


def _by_structure(rows: list[dict[str, Any]]) -> list[Facts]:
    """Return one row for each structure, the farthest out first: its verdict is that of its worst element."""
    members = defaultdict(list)
    for row in rows:
        members[row["structure"]].append(row)
    found = []
    for name, mine in members.items():
        last = max(mine, key=lambda row: (VERDICTS.index(row["verdict"]), row["percentile"]))
        found.append(
            {
                "structure": name,
                "domain": mine[0]["domain"],
                "verdict": worst([row["verdict"] for row in mine]),
                "because_of": last["element"],
                "percentile": last["percentile"],
            }
        )
    return sorted(found, key=lambda row: (-VERDICTS.index(row["verdict"]), -row["percentile"]))


def _print_facts(console: Console, facts: Facts) -> None:
    console.print(
        f"{facts['dataset']}: {facts['frames']:,} frames, {facts['atoms']:,} atoms, "
        f"{len(facts['elements'])} elements"
    )
    if "structures" in facts:
        console.print(_structure_table(facts["structures"]))
    console.print(_element_table(facts))
    console.print(_domain_table(facts))
    for what, name in (
        ("missing_elements", "Elements that are not in it"),
        ("missing_pairs", "Pairs never in one frame"),
    ):
        found = ["-".join(each) if isinstance(each, tuple) else each for each in facts[what]]
        more = f" and {len(found) - 3 * _SHOWN} more" if len(found) > 3 * _SHOWN else ""
        console.print(f"{name}: {', '.join(found[: 3 * _SHOWN]) or 'none'}{more}")
    for name, each in facts.get("conditions_beyond", {}).items():
        quantity, unit = name.split("_")
        wanted, have = ("{:g} to {:g}".format(*each[what]) for what in ("wanted", "dataset"))
        console.print(f"The {quantity} is to be {wanted} {unit}, the dataset has {have} {unit}.")
    if "structures" in facts:
        counts = Counter(row["verdict"] for row in facts["structures"])
        console.print(", ".join(f"{counts[verdict]} structures {verdict}" for verdict in VERDICTS))


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in heads:
        table.add_column(
            name, justify="left" if name in {"structure", "domain", "element", "verdict"} else "right"
        )
    return table


def _structure_table(structures: list[Facts]) -> Table:
    more = f" (the farthest {_SHOWN} of {len(structures):,})" if len(structures) > _SHOWN else ""
    table = _table(f"Structures{more}", "structure", "domain", "verdict", "because of", "percentile")
    for row in structures[:_SHOWN]:
        cells = (row[name] for name in ("structure", "domain", "verdict", "because_of"))
        table.add_row(*cells, f"{100 * row['percentile']:.1f}")
    return table


def _element_table(facts: Facts) -> Table:
    """Return the elements: of the structures that were asked about, else those that are rare."""
    rows = facts.get("rows")
    if rows is None:
        rare = sorted(facts["elements"].items(), key=lambda item: item[1])[:_SHOWN]
        table = _table(f"The rarest {len(rare)} of its elements", "element", "frames in it")
        for symbol, count in rare:
            table.add_row(symbol, f"{count:,}")
        return table
    table = _table("Elements: structures that contain it", "element", "frames in it", *VERDICTS)
    for symbol in sorted({row["element"] for row in rows}):
        counts = Counter(row["verdict"] for row in rows if row["element"] == symbol)
        table.add_row(symbol, f"{facts['elements'].get(symbol, 0):,}", *(str(counts[v]) for v in VERDICTS))
    return table


def _domain_table(facts: Facts) -> Table:
    asked = facts.get("structures", [])
    table = _table("Domains", "domain", "frames in it", "K", "GPa", *(VERDICTS if asked else ()))
    for name in sorted({*facts["domains"], *(row["domain"] for row in asked)}):
        have = facts["domains"].get(name, {"frames": 0})
        ranges = (
            "{:g} to {:g}".format(*have[what]) if have.get(what) else "-"
            for what in ("temperature_K", "pressure_GPa")
        )
        counts = Counter(row["verdict"] for row in asked if row["domain"] == name)
        table.add_row(name, f"{have['frames']:,}", *ranges, *(str(counts[v]) for v in VERDICTS if asked))
    return table
