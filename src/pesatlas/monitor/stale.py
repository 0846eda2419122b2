"""Stale results: made with other settings or inputs than today's.

Snakemake knows what a file was made with from a hidden folder, which is not copied with a campaign, and from
times, which a copy changes. The entries beside the tables travel with them: they tell the settings and the
tables that each was made with and of.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pesatlas.campaign.dataset_state import files_that_show, state_shown
from pesatlas.campaign.layout import RESULTS, below, output_of, path_of
from pesatlas.campaign.load import load_campaign
from pesatlas.campaign.made_with import differences
from pesatlas.campaign.made_with import made_with as made_by
from pesatlas.campaign.rules import RULES
from pesatlas.campaign.strain_test import shows_other_tests
from pesatlas.config.campaign import Campaign
from pesatlas.config.plugins import available
from pesatlas.errors import UserError
from pesatlas.monitor.counts import Stage
from pesatlas.monitor.missing import batches_of_structures, belongs, is_recorded, jobs_of
from pesatlas.structures.source_caches import FILES_OF_SOURCES, SOURCES, content_of_sources
from pesatlas.tables.manifest import SUFFIX, read_json, table_fingerprint

_FETCHED = {
    path_of("structures_fetched"): ("structures.sources",),
    path_of("potential_fetched"): ("explore.potential", "label.backend", "round.committee"),
    path_of("base_fetched"): ("train.base",),
    path_of("benchmark_fetched"): ("benchmark.",),
}
"""Files that stand for what is fetched, and the keys of whose change it is fetched again."""


_COLLECTED = "collect_dataset "
_STAGES = {rule: stage for stage, rules in RULES.items() for rule in rules}
_BEFORE_DATASET = frozenset({"structures", "explore", "encode", "select", "atoms", "label"})
"""Stages of files without recorded settings: those of the campaign's manifest hold."""
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
    """Set how many jobs of each stage have stale results.

    Those themselves, and those that follow from them.
    """
    jobs: dict[str, set[str]] = {stage.name: set() for stage in stages}
    for file in stale:
        made = output_of(file)
        stage = _STAGES.get(made.rule) if made else None
        if made and stage in jobs:
            # what explore makes again is encoded again: they are the same batches
            jobs[stage].add(made.job if stage in {"explore", "encode"} else f"{made.rule} {made.job}")
    jobs["encode"] |= jobs["explore"]
    whole: set[str] = set()
    for each in stages:  # in the order in which data flow
        each.stale = each.batches_done if each.name in whole else min(len(jobs[each.name]), each.batches_done)
        # nothing follows from card and exports
        if each.stale and (each.name != "dataset" or each.name in whole or _COLLECTED in jobs["dataset"]):
            whole.update(_BEHIND.get(each.name, ()))


def stale_files(folder: Path, campaign: Campaign) -> dict[Path, tuple[str, ...]]:
    """Return stale results, relative to ``folder``, with reasons, a phrase each.

    Entries of an older pesatlas do not tell what their tables were made with; if the campaign had finished,
    its manifest does.
    """
    results = folder / RESULTS
    manifest = read_json(below(results, "manifest"))
    collected = _collected_with(manifest)
    found = _tables(folder, results, campaign, collected)
    if collected is not None and (why := differences(_common(collected, campaign), campaign)):
        found[Path(path_of("manifest"))] = tuple(why)
    state = manifest.get("state")
    for name in files_that_show(campaign.dataset.exports.formats) if state else ():
        if (results / name).is_file() and state_shown(results / name) != state:
            found[Path(RESULTS) / name] = ("it describes another state of the dataset",)
    for name in shows_other_tests(results, manifest) if manifest else ():
        before = found.get(Path(RESULTS) / name, ())
        found[Path(RESULTS) / name] = (*before, "it shows other strain tests of the levels than there are")
    reasons = {reason for why in found.values() for reason in why}
    for fetched, keys in _FETCHED.items():
        changed = tuple(reason for reason in sorted(reasons) if reason.startswith(keys))
        if changed and (folder / fetched).is_file():
            found[Path(fetched)] = changed
    return found


def _collected_with(manifest: dict[str, Any]) -> Campaign | None:
    """Return the configuration that the campaign's manifest, and so card, report and exports, show.

    None if it is not known.
    """
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
    states = {FILES_OF_SOURCES: _sources_fingerprint(folder, campaign)}
    found = {}
    jobs = jobs_of(batches_of_structures(results), campaign)
    for name, entry in _files(results):
        made_with = entry.get("made_with")
        if made_with is None:
            output = output_of(f"{RESULTS}/{name}")
            if output is None or _STAGES.get(output.rule) not in _BEFORE_DATASET or collected is None:
                continue
            if output.name == "geometries":
                continue  # they have no entries: those of the candidates tell
            known, made = output.rule, partial(made_by, output.rule, collected, {})
        else:
            # those of a thousand batches are the same
            known, made = json.dumps(made_with), partial(dict, made_with)
        if not belongs(name, jobs, campaign):
            continue
        if known not in compared:
            compared[known] = differences(made(), campaign)
        why = [*compared[known], *_other_inputs(folder, entry.get("made_of", {}), states)]
        if why:
            found[Path(RESULTS) / name] = tuple(why)
    return dict(sorted(found.items()))


def _sources_fingerprint(folder: Path, campaign: Campaign) -> str | None:
    """Return the state of the files of sources, whose names are as seen from the campaign's folder.

    None where Snakemake watches them.
    """
    ours = {source.kind for source in campaign.structures.sources} <= set(available(SOURCES))
    if not ours or is_recorded(folder, path_of("structures")) or folder.resolve() != Path.cwd():
        return None
    try:
        return content_of_sources(campaign.structures)
    except (OSError, UserError):
        return None  # whoever reads them says so


def _files(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name below ``results`` and entry of every file, empty for those without one.

    By strings, for there may be 10,000.
    """
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
    """Yield which tables are others than those that a table was made of.

    Of those that are missing, others tell.
    """
    for name, was in made_of.items():
        if name not in states:
            states[name] = table_fingerprint(folder / name)
        if states[name] not in {None, was}:
            yield f"{name} differs from the one that it was made from"
