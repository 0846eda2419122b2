"""Cost of the campaign: time by rule, time of labels, disk; cost and benefit of a thousand labels more."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pyarrow.parquet as pq

from pesatlas.campaign.caveats import GAIN_FROM_PICKS
from pesatlas.campaign.layout import shown, times_there
from pesatlas.campaign.rules import RULES
from pesatlas.report.figure import Data, Figure, base, by_level
from pesatlas.report.texts import format_hours
from pesatlas.tables.manifest import check_content

STAGES = {
    **{stage: rules for stage, rules in RULES.items() if stage not in {"atoms", "label", "round", "report"}},
    "structures": (*RULES["structures"], "read_reference"),
    "select": RULES["select"] + RULES["round"],
    "label": RULES["label"] + RULES["atoms"],
    "report": ("evaluate_potential",),
}
"""The rules of each stage whose time is counted; the report itself is not finished when it is made."""

_HOUR_S = 3600.0
_FOLDERS = {
    "structures": ("structures",),
    "explore": ("snapshots",),
    "encode": ("features",),
    "select": ("clusters", "candidates", "selection", "quality", "disagreement", "calibration"),
    "label": ("labels", "atoms"),
    "dataset": ("dataset", "failures"),
}


@dataclass(frozen=True)
class Cost:
    """Measured cost of one stage.

    Attributes
    ----------
    wall_h : time of all its jobs, one after the other; of labels, that of the calculations when they were
        made
    core_h : the same times the cores of a job
    gpu_h : the same times the GPUs of a job
    disk_bytes : of its tables
    """

    stage: str
    jobs: int
    wall_h: float
    core_h: float
    gpu_h: float
    disk_bytes: int


def costs(folder: Path, manifest: Mapping[str, Any], labels: Sequence[Path]) -> list[Cost]:
    """Return measured costs of each stage.

    Parameters
    ----------
    folder : of the campaign, with its logs
    manifest : of its results
    labels : tables of labels and of isolated atoms
    """
    configuration = manifest["configuration"]
    disk: dict[str, int] = defaultdict(int)
    for entry in manifest["files"]:
        disk[entry["table"]] += entry["bytes"]
    found = []
    for stage, rules in STAGES.items():
        seconds = [time for rule in rules for time in _seconds(folder, rule)]
        if stage in {"train", "compare"} and not seconds:
            continue  # not part of this campaign
        wall = sum(seconds)
        cores = 1
        if stage == "label":
            cores = configuration.get("label", {}).get("cores", 1)
            wall = _label_seconds(labels)
        gpu = (
            configuration.get("encode" if stage == "encode" else "explore", {}).get("device", "cpu") != "cpu"
        )
        on_gpu = gpu and stage in {"explore", "encode", "report"}
        bytes_of = sum(disk[table] for table in _FOLDERS.get(stage, ()))
        hours = wall / _HOUR_S
        found.append(Cost(stage, len(seconds), hours, hours * cores, hours if on_gpu else 0.0, bytes_of))
    return found


def _seconds(folder: Path, rule: str) -> Iterator[float]:
    """Yield the wall time of each job of a rule, s; of a job that was run again, the last time counts."""
    for path in times_there(folder, rule):
        with path.open(encoding="utf-8", newline="") as handle:
            yield from (float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))


def _label_seconds(paths: Sequence[Path]) -> float:
    there = [path for path in paths if path.is_file()]
    for path in there:
        check_content(path)
    return sum(float(np.sum(pq.read_table(path, columns=["wall_s"])["wall_s"].to_numpy())) for path in there)


def next_thousand(found: Sequence[Cost], labels: int, picks: int, gain: float | None) -> str:
    """Return the expected cost and benefit of the next thousand picks."""
    label = next((cost for cost in found if cost.stage == "label"), None)
    if label is None or not picks or not label.core_h:
        return "The cost of labels was not measured in this campaign."
    thousand = format_hours(label.core_h / picks * 1000)
    each = format_hours(label.core_h / max(labels, 1))
    brings = (
        "At the current rate they would reduce the mean distance from atoms of the pool to the nearest pick "
        f"by {100 * gain:.1f} %."
        if gain is not None and picks >= GAIN_FROM_PICKS
        else "Their benefit cannot be estimated from so few."
    )
    return (
        f"A thousand more picks, at all levels, would take {thousand} on all cores ({each} a label so far). "
        f"{brings}"
    )


def cost(data: dict[str, Data], levels: list[str]) -> list[Figure]:
    """Return the figures of the section."""
    return [_label_time(data["labels"], levels)]


def _label_time(labels: Data, levels: list[str]) -> Figure:
    chart = (
        base("labels", level=True)
        .mark_circle(size=26, opacity=0.5)
        .encode(
            x=alt.X("n_atoms:Q", title="atoms", scale=alt.Scale(type="log")),
            y=alt.Y("wall_s:Q", title="time of a label (s)", scale=alt.Scale(type="log")),
            color=by_level(levels),
            tooltip=["snapshot_id:N", "level:N", "n_atoms:Q", "wall_s:Q"],
        )
    )
    return Figure(
        "label_time",
        "Time of a label",
        "Wall time of each calculation against the number of its atoms. Both axes are logarithmic"
        # a potential has no iterations, and its cost grows with the number of atoms
        + (
            "; the cost of DFT grows with a power of two to three."
            if any(labels.columns["scf_steps"])
            else "."
        ),
        "labels",
        shown("dataset"),
        "SELECT level, n_atoms, wall_s FROM dataset",
        chart if len(labels) else None,
        "The dataset has no row.",
    )
