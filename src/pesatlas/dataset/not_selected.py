"""Reason why a frame was not picked: the first that holds, in the order of the selection."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.campaign.layout import below
from pesatlas.dataset.atlas import Atlas
from pesatlas.tables import iter_table

_NUMBERS = (
    "mlip_energy_eV",
    "mlip_max_force_eV_per_A",
    "mlip_stress_eV_per_A3",
    "min_distance_A",
    "cell_A",
    "positions_A",
)
_GEOMETRY = ["snapshot_id", "condition", "n_atoms", "numbers", "cell_A", "positions_A"]


def rejection_reason(atlas: Atlas, row: Mapping[str, Any], clusters: list[dict[str, Any]]) -> str:
    """Return in words why a frame has no label.

    Parameters
    ----------
    row : of table ``snapshots``
    clusters : its rows of table ``clusters``
    """
    broken = [name for name in _NUMBERS if row[name] is not None and not np.isfinite(row[name]).all()]
    if broken:
        return f"not_finite: {', '.join(broken)} of the potential's frame is not finite"
    if any(each["structure_cluster"] < 0 for each in clusters):
        return "not_finite: the encoder gave features that are not finite"
    options = atlas.manifest["configuration"].get("select", {})
    least = options.get("min_distance_A", 0.0)
    if row["min_distance_A"] < least:
        return (
            f"too_close: two atoms are {row['min_distance_A']:.3f} Å apart, select.min_distance_A is "
            f"{least:g}"
        )
    twin = min(_twins(atlas, row), default=None)
    if twin is not None and twin < _place(row):
        return f"duplicate: the same geometry as {twin[1]}, which represents both"
    known = _in_reference(below(atlas.root, "reference_snapshots"), row)
    if known is not None:
        return f"known: select.reference has the same geometry ({known})"
    return _unneeded(atlas, row, options)


def _unneeded(atlas: Atlas, row: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return why a candidate was not picked: left out by the policy, or beyond the limit."""
    counts = next(each["counts"] for each in atlas.manifest["files"] if each["table"] == "selection")
    beyond, redundant = counts.get("over_target", 0), counts.get("redundant", 0)
    budget = options.get("budget")
    allowed = f"select.target ({options.get('target')})" + (" or select.budget" if budget else "")
    spared = (
        f"redundant: policy {options.get('policy', {}).get('kind', '?')} did not need it, because picks "
        "represent its clusters"
    )
    if atlas.manifest["configuration"].get("compare"):
        return "redundant: no arm of the comparison needed it"
    late = f"over_target: it comes after the {counts['selected']} picks that {allowed} allows"
    # what is not among the best frames of any cluster is never offered to the policy
    offered = "candidates" not in atlas.tables or atlas.find("candidates", snapshot_id=row["snapshot_id"])
    if not beyond or not offered:
        return spared
    if not redundant:
        return late
    return f"{late} ({beyond} frames do), or {spared} ({redundant} frames): which of the two is not on record"


def _place(row: Mapping[str, Any]) -> tuple[bool, str]:
    """Return the sort key of frames with the same geometry; the smallest stays."""
    return row["condition"] != "equilibrium", row["snapshot_id"]


def _digest(row: Mapping[str, Any]) -> str:
    return geometry_digest(np.array(row["numbers"]), np.array(row["cell_A"]), np.array(row["positions_A"]))


def _twins(atlas: Atlas, row: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield the places of other frames with this geometry.

    Of the same crystal, and of all that are candidates.

    A twin of another crystal that was no candidate is not found: that would take a look at the geometry of
    every frame.
    """
    mine = _digest(row)
    if "candidates" in atlas.tables:
        for other in atlas.find("candidates", geometry=bytes.fromhex(mine)):
            if other["snapshot_id"] != row["snapshot_id"]:
                yield not other["equilibrium"], other["snapshot_id"]
    chosen = (pc.field("structure_id") == row["structure_id"]) & (pc.field("n_atoms") == row["n_atoms"])
    for batch in atlas.table("snapshots").to_batches(columns=_GEOMETRY, filter=chosen):
        for other in batch.to_pylist():
            if other["snapshot_id"] != row["snapshot_id"] and _digest(other) == mine:
                yield _place(other)


def _in_reference(path: Path, row: Mapping[str, Any]) -> str | None:
    """Return which frame of ``select.reference`` has this geometry, if there is one."""
    if not path.is_file():
        return None
    mine = _digest(row)
    for piece in iter_table(path, _GEOMETRY):
        for other in piece.filter(pc.equal(piece["n_atoms"], row["n_atoms"])).to_pylist():
            if _digest(other) == mine:
                return str(other["snapshot_id"])
    return None
