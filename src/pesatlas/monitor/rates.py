"""Costs per unit of work: measured in a previous campaign, set by the user, or assumed."""

import csv
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.atoms.elements import atomic_number
from pesatlas.campaign.layout import RESULTS, below, folder_of, numbered, times_there
from pesatlas.campaign.load import read_campaign
from pesatlas.campaign.rules import RULES
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.config.explore import Explore
from pesatlas.config.explore_stop import Saturated
from pesatlas.config.label import LEVELS
from pesatlas.errors import UserError
from pesatlas.monitor.cells import CellCounts, sample_crystals
from pesatlas.runtime.progress import FOLDER
from pesatlas.tables import read_entry

log = logging.getLogger(__name__)

UNITS = {
    "cells": "cells for each crystal",
    "trajectories": "trajectories for each cell, without cells that do not move",
    "lengths": "lengths of explore.length_ps in a trajectory, ramps included",
    "stop": "steps that a trajectory has, of each that it may have (explore.stop)",
    "pace": "steps where a heavy element takes one (explore.timestep_fs)",
    "atoms": "atoms in a frame",
    "elements": "elements",
    "prepare": "s of checking for each crystal",
    "md": "MD steps·atoms a second in one job",
    "encode": "atoms encoded a second in one job",
    "select": "s of selection for each snapshot",
    "dataset": "s of collecting, exporting and reporting for each label",
    **{f"label_{level}": f"s for a label at {level}" for level in LEVELS},
    "snapshot_bytes": "bytes of table for each atom of a snapshot",
    "feature_bytes": "bytes of features for each atom of a snapshot",
    "trajectory_bytes": "bytes of store for each atom of a frame",
    "label_bytes": "bytes of table and store for each atom of a label",
    "output_bytes": "bytes of archived outputs for each label",
    "export_bytes": "bytes of exports for each atom of a label",
}
"""Every rate there is, with its meaning; a plan needs all of them."""

_LAST_RULES = {"select": RULES["select"], "dataset": (*RULES["dataset"], *RULES["report"])}
_EXAMPLES = ["NaCl", "MoS2"]
"""Built-in crystals whose cells are counted where a domain cannot be asked."""
_SATURATED_AFTER = 1.4
"""Mean length of trajectories that end when they are saturated, in shortest lengths."""
_ENOUGH = 10_000
"""Rows below which the time of a job that reads them all is mostly that of starting."""


@dataclass(frozen=True)
class Rate:
    """One number, and where it comes from."""

    value: float
    source: str


Rates = dict[str, Rate]


def assumed(campaign: Campaign) -> Rates:
    """Return what can be said without any measurement.

    Counts that follow from the configuration, sizes, and the times of what is quick.
    """
    found = [_of_a_crystal(domain, campaign.explore) for domain in campaign.structures.domains]
    cells, trajectories, lengths = map(sum, zip(*found, strict=True))
    configured = "from structures.domains"
    if any(domain.kind != "bulk" for domain in campaign.structures.domains):
        configured += f", as of {' or '.join(_EXAMPLES)}"
    sizes = "assumed: sizes of the demo's files"
    elements, formats = campaign.structures.elements, len(campaign.dataset.exports.formats)
    return {
        "cells": Rate(cells, configured),
        "trajectories": Rate(trajectories / max(cells, 1), configured),
        "lengths": Rate(lengths / max(trajectories, 1), configured),
        "stop": _stop(campaign.explore),
        "pace": _pace(campaign),
        "atoms": Rate(57, "assumed: those of MatPES, 16e9 atoms in 281e6 frames"),
        "elements": Rate(len(elements), "from structures.elements")
        if elements
        else Rate(89, "assumed: those of MatPES"),
        "prepare": Rate(1e-3, "assumed: a millisecond (docs/performance.md)"),
        "select": Rate(3e-4, "assumed: 100,000 snapshots of 8 atoms took 30 s"),
        "dataset": Rate(
            1e-3 + 4e-4 * formats,
            f"assumed: {formats} exports of 0.4 ms (docs/performance.md), the rest 1 ms",
        ),
        "snapshot_bytes": Rate(60, sizes),
        "feature_bytes": Rate(150, sizes),
        "trajectory_bytes": Rate(40, sizes),
        "label_bytes": Rate(400, sizes),
        "output_bytes": Rate(100_000 if campaign.label.keep_outputs else 0, "assumed"),
        "export_bytes": Rate(
            140 * formats, f"assumed: 140 for each of {formats} formats (docs/performance.md)"
        ),
    }


def _stop(settings: Explore) -> Rate:
    """Return which part of its longest length a trajectory is expected to have."""
    stop = settings.stop
    if not isinstance(stop, Saturated):
        return Rate(1, "explore.stop is fixed")
    expected_ps = _SATURATED_AFTER * stop.min_length_ps
    return Rate(
        min(1.0, expected_ps / settings.length_ps),
        f"assumed: {_SATURATED_AFTER} times explore.stop.min_length_ps, as 60 crystals at 300 K "
        "(docs/saturation.md)",
    )


def _pace(campaign: Campaign) -> Rate:
    """Return how many steps a trajectory takes for one of heavy elements alone."""
    settings, elements = campaign.explore, campaign.structures.elements
    if not isinstance(settings.timestep_fs, str):
        return Rate(1, "explore.timestep_fs is a number")
    lightest = min(map(atomic_number, elements), default=1) if elements else 1
    if settings.of([lightest]).timestep_fs == settings.longest_timestep_fs:
        return Rate(1, "from structures.elements")
    return Rate(
        1.2,
        "assumed: of 2,438 crystals of databases, 2 % have hydrogen and 15 % nothing lighter than He to N",
    )


def _of_a_crystal(domain: Any, settings: Explore) -> tuple[int, int, float]:
    """Return how many cells, trajectories and lengths (of trajectories) a domain makes of a crystal.

    Of bulk both cells, else the most of two examples.
    """
    if domain.kind == "bulk":
        each = int(domain.unit_cell) + int(domain.supercell is not None)
        trajectories = each * len(domain.temperatures_K) * len(domain.pressures_GPa)
        return each, trajectories, trajectories
    source = plugins.find("pesatlas.structures.sources", "demo")
    found = [CellCounts(settings)]
    for crystal in source.load(source.Options(names=_EXAMPLES)):
        found.append(CellCounts(settings))
        found[-1].add_domain(domain, crystal)
    return max((each.cells, each.trajectories, each.steps / settings.total_steps) for each in found)


def measured(folder: Path, wanted: Campaign) -> Rates:
    """Return what was measured in the campaign that was run in ``folder``; what it did not get to is missing.

    Where it was set otherwise than the campaign that is planned, ``wanted``, the source says so.

    Raises
    ------
    UserError
        If no campaign was run there.
    """
    results = folder / RESULTS
    structures = below(results, "structures")
    if not structures.is_file():
        raise UserError(
            f"{folder}: no campaign was run there ({structures} is missing). Name the folder in which "
            "`pesatlas run` ran with --from."
        )
    campaign = read_campaign(folder / "config.yaml", extensions=False)
    where = f"measured in {folder}"
    found = {name: Rate(value, where) for name, value in _last(folder)}
    found |= {name: Rate(value, where) for name, value in _stored(folder / campaign.campaign.store, results)}
    if campaign.structures.domains == wanted.structures.domains:
        # a hundredth of the crystals may have few of the elements
        found |= {
            name: rate for name, rate in measured_cells(results, wanted.explore).items() if name != "elements"
        }
    found |= {name: Rate(value, where) for name, value in _exports(results, campaign, wanted)}
    found |= _stopped(results, _setting(campaign, wanted, "explore", "length_ps", "stop"))
    found |= _dynamics(folder, _setting(campaign, wanted, "explore", "potential", "device"))
    found |= _features(folder, _setting(campaign, wanted, "encode", "encoder", "device"))
    return found | _labels(results, _setting(campaign, wanted, "label", "backend", "cores"))


def _setting(campaign: Campaign, wanted: Campaign, section: str, *names: str) -> str:
    """Return the settings of a measurement, and whether they are the wanted ones."""
    values = {key: [getattr(getattr(each, section), key) for each in (campaign, wanted)] for key in names}
    words = [f"{key} {getattr(first, 'kind', first)}" for key, (first, _) in values.items()]
    others = [key for key, (first, second) in values.items() if first != second]
    return ", ".join(words) + (f" (other {' and '.join(others)} than planned!)" if others else "")


def measured_cells(results: Path, settings: Explore) -> Rates:
    """Return numbers and sizes of cells and trajectories per crystal, and the number of elements.

    The table is opened for that.
    """
    path = below(results, "structures")
    counts = read_entry(path).counts
    table = pq.read_table(path, columns=["n_atoms", "conditions", "numbers"])
    source = f"counted in {path}"
    lightest = np.minimum.reduceat(
        pc.list_flatten(table["numbers"]).to_numpy(),
        np.append(0, pc.list_value_length(table["numbers"]).to_numpy().cumsum()[:-1]),
    )
    found = CellCounts(settings)
    columns = table["conditions"].to_pylist(), table["n_atoms"].to_pylist(), lightest.tolist()
    for conditions, n_atoms, z in zip(*columns, strict=True):
        found.add(z, n_atoms, conditions)
    elements = len(pc.unique(pc.list_flatten(table["numbers"])))
    return _of_cells(found, counts["accepted"], source) | {"elements": Rate(elements, source)}


def sampled_cells(campaign: Campaign) -> Rates:
    """Return numbers and sizes of cells and trajectories per crystal, of some crystals of the sources.

    Nothing where no source can be read here: a plan may be made before anything was fetched.
    """
    try:
        crystals = sample_crystals(campaign.structures)
    except UserError as error:
        log.info("cells and atoms are assumed: %s", error)
        return {}
    found = CellCounts(campaign.explore)
    for crystal in crystals:
        for domain in campaign.structures.domains:
            found.add_domain(domain, crystal)
    source = f"counted on {len(crystals)} crystals of structures.sources"
    return _of_cells(found, len(crystals), source) if found.cells else {}


def _of_cells(found: CellCounts, crystals: int, source: str) -> Rates:
    trajectories, steps = max(found.trajectories, 1), max(found.steps, 1)
    return {
        "cells": Rate(found.cells / crystals, source),
        "trajectories": Rate(found.trajectories / found.cells, source),
        "lengths": Rate(found.steps / found.settings.total_steps / trajectories, source),
        "pace": Rate(found.own_steps / steps, source),
        "atoms": Rate(found.frame_atoms / found.frames, source),
    }


def _stopped(results: Path, setting: str) -> Rates:
    """Return which part of their longest lengths trajectories had that may end before; nothing of others."""
    sums = np.zeros(2)
    for path in numbered(results, "trajectories"):
        columns = pq.read_table(path, columns=["n_atoms", "steps", "longest_steps"])
        n_atoms, *steps = (column.to_numpy().astype(float) for column in columns.columns)
        sums += [n_atoms @ each for each in steps]
    done, longest = sums.tolist()
    return {"stop": Rate(done / longest, f"measured in {results.parent}, {setting}")} if longest else {}


def _dynamics(folder: Path, setting: str) -> Rates:
    speeds = list(_speeds(folder, "run_md"))
    if not speeds:
        return {}
    value = sum(speed * time for speed, time, _ in speeds) / sum(time for _, time, _ in speeds)
    return {"md": Rate(value, f"measured in {folder} on {speeds[0][2]}, {setting}")}


def _features(folder: Path, setting: str) -> Rates:
    speeds = list(_speeds(folder, "encode_snapshots"))
    rows, atoms = _rows_and_atoms(folder / RESULTS, "snapshots")
    if not speeds or not rows:
        return {}
    value = sum(speed * time for speed, time, _ in speeds) / sum(time for _, time, _ in speeds) * atoms / rows
    return {"encode": Rate(value, f"measured in {folder} on {speeds[0][2]}, {setting}")}


def _speeds(folder: Path, rule: str) -> Iterator[tuple[float, float, str]]:
    """Yield speed, duration (s) and host of each finished job of a rule that computed anything."""
    for path in sorted((folder / FOLDER).glob(f"{rule}-*.json")):
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["state"] == "finished" and state["speed"]:
            yield state["speed"], state["updated"] - state["started"], state["host"]


def _last(folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the cost by row of the stages that read everything."""
    for stage, table in (("select", "snapshots"), ("dataset", "labels")):
        rows, _ = _rows_and_atoms(folder / RESULTS, table)
        files = [times_there(folder, rule) for rule in _LAST_RULES[stage]]
        if rows >= _ENOUGH and all(files):
            yield stage, sum(_seconds(path) for many in files for path in many) / rows


def _seconds(path: Path) -> float:
    with path.open(encoding="utf-8", newline="") as handle:
        return sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))


def _labels(results: Path, setting: str) -> Rates:
    """Return the mean wall time of a label at each level.

    It was measured when the label was made, not when it was last looked up.
    """
    times: dict[str, list[float]] = defaultdict(list)
    for path in numbered(results, "labels"):
        table = pq.read_table(path, columns=["level", "wall_s"])
        for level, seconds in zip(table["level"].to_pylist(), table["wall_s"].to_pylist(), strict=True):
            times[level].append(seconds)
    return {
        f"label_{level}": Rate(
            sum(many) / len(many), f"measured in {results.parent}: {len(many)} labels, {setting}"
        )
        for level, many in times.items()
    }


def _stored(store: Path, results: Path) -> Iterator[tuple[str, float]]:
    _, atoms = _rows_and_atoms(results, "snapshots")
    if atoms:
        yield "snapshot_bytes", _bytes(numbered(results, "snapshots")) / atoms
        yield "feature_bytes", _bytes(numbered(results, "features")) / atoms
        yield "trajectory_bytes", _bytes((store / "trajectories").glob("*.ledger")) / atoms
    labels, atoms = _rows_and_atoms(results, "labels")
    if atoms:
        size = _bytes(numbered(results, "labels")) + _bytes((store / "labels").glob("*.ledger"))
        yield "label_bytes", size / atoms
        yield "output_bytes", _bytes((store / "outputs").glob("*.ledger")) / labels


def _exports(results: Path, campaign: Campaign, wanted: Campaign) -> Iterator[tuple[str, float]]:
    _, atoms = _rows_and_atoms(results, "labels")
    made, formats = (len(each.dataset.exports.formats) for each in (campaign, wanted))
    size = _bytes(path for path in (results / folder_of("export")).rglob("*") if path.is_file())
    if atoms and size and made:
        yield "export_bytes", size / atoms / made * formats


def _rows_and_atoms(results: Path, table: str) -> tuple[int, int]:
    rows = atoms = 0
    for path in numbered(results, table):
        column = pq.read_table(path, columns=["n_atoms"])["n_atoms"]
        rows, atoms = rows + len(column), atoms + (pc.sum(column).as_py() or 0)
    return rows, atoms


def _bytes(paths: Any) -> int:
    return sum(path.stat().st_size for path in paths)
