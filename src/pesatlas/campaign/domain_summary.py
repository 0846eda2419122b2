"""Summary of each domain: cells, frames, picks and their cost, labels, losses by reason."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pesatlas.campaign.campaign_tables import CampaignTables

GONE = 0.2
"""Column ``lindemann`` of a trajectory's last frame above which its atoms have left their sites."""


def count_by_domain(results: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each domain of the campaign below ``results``, in alphabetical order.

    Each has ``domain``, ``cells``, ``frames``, ``left_sites`` (trajectories, see ``GONE``), ``picks``,
    ``cost_share`` (of what all picks cost by the cube of their atoms), ``rows`` (of each level) and ``lost``
    (how many, by reason). Crystals that were lost before a domain saw them belong to none.
    """
    tables = CampaignTables(results, manifest)
    found = {name: tables.counts(sql, table) for name, (table, sql) in _COUNTS.items()}
    if tables.has("snapshots", "lindemann"):
        found["left_sites"] = tables.counts(_LEFT, "snapshots")
    else:
        found["left_sites"] = {}
    levels = {level: tables.counts(_ROWS, "dataset", level) for level in manifest["levels"]}
    lost = _lost(tables)
    names = sorted({name for each in (*found.values(), *levels.values(), lost) for name in each})
    return [
        {
            "domain": name,
            **{what: counts.get(name, 0) for what, counts in found.items()},
            "rows": {level: counts.get(name, 0) for level, counts in levels.items()},
            "lost": lost.get(name, {}),
        }
        for name in names
    ]


_ROWS = "SELECT domain, count(*) FROM it GROUP BY domain"
_COUNTS = {
    "cells": ("structures", _ROWS),
    "frames": ("snapshots", _ROWS),
    "picks": ("selection", _ROWS),
    "cost_share": (
        "selection",
        (
            "SELECT domain, sum(n_atoms::DOUBLE ^ 3) / (SELECT sum(n_atoms::DOUBLE ^ 3) FROM it) FROM it "
            "GROUP BY domain"
        ),
    ),
}
_LEFT = (
    "SELECT domain, count(*) FROM (SELECT domain, arg_max(lindemann, step) AS last FROM it "  # noqa: S608 - our own number
    f"WHERE lindemann IS NOT NULL GROUP BY domain, structure_id, variant, condition) WHERE last > {GONE} "
    "GROUP BY domain"
)
_CELLS = "SELECT structure_id || ':' || variant, domain FROM it"
_LOST = (
    "SELECT stage, split_part(key, ':', 1) || ':' || split_part(key, ':', 2) AS cell, reason, count(*) FROM "
    "it GROUP BY ALL ORDER BY ALL"
)


def _lost(tables: CampaignTables) -> dict[str, dict[str, int]]:
    """Return how much was lost, by domain and reason."""
    known = tables.counts(_CELLS, "structures")
    lost: dict[str, dict[str, int]] = defaultdict(dict)
    for stage, cell, reason, count in tables.query(_LOST, "failures"):
        # a cell that was refused is in no table, but its name begins with its domain
        name = known.get(cell) or (cell.split(":")[1].split("-")[0] if stage == "structures" else "")
        if name:
            lost[name][reason] = lost[name].get(reason, 0) + count
    return lost


def format_losses(row: Mapping[str, Any]) -> str:
    """Return what was lost in a domain, by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in row["lost"].items()) or "nothing"
