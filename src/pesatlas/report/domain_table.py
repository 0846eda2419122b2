"""Table of domains: frames explored, picked, labelled and lost; coverage and error of the potential."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.campaign.domain_summary import count_by_domain, format_losses
from pesatlas.campaign.so_far import UNFINISHED
from pesatlas.report.figure import Data

_ROWS = "in the dataset"
_HEADS = [
    "domain",
    "cells",
    "frames",
    "left their sites",
    "picks",
    "share of cost",
    _ROWS,
    "to the nearest pick",
    "force MAE (eV/Å)",
    "energy MAE (meV/atom)",
    "lost",
]


def of_domains(results: Path, manifest: Mapping[str, Any], data: Mapping[str, Data]) -> dict[str, Any]:
    """Return the table as the page has it.

    ``to the nearest pick`` is the mean distance, on the map, of its frames that are shown there, and errors
    are those of the potential that explored, in rows that were compared.
    """
    far, errors = _distances(data["frames"]), data["errors"].columns
    of_errors = {name: i for i, name in enumerate(errors["domain"])}
    rows = []
    for row in count_by_domain(results, manifest):
        name = row["domain"]
        i = of_errors.get(name)
        mae = [
            None if i is None else errors[each][i]
            for each in ("force_mae_eV_per_A", "energy_mae_meV_per_atom")
        ]
        rows.append(
            (
                name,
                *(f"{row[each]:,}" for each in ("cells", "frames", "left_sites", "picks")),
                f"{row['cost_share']:.1%}",
                ", ".join(f"{count:,} at {level}" for level, count in row["rows"].items()) or "0",
                *("-" if value is None else f"{value:.3g}" for value in (far.get(name), *mae)),
                format_losses(row),
            )
        )
    title = (
        "By domain (left their sites: trajectories whose atoms have; to the nearest pick: mean distance on "
        "the map)"
    )
    heads = ["labelled" if UNFINISHED in manifest and head == _ROWS else head for head in _HEADS]
    return {"title": title, "heads": heads, "rows": rows, "empty": "There is none."}


def _distances(frames: Data) -> dict[str, float]:
    """Return the mean distance of the frames of each domain to the nearest pick, both on the map."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    columns = frames.columns
    points = np.column_stack([columns["pc1"], columns["pc2"]]).reshape(-1, 2).astype(float)
    picked = np.array(columns["picked"], dtype=bool)
    if not picked.any():
        return {}
    apart = KDTree(points[picked]).query(points)[0]
    domains = np.array(columns["domain"])
    return {name: float(apart[domains == name].mean()) for name in np.unique(domains).tolist()}
