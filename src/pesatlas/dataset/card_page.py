"""The dataset card as Markdown."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pesatlas.campaign.domain_summary import lost_in_words


def page(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    levels: dict[str, dict[str, Any]] = card["levels"]
    names = list(levels)
    parts = [
        f"# {card['title']}",
        *(f"**Warning: {each}.**" for each in card["caveats"]),
        f"Campaign {card['campaign']}, made with {card['made_with']} on {card['date']}. Licence {card['licence']}."
        + (f" DOI {card['doi']}." if card["doi"] else "")
        + (f" State of the dataset: `{card['identifier']}`." if card["identifier"] else ""),
        "## What is in it",
        _table(
            ["", *names], [[what, *(_number(levels[level][key]) for level in names)] for what, key in _SIZES]
        ),
        "\n".join(
            f"- {level}, {what}: {_list(levels[level][what])}"
            for level in names
            for what in ("verdicts", "splits")
        ),
        "Columns, units and meanings are in the files themselves (`pesatlas describe FILE`). "
        + "; ".join(f"{name}: {unit}" for name, unit in card["units"].items())
        + ".",
        "### Rows with each element",
        _table(
            ["element", *names],
            [[s, *(str(n.get(level, 0)) for level in names)] for s, n in card["elements"].items()],
        ),
        "### Domains",
        "Where on the surface rows lie; what picks cost is estimated by the cube of their numbers of atoms.",
        _table(
            ["domain", "cells", "frames", "left their sites", "picks", "share of cost", *names, "lost"],
            [_domain(row, names) for row in card["domains"]],
        ),
        "### Material groups",
        *(f"{level}: {_list(levels[level]['material_groups'])}" for level in names),
        "## Reference levels",
        *(part for level in names for part in _level(level, levels[level])),
        "### Isolated atoms",
        (
            "Energies (eV) that cohesive energies are relative to."
            if card["references"]["atoms_eV"]
            else "There are none, so cohesive energies are empty."
        ),
        _references(card["references"]["atoms_eV"], names),
        *_elements(card, names),
        "## How the structures were found",
        *_exploration(card),
        "## What was left out",
        "Rules, their limits and where those come from:",
        _table(
            ["rule", "limit", "then", "source"], [_rule(name, rule) for name, rule in card["rules"].items()]
        ),
        "Besides, a label is kept out that did not converge, is of another structure, is not finite, or was made to succeed by a change of its level.",
        "How often each rule spoke:" if card["filters"] else "No rule spoke.",
        _table(
            ["level", "rule", "then", "rows"], [[str(v) for v in row.values()] for row in card["filters"]]
        ),
        "What did not become a row:" if card["failures"] else "Nothing failed.",
        _table(
            ["stage", "level", "reason", "rows"],
            [[str(v) if v is not None else "-" for v in row.values()] for row in card["failures"]],
        ),
        "Every sum closes:" if all(each["closes"] for each in card["sums"]) else "**Sums do not close:**",
        "\n".join(f"- {_sum(each)}" for each in card["sums"]),
        "## Splits",
        (
            f"By {card['splits'].get('by')}, seed {card['splits'].get('seed')}: {card['splits'].get('valid')} for validation, "
            f"{card['splits'].get('test')} for testing; both levels alike."
        ),
        "\n".join(f"- {remark}" for remark in card["splits"].get("remarks", [])),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in card["limits"]),
        "## Any row again",
        (
            "`pesatlas explain SNAPSHOT_ID` tells a row's story and why a missing one is missing, `pesatlas reproduce SNAPSHOT_ID --to FOLDER` "
            "writes the inputs that give it again."
        ),
        "## How to cite",
        "See `CITATION.cff`.",
        "## Configuration in full",
        f"```json\n{json.dumps(card['configuration'], indent=1, ensure_ascii=False)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _domain(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    counts = [str(row[name]) for name in ("cells", "frames", "left_sites", "picks")]
    levels = [str(row["rows"].get(name, 0)) for name in names]
    return [row["domain"], *counts, f"{row['cost_share']:.1%}", *levels, lost_in_words(row)]


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


def _level(name: str, level: dict[str, Any]) -> list[str]:
    merged = (
        f" Merged although they differ: {'; '.join(level['differences'])}." if level["differences"] else ""
    )
    definition = level["definition"]
    told = (
        f"```json\n{json.dumps(definition, indent=1, ensure_ascii=False)}\n```"
        if definition
        else "Its definition was not kept by the pesatlas that made the labels; each row has its own settings in full."
    )
    return [
        f"### {name}",
        f"Fingerprint {', '.join(level['fingerprints'])}; calculated with {', '.join(level['codes'])}.{merged}",
        told,
    ]


def _exploration(card: dict[str, Any]) -> list[str]:
    found, selection = card["exploration"], card["selection"]
    sources = "; ".join(f"{row['source']} ({row['cells']} cells)" for row in found["sources"])
    potentials = "; ".join(
        f"{row['potential']}, weights {row['potential_hash']}" for row in found["potentials"]
    )
    conditions = ", ".join(str(row["condition"]) for row in found["conditions"])
    policy = selection.get("policy", {})
    licences = [
        [row["kind"], "; ".join(row["licences"]), str(row["read"] or "?"), str(row["crystals"])]
        for row in found.get("licences", [])
    ]
    return [
        *(
            [_table(["source of structures", "licence", "entries read", "crystals explored"], licences)]
            if licences
            else []
        ),
        f"Structures: {sources}. Dynamics with {potentials}, at {conditions}.",
        f"Frames described by {_encoder(selection['encoder'])}. Selection by policy {policy.get('kind', '?')}, target {selection.get('target', '?')}: {_list(selection['counts'])}.",
        *_coverage(selection["coverage"]),
    ]


def _encoder(encoder: dict[str, Any]) -> str:
    name = encoder["name"] or encoder.get("kind", "an encoder that is not on record")
    return f"{name}, weights {encoder['weights_hash'] or 'not on record'}"


def _coverage(last: dict[str, dict[str, Any]]) -> list[str]:
    """Say what the picks cover, beside frames drawn by lot."""
    if not last:
        return ["What the picks cover was not measured."]
    gain = last.get("picks", {}).get("gain_per_1000_labels")
    return [
        (
            "Distances are from frames drawn of all that were explored, and from their atoms, to the nearest pick, in weighted principal "
            "components; coverage is the share of the occupied bins of each component that picks occupy."
        ),
        _table(
            ["", *last],
            [
                [what, *(_number(row[key]) for row in last.values())]
                for what, key in (("frames", "picks"), *_COVERED)
            ],
        ),
        *(
            [
                f"At the pace of the last picks, a thousand more labels would lower the mean distance of atoms by some {gain:.2%}."
            ]
            if gain is not None
            else []
        ),
    ]


def _elements(card: dict[str, Any], names: Sequence[str]) -> list[str]:
    elements = card["references"]["elements_eV_per_atom"]
    if not elements:
        return []
    return [
        "### Elements",
        "Energies (eV/atom) that formation energies are relative to: crystals of this campaign.",
        _references(elements, names),
    ]


def _references(known: dict[str, dict[str, float]], names: Sequence[str]) -> str:
    symbols = sorted({symbol for level in known.values() for symbol in level})
    rows = [[s, *(_number(known.get(level, {}).get(s)) for level in names)] for s in symbols]
    return _table(["element", *names], rows)


def _rule(name: str, rule: dict[str, Any]) -> list[str]:
    limit = f"{rule['limit']:g}" if "limit" in rule else f"{rule['lowest']:g} to {rule['highest']:g}"
    return [name, limit, rule["then"], rule["source"]]


def _sum(each: dict[str, Any]) -> str:
    parts = " + ".join(f"{count} {name}" for name, count in each["parts"].items())
    return f"{each['name']}: {each['total']} {'=' if each['closes'] else '≠'} {parts}"


def _list(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.6f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *body])
