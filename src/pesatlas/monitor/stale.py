"""Results of a campaign that are there and are not what its configuration and its other results make today.

Snakemake knows what a file was made with from a hidden folder, which is not copied with a campaign, and from times, which a copy changes.
The entries beside the tables travel with them: they tell the settings and the tables that each was made with and of.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pesatlas.campaign.dataset_state import files_that_show, state_shown
from pesatlas.config.campaign import Campaign
from pesatlas.config.load import load_campaign
from pesatlas.config.made_with import differences
from pesatlas.config.made_with import made_with as made_by
from pesatlas.config.plugins import available
from pesatlas.errors import UserError
from pesatlas.monitor.counts import Stage
from pesatlas.monitor.missing import batches_of_structures, belongs, is_recorded
from pesatlas.structures.source_caches import FILES_OF_SOURCES, SOURCES, content_of_sources
from pesatlas.tables.manifest import SUFFIX, read_json, state_of_table

_FETCHED = {
    "work/fetched/structures.txt": ("structures.sources",),
    "work/fetched/potential.txt": ("explore.potential", "label.backend", "round.committee"),
    "work/fetched/base.txt": ("train.base",),
    "work/fetched/benchmark.txt": ("benchmark.",),
}
"""Files that stand for what is fetched, and the keys of whose change it is fetched again."""


_STAGES = (
    (r"(failures/)?structures\.parquet", "structures", "all"),
    (r"(snapshots|failures/explore)/(\d+)\.", "explore", r"\2"),
    (r"features/(\d+)\.", "encode", r"\1"),
    (r"select/(calibration|disagreement/\d+)|advice", "round", r"\1"),
    (r"select(ion\.|/.+)", "select", r"\1"),
    (r"(labels|failures)/atoms", "atoms", "all"),
    (r"(labels|failures/label)/(\d+)\.", "label", r"\2"),
    (r"dataset|quarantine|failures/dataset|manifest", "dataset", "collect"),
    (r"card|CITATION|ro-crate", "dataset", "card"),
    (r"exports/(\w+)", "dataset", r"export \1"),
    (r"potentials/([^/]+)/", "train", r"\1"),
    (r"compare/([^/]+)", "compare", r"\1"),
    (r"benchmark/(.+)\.", "benchmark", r"\1"),
    (r"(report/|report)", "report", r"\1"),
)
"""Stage of a file below ``results``, and what its job is called among those of the stage."""
_RULES = (
    (r"(structures|failures/structures)\.parquet", "prepare_structures"),
    (r"(snapshots|failures/explore)/\d+\.parquet", "run_md"),
    (r"features/\d+\.(parquet|moments\.npz)", "encode_snapshots"),
    (r"select/pca\.npz", "fit_pca"),
    (r"select/grid/\w+\.structures\.npz", "grid_structures"),
    (r"select/structures\.npz", "cluster_structures"),
    (r"select/grid/\w+\.atoms\.npz", "grid_atoms"),
    (r"select/atoms\.npz", "cluster_atoms"),
    (r"select/((clusters|candidates)/\d+\.parquet|drawn/\d+\.npz)", "reduce_frames"),
    (r"selection\.parquet", "pick_snapshots"),
    (r"(labels|failures)/atoms\.parquet", "label_atoms"),
    (r"(labels|failures/label)/\d+\.parquet", "label_batch"),
)
"""Rules of files whose settings are those of the campaign's manifest where their entries, of an older pesatlas, tell none."""
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
    jobs: dict[str, set[str]] = {stage.name: set() for stage in stages}
    for path in stale:
        name = path.as_posix().removeprefix("results/")
        for pattern, stage, job in _STAGES:
            if stage in jobs and (found := re.match(pattern, name)):
                jobs[stage].add(found.expand(job))
                break
    jobs["encode"] |= jobs["explore"]
    whole: set[str] = set()
    for each in stages:  # in the order in which data flow
        each.stale = each.batches_done if each.name in whole else min(len(jobs[each.name]), each.batches_done)
        # nothing follows from card and exports
        if each.stale and (each.name != "dataset" or each.name in whole or "collect" in jobs["dataset"]):
            whole.update(_BEHIND.get(each.name, ()))


def stale_files(folder: Path, campaign: Campaign) -> dict[Path, tuple[str, ...]]:
    """Return the results that are not what ``campaign`` makes now, as seen from ``folder``, and why, a phrase each.

    Entries of an older pesatlas do not tell what their tables were made with; if the campaign had finished, its manifest does.
    """
    results = folder / "results"
    manifest = read_json(results / "manifest.json")
    collected = _collected_with(manifest)
    found = _tables(folder, results, campaign, collected)
    if collected is not None and (why := differences(_common(collected, campaign), campaign)):
        found[Path("results/manifest.json")] = tuple(why)
    state = manifest.get("state")
    for name in files_that_show(campaign.dataset.exports.formats) if state else ():
        if (results / name).is_file() and state_shown(results / name) != state:
            found[Path("results") / name] = ("it tells of another state of the dataset",)
    reasons = {reason for why in found.values() for reason in why}
    for fetched, keys in _FETCHED.items():
        changed = tuple(reason for reason in sorted(reasons) if reason.startswith(keys))
        if changed and (folder / fetched).is_file():
            found[Path(fetched)] = changed
    return found


def _collected_with(manifest: dict[str, Any]) -> Campaign | None:
    """Return the configuration that the campaign's manifest, and so card, report and exports, show; None if it is not known."""
    try:
        return load_campaign(manifest["configuration"], extensions=False)
    except (KeyError, TypeError, UserError):
        return None  # there is no manifest, or it is of a pesatlas with other settings


def _common(collected: Campaign, campaign: Campaign) -> dict[str, Any]:
    """Return the sections that decide results and that both campaigns have."""
    return {key: value for key, value in collected.identity().items() if key in campaign.identity()}


def _tables(
    folder: Path, results: Path, campaign: Campaign, collected: Campaign | None
) -> dict[Path, tuple[str, ...]]:
    compared: dict[str, list[str]] = {}
    states = {FILES_OF_SOURCES: _state_of_sources(folder, campaign)}
    found = {}
    batches = batches_of_structures(results)
    for name, entry in _files(results):
        made_with = entry.get("made_with")
        if made_with is None:
            rule = next((rule for pattern, rule in _RULES if re.fullmatch(pattern, name)), None)
            if rule is None or collected is None:
                continue
            known, made = rule, partial(made_by, rule, collected, {})
        else:
            # those of a thousand batches are the same
            known, made = json.dumps(made_with), partial(dict, made_with)
        if not belongs(name, batches, campaign):
            continue
        if known not in compared:
            compared[known] = differences(made(), campaign)
        why = [*compared[known], *_other_inputs(folder, entry.get("made_of", {}), states)]
        if why:
            found[Path("results") / name] = tuple(why)
    return dict(sorted(found.items()))


def _state_of_sources(folder: Path, campaign: Campaign) -> str | None:
    """Return the state of the files of sources, whose names are as seen from the campaign's folder; None where Snakemake watches them."""
    ours = {source.kind for source in campaign.structures.sources} <= set(available(SOURCES))
    if not ours or is_recorded(folder, "results/structures.parquet") or folder.resolve() != Path.cwd():
        return None
    try:
        return content_of_sources(campaign.structures)
    except (OSError, UserError):
        return None  # whoever reads them says so


def _files(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name below ``results`` and entry of every file, empty for those without one; by strings, for there may be 10,000."""
    for root, _, files in os.walk(results):
        there = set(files)
        inside = os.path.relpath(root, results)
        for file in files:
            if file.endswith(SUFFIX):
                continue
            entry: dict[str, Any] = {}
            if file + SUFFIX in there:
                with suppress(OSError, ValueError), open(f"{root}/{file}{SUFFIX}", "rb") as handle:  # noqa: PTH123
                    entry = json.loads(handle.read())
            yield file if inside == "." else f"{inside}/{file}", entry


def _other_inputs(folder: Path, made_of: dict[str, str], states: dict[str, str | None]) -> Iterator[str]:
    """Yield which tables are others than those that a table was made of; of those that are missing, others tell."""
    for name, was in made_of.items():
        if name not in states:
            states[name] = state_of_table(folder / name)
        if states[name] not in {None, was}:
            yield f"{name} is another than it was made of"
