"""Results of a campaign that are there and are not what its configuration and its other results make today.

Snakemake knows what a file was made with from a hidden folder, which is not copied with a campaign, and from times, which a copy changes.
The entries beside the tables travel with them: they tell the settings and the tables that each was made with and of.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pesatlas.config.campaign import Campaign
from pesatlas.config.load import load_campaign
from pesatlas.config.made_with import differences
from pesatlas.errors import UserError
from pesatlas.monitor.counts import Stage
from pesatlas.monitor.missing import batches_of_structures, belongs
from pesatlas.tables.manifest import SUFFIX, read_json, state_of_table
from pesatlas.tables.state import files_that_show, state_shown

_FETCHED = {
    "work/fetched/structures.txt": ("structures.sources",),
    "work/fetched/potential.txt": ("explore.potential", "label.backend", "round.committee"),
    "work/fetched/base.txt": ("train.base",),
    "work/fetched/benchmark.txt": ("benchmark.",),
}
"""What is fetched for results that are made again with other settings of these keys."""


_STAGES = (
    (r"(structures|failures/structures)\.parquet()", "structures"),
    (r"(?:snapshots|failures/explore)/(\d+)\.", "explore"),
    (r"features/(\d+)\.", "encode"),
    (r"select/(calibration|disagreement)|advice", "round"),
    (r"select(?:ion|/(.+))", "select"),
    (r"(?:labels|failures)/atoms()", "atoms"),
    (r"(?:labels|failures/label)/(\d+)\.", "label"),
    (r"(?:dataset|quarantine|failures/dataset|manifest)()", "dataset"),
    (r"(card|CITATION|ro-crate)|exports/(\w+)", "dataset"),
    (r"potentials/([^/]+)/", "train"),
    (r"compare/(.+)/|compare/", "compare"),
    (r"benchmark/(.+)\.", "benchmark"),
    (r"report()", "report"),
)
"""Stage of a file below ``results``, and in its groups what tells its job from others."""
_BEHIND = {
    "structures": ("explore", "encode", "select", "atoms", "label", "dataset"),
    "explore": ("select", "label", "dataset"),
    "encode": ("select", "label", "dataset"),
    "select": ("label", "dataset"),
    "atoms": ("dataset",),
    "label": ("dataset",),
    "dataset": ("train", "compare", "benchmark", "report"),
    "train": ("benchmark",),
    "round": ("select", "label", "dataset"),
}
"""Stages all of whose results are made again for one of a stage."""


def count_stale(stages: Sequence[Stage], stale: Iterable[Path]) -> None:
    """Set how many jobs of each stage have stale results: those themselves, and those that follow from them."""
    jobs: dict[str, set[str]] = {}
    for path in stale:
        name = path.as_posix().removeprefix("results/")
        for pattern, stage in _STAGES:
            if found := re.match(pattern, name):
                jobs.setdefault(stage, set()).add("".join(filter(None, found.groups())))
                break
    whole: set[str] = set()
    for each in stages:  # in the order in which data flow
        if each.name == "encode":
            jobs["encode"] = jobs.get("encode", set()) | jobs.get("explore", set())
        count = len(jobs.get(each.name, ()))
        if each.name in whole:
            count = each.batches_done
        each.stale = min(count, each.batches_done)
        if each.stale:
            whole.update(_BEHIND.get(each.name, ()))


def stale_files(folder: Path, campaign: Campaign) -> dict[Path, tuple[str, ...]]:
    """Return the results that are not what ``campaign`` makes now, as seen from ``folder``, and why, a phrase each.

    Nothing is said of results whose entries do not tell what they were made with, as those of an older pesatlas.
    """
    results = folder / "results"
    found = {**_tables(folder, results, campaign), **_manifest(results, campaign)}
    state = read_json(results / "manifest.json").get("state")
    for name in files_that_show(campaign.dataset.exports.formats) if state else ():
        if (results / name).is_file() and state_shown(results / name) != state:
            found[Path("results") / name] = ("it tells of another state of the dataset",)
    reasons = {reason for why in found.values() for reason in why}
    for fetched, keys in _FETCHED.items():
        changed = tuple(reason for reason in sorted(reasons) if reason.startswith(keys))
        if changed and (folder / fetched).is_file():
            found[Path(fetched)] = changed
    return found


def _tables(folder: Path, results: Path, campaign: Campaign) -> dict[Path, tuple[str, ...]]:
    compared: dict[str, list[str]] = {}
    states: dict[str, str | None] = {}
    found = {}
    batches = batches_of_structures(results)
    for name, entry in _entries(results):
        if not belongs(name, batches, campaign):
            continue
        made_with = entry.get("made_with", {})
        # those of a thousand batches are the same
        known = json.dumps(made_with)
        if known not in compared:
            compared[known] = differences(made_with, campaign)
        why = [*compared[known], *_other_inputs(folder, entry.get("made_of", {}), states)]
        if why:
            found[Path("results") / name] = tuple(why)
    return dict(sorted(found.items()))


def _entries(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name below ``results`` and entry of every file that has one; by strings, for there may be 10,000."""
    for root, _, files in os.walk(results):
        there = set(files)
        inside = os.path.relpath(root, results)
        for file in files:
            name = file.removesuffix(SUFFIX)
            if name != file and name in there:
                with suppress(OSError, ValueError), open(f"{root}/{file}", "rb") as handle:  # noqa: PTH123
                    yield name if inside == "." else f"{inside}/{name}", json.loads(handle.read())


def _other_inputs(folder: Path, made_of: dict[str, str], states: dict[str, str | None]) -> Iterator[str]:
    """Yield which tables are others than those that a table was made of; of those that are missing, others tell."""
    for name, was in made_of.items():
        if name not in states:
            states[name] = state_of_table(folder / name)
        if states[name] not in {None, was}:
            yield f"{name} is another than it was made of"


def _manifest(results: Path, campaign: Campaign) -> dict[Path, tuple[str, ...]]:
    """Compare the configuration in the campaign's manifest, which card, report and exports show, with today's."""
    configuration: Any = read_json(results / "manifest.json").get("configuration")
    if not isinstance(configuration, dict):
        return {}
    try:
        was = load_campaign(configuration, extensions=False).identity()
    except UserError:
        return {}  # of a pesatlas with other settings
    why = differences({key: value for key, value in was.items() if key in campaign.identity()}, campaign)
    return {Path("results/manifest.json"): tuple(why)} if why else {}
