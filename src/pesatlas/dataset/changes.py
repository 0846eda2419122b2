"""One dataset compared with an earlier one: rows added, removed, changed, and why."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pesatlas.dataset.atlas import Atlas
from pesatlas.runtime.progress import Progress
from pesatlas.runtime.templates import render
from pesatlas.tables import iter_table
from pesatlas.tables.label_verdicts import QUARANTINED

EXAMPLES = 10
_TEMPLATE = Path(__file__).with_name("changes.md.j2")

_GROUPS = {
    "geometry": ("numbers", "cell_A", "positions_A"),
    "label": (
        "energy_eV",
        "free_energy_eV",
        "forces_eV_per_A",
        "stress_eV_per_A3",
        "magmoms_muB",
        "band_gap_eV",
    ),
    "level": ("level_fingerprint",),
    "verdict": ("verdict",),
    "split": ("split",),
    "cohesive or formation energy": ("cohesive_energy_eV_per_atom", "formation_energy_eV_per_atom"),
}
"""Columns that change together, and what such a change is called."""

_COLUMNS = ["snapshot_id", *(column for columns in _GROUPS.values() for column in columns)]

Hashes = dict[str, tuple[bytes, ...]]


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Return what is new in ``after``: by level added, removed and changed rows with their reasons.

    Changed settings.

    Parameters
    ----------
    before, after : folders of campaigns or of releases
    """
    old, new = Atlas(before), Atlas(after)
    return {
        "levels": {level: _level(old, new, level) for level in dict.fromkeys([*old.levels, *new.levels])},
        "settings": _differences(old.manifest["configuration"], new.manifest["configuration"], ""),
        "code_version": [old.manifest["code_version"], new.manifest["code_version"]],
    }


def page(changes: dict[str, Any], before: str, after: str) -> str:
    """Return the changes as Markdown."""
    return render(_TEMPLATE, {"before": before, "after": after, **changes})


def _level(old: Atlas, new: Atlas, level: str) -> dict[str, Any]:
    first, second = _hashes(old, level), _hashes(new, level)
    added, removed = sorted(second.keys() - first.keys()), sorted(first.keys() - second.keys())
    changed = {
        name: ", ".join(
            group for group, a, b in zip(_GROUPS, first[name], second[name], strict=True) if a != b
        )
        for name in sorted(first.keys() & second.keys())
        if first[name] != second[name]
    }
    came, went = _whereabouts(old, level, set(added)), _whereabouts(new, level, set(removed))
    return {
        "rows": [len(first), len(second)],
        "added": _counted(added, came, "not selected before", "was "),
        "removed": _counted(removed, went, "not selected any more", "now "),
        "changed": {
            "rows": len(changed),
            "why": dict(Counter(changed.values()).most_common()),
            "examples": list(changed)[:EXAMPLES],
        },
    }


def _counted(names: list[str], where: dict[str, str], otherwise: str, word: str) -> dict[str, Any]:
    why = Counter(word + where[name] if name in where else otherwise for name in names)
    return {"rows": len(names), "why": dict(why.most_common()), "examples": names[:EXAMPLES]}


def _hashes(atlas: Atlas, level: str) -> Hashes:
    """Return a hash of each group of columns by snapshot; in pieces. No rows of a level that is not there."""
    found: Hashes = {}
    if level not in atlas.levels:
        return found
    for path in (Path(file) for file in atlas.table("dataset").files):
        schema = pq.read_schema(path)
        if (schema.metadata or {}).get(b"pesatlas.level", b"").decode() != level:
            continue
        progress = Progress(f"rows of {atlas.root} at {level}", pq.read_metadata(path).num_rows)
        for piece in iter_table(path, [name for name in _COLUMNS if name in schema.names]):
            progress.step(piece.num_rows)
            for row in piece.to_pylist():
                found[row["snapshot_id"]] = tuple(
                    hashlib.blake2b(repr([row.get(name) for name in group]).encode(), digest_size=8).digest()
                    for group in _GROUPS.values()
                )
    return found


def _whereabouts(atlas: Atlas, level: str, names: set[str]) -> dict[str, str]:
    """Return, of snapshots that are not in a dataset, why not.

    The rules that quarantine them, or the reason of their failure.
    """
    found: dict[str, str] = {}
    if not names or level not in atlas.levels:
        return found
    for row in atlas.table("failures").to_table(columns=["key", "level", "reason", "detail"]).to_pylist():
        if row["key"] in names and row["level"] == level:
            quarantined = row["reason"] == QUARANTINED
            found[row["key"]] = (
                f"in quarantine ({_rules(row['detail'])})" if quarantined else f"failed ({row['reason']})"
            )
    return found


def _rules(detail: str) -> str:
    violations = json.loads(detail)
    return ", ".join(
        each["rule"] if isinstance(each, dict) else str(each)
        for each in violations
        if not isinstance(each, dict) or each["then"] == "quarantine"
    )


def _differences(first: Any, second: Any, path: str) -> dict[str, list[Any]]:
    """Return the dotted keys of a configuration whose values differ, with both."""
    if isinstance(first, dict) and isinstance(second, dict):
        found: dict[str, list[Any]] = {}
        for key in sorted(first.keys() | second.keys()):
            found |= _differences(first.get(key), second.get(key), f"{path}.{key}".lstrip("."))
        return found
    return {} if first == second else {path: [first, second]}
