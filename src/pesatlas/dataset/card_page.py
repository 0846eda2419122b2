"""The dataset card as Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pesatlas.campaign.caveats import GAIN_FROM_PICKS
from pesatlas.campaign.domain_summary import format_losses
from pesatlas.campaign.layout import within
from pesatlas.campaign.source_texts import format_sources
from pesatlas.runtime.templates import render, table

_TEMPLATE = Path(__file__).with_name("card.md.j2")


def page(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    levels: dict[str, dict[str, Any]] = card["levels"]
    names = list(levels)
    selection, references = card["selection"], card["references"]
    covered = selection["coverage"].get("picks", {})
    gain = covered.get("gain_per_1000_labels") if covered.get("picks", 0) >= GAIN_FROM_PICKS else None
    values = {
        "card": card,
        "citation": within("citation"),
        "names": names,
        "sizes": [[what, *(_number(levels[level][key]) for level in names)] for what, key in _SIZES],
        "elements": [[s, *(str(n.get(level, 0)) for level in names)] for s, n in card["elements"].items()],
        "domains": [_domain(row, names) for row in card["domains"]],
        "atoms": _references(references["atoms_eV"], names),
        "crystals": _references(references["elements_eV_per_atom"], names),
        "licences": [
            [row["kind"], "; ".join(row["licences"]), str(row["read"] or "?"), str(row["crystals"])]
            for row in card["exploration"].get("licences", [])
        ],
        "sources": format_sources(row["source"] for row in card["exploration"]["sources"]),
        "encoder": _encoder(selection["encoder"]),
        "policy": selection.get("policy", {}).get("kind", "?"),
        "coverage": [
            [what, *(_number(row[key]) for row in selection["coverage"].values())]
            for what, key in (("frames", "picks"), *_COVERED)
        ],
        "gain": None if gain is None else f"{gain:.2%}",
        "rules": [_rule(name, rule) for name, rule in card["rules"].items()],
        "charges": [
            ["-" if value is None else str(value) for value in row.values()]
            for row in card.get("charges", [])
        ],
        "filters": [[str(value) for value in row.values()] for row in card["filters"]],
        "failures": [["-" if v is None else str(v) for v in row.values()] for row in card["failures"]],
    }
    return render(_TEMPLATE, values, {"table": table, "counts": _counts, "json": _json})


def _domain(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    counts = [str(row[name]) for name in ("cells", "frames", "left_sites", "picks")]
    levels = [str(row["rows"].get(name, 0)) for name in names]
    return [row["domain"], *counts, f"{row['cost_share']:.1%}", *levels, format_losses(row)]


_SIZES = [
    ("rows", "rows"),
    ("crystals they come from", "crystals"),
    ("chemical systems", "chemical_systems"),
    ("atoms", "atoms"),
    ("atoms in the largest cell", "largest_cell"),
    ("lowest cohesive energy (eV/atom)", "lowest_cohesive_energy_eV_per_atom"),
    ("highest cohesive energy (eV/atom)", "highest_cohesive_energy_eV_per_atom"),
    ("largest force (eV/Å)", "largest_force_eV_per_A"),
    ("lowest pressure (GPa)", "lowest_pressure_GPa"),
    ("highest pressure (GPa)", "highest_pressure_GPa"),
]


_COVERED = [
    (f"{words}, {what}", f"{key}_{what}")
    for what in ("structures", "atoms")
    for words, key in (
        ("mean distance", "fill_mean"),
        ("99th percentile", "fill_p99"),
        ("largest distance", "fill_max"),
        ("coverage", "coverage"),
    )
]


def _encoder(encoder: dict[str, Any]) -> str:
    name = encoder["name"] or encoder.get("kind", "an encoder that is not on record")
    return f"{name}, weights {encoder['weights_hash'] or 'not on record'}"


def _references(known: dict[str, dict[str, float]], names: Sequence[str]) -> list[list[str]]:
    symbols = sorted({symbol for level in known.values() for symbol in level})
    return [[s, *(_number(known.get(level, {}).get(s)) for level in names)] for s in symbols]


def _rule(name: str, rule: dict[str, Any]) -> list[str]:
    limit = f"{rule['limit']:g}" if "limit" in rule else f"{rule['lowest']:g} to {rule['highest']:g}"
    return [name, limit, rule["then"], rule["source"]]


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.6f}"
