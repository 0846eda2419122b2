"""Progress of each stage, from manifests and job progress files; no table is opened."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pesatlas.campaign.account import LABELLED, Account
from pesatlas.campaign.layout import done_by, groups, path_of
from pesatlas.campaign.named_potentials import benchmark_shares
from pesatlas.campaign.rules import RULES
from pesatlas.config.campaign import Campaign
from pesatlas.config.compare import Compare
from pesatlas.tables import FailureReason
from pesatlas.tables.manifest import SUFFIX, entry_path

Counts = dict[str, int]

TABLES = {"run_md": "snapshots", "encode_snapshots": "features", "label_batch": "labels"}
"""The table of labels, or of frames, that each rule with batches writes.

It is there with its entry once a job is done.
"""
OF_GROUPS = ("grid_structures", "grid_atoms", "reduce_frames")
"""Rules of select with groups."""


@dataclass
class Stage:
    """One stage's share of what there is to do: done + failed + under way + left = total.

    Attributes
    ----------
    unit : what is counted
    total : None while it is not known
    done : those that came to something
    failed : those that did not
    reasons : why, as far as jobs have ended; crystals that explore could not evaluate are among them, though
        no trajectories
    under_way : those in jobs that run
    batches, batches_done : jobs there are (None while not known), and those that have their results
    stale : of the latter, those whose results are not what would be made today
    """

    name: str
    unit: str
    total: int | None = None
    done: int = 0
    failed: int = 0
    reasons: Counts = field(default_factory=dict)
    under_way: int = 0
    batches: int | None = None
    batches_done: int = 0
    stale: int = 0

    @property
    def complete(self) -> bool:
        """True if every job has its results, and they are what would be made today."""
        return self.batches == self.batches_done and not self.stale

    @property
    def left(self) -> int | None:
        """Number of items not yet begun; None while the total is unknown."""
        if self.total is None:
            return None
        return self.total - self.done - self.failed - self.under_way


class Manifests:
    """The manifest entries below one ``results`` folder, each read once at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[str, frozenset[str]] = {}

    def has_results(self, rule: str, batch: str) -> bool:
        """Whether a job's results are there, whole."""
        made = done_by(rule, batch)
        if made is None:
            return False
        if rule in TABLES or rule in OF_GROUPS:
            folder, _, name = made.rpartition("/")
            there = self._names(folder)
            return name in there and (rule in OF_GROUPS or f"{name}{SUFFIX}" in there)
        return (self._folder / made).is_file()

    def finished(self, rule: str, batches: int | None) -> list[str]:
        """Return the batches of a rule that have their results.

        Those from ``batches`` on are an earlier run's, and do not count.
        """
        folder, _, ending = path_of(TABLES[rule]).partition("/{batch}")
        listed = [name[:5] for name in self._names(folder) if name[5:] == ending]
        return sorted(
            batch
            for batch in listed
            if batch.isdigit() and (batches is None or int(batch) < batches) and self.has_results(rule, batch)
        )

    def entry(self, name: str) -> dict[str, Any] | None:
        """Return rows and counts of a table, by its name in the layout; None if the table is not there."""
        table = self._folder / path_of(name)
        return _counted(str(entry_path(table))) if table.is_file() else None

    def of_level(self, name: str, level: str) -> Counter[str]:
        """Return the counts of a table of one level; empty if it is not there."""
        table = self._folder / path_of(name, level=level)
        entry = _counted(str(entry_path(table))) if table.is_file() else None
        return entry["counts"] if entry else Counter()

    def of_batches(self, name: str, batches: Iterable[str]) -> Counter[str]:
        """Sum up the counts and rows of the batches of a table, which are there."""
        total: Counter[str] = Counter()
        root = str(self._folder)
        for batch in batches:
            if entry := _counted(f"{root}/{path_of(name, batch=batch)}{SUFFIX}"):
                total.update(entry["counts"])
                total["rows"] += entry["rows"]
        return total

    def _names(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            names: set[str] = set()
            with suppress(FileNotFoundError):
                names = {each.name for each in (self._folder / folder).iterdir()}
            self._listed[folder] = frozenset(names)
        return self._listed[folder]


def _counted(entry_file: str) -> dict[str, Any] | None:
    """Return rows and counts of an entry; None if it is not there or damaged, which its readers tell."""
    try:
        with open(entry_file, "rb") as handle:  # noqa: PTH123 - there may be 10,000, and paths take half the time
            entry = json.loads(handle.read())
        return {
            "rows": int(entry["rows"]),
            "counts": Counter({k: int(v) for k, v in entry["counts"].items()}),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def count_stages(manifests: Manifests, campaign: Campaign) -> list[Stage]:
    """Return the stages in the order in which data flow, with what is on file.

    What jobs under way have done is not.
    """
    structures = manifests.entry("structures")
    counts: Counts = structures["counts"] if structures else {}
    explore, snapshots = _explore(manifests, counts)
    return [
        _structures(manifests, counts),
        explore,
        _encode(manifests, counts, snapshots),
        _of_groups("select", manifests, counts, OF_GROUPS),
        _atoms(manifests),
        _label(manifests, campaign),
        _dataset(manifests, campaign),
        *([_train(manifests, campaign)] if campaign.train else []),
        *([_compare(manifests, campaign.compare)] if campaign.compare else []),
        *([_benchmark(manifests, campaign)] if campaign.benchmark else []),
        *([_of_groups("round", manifests, counts, ["measure_disagreement"])] if campaign.round else []),
        _steps("report", manifests),
    ]


def count_picks(manifests: Manifests, campaign: Campaign) -> list[Account]:
    """Return what became of the picks at each level so far; empty before there are picks."""
    selection = manifests.entry("selection")
    if selection is None:
        return []
    found = manifests.of_batches("labels", manifests.finished("label_batch", campaign.label_batches))
    accounts = []
    for level in campaign.label.levels:
        verdicts = manifests.of_level("dataset", level) + manifests.of_level("quarantine", level)
        labelled, failed = found[f"labelled_{level}"], found[f"failed_{level}"]
        # a dataset that was collected from other labels than those that are there tells of the past
        known = dict(verdicts) if labelled and sum(verdicts.values()) == labelled else {LABELLED: labelled}
        accounts.append(Account(level, selection["rows"], known, failed={"": failed} if failed else {}))
    return accounts


def _structures(manifests: Manifests, counts: Counts) -> Stage:
    stage = Stage("structures", "crystals", batches=1)
    if counts:
        stage.total, stage.done, stage.failed = (
            counts[name] for name in ("sources_read", "accepted", "failed")
        )
        stage.reasons = _reasons(manifests.entry("structure_failures"))
        stage.batches_done = 1
    return stage


def _explore(manifests: Manifests, counts: Counts) -> tuple[Stage, int | None]:
    """Return the stage, and the number of snapshots once all are there."""
    stage = Stage("explore", "trajectories", counts.get("trajectories"), batches=counts.get("batches"))
    finished = manifests.finished("run_md", stage.batches)
    found = manifests.of_batches("snapshots", finished)
    stage.batches_done = len(finished)
    stage.done, stage.failed = found["trajectories_finished"], found["trajectories_failed"]
    if found["trajectories_failed"] or found["equilibrium_failed"]:
        stage.reasons = _pick_reasons(manifests.of_batches("explore_failures", finished))
    return stage, found["rows"] if len(finished) == stage.batches else None


def _encode(manifests: Manifests, counts: Counts, snapshots: int | None) -> Stage:
    stage = Stage("encode", "snapshots", snapshots, batches=counts.get("batches"))
    finished = manifests.finished("encode_snapshots", stage.batches)
    stage.batches_done = len(finished)
    stage.done = manifests.of_batches("features", finished)["rows"]
    return stage


def _label(manifests: Manifests, campaign: Campaign) -> Stage:
    levels = campaign.label.levels
    batches = campaign.label_batches
    selection = manifests.entry("selection")
    stage = Stage("label", "labels", selection["rows"] * len(levels) if selection else None, batches=batches)
    finished = manifests.finished("label_batch", batches)
    found = manifests.of_batches("labels", finished)
    quarantined, failed, labelled = (
        sum(found[f"{what}_{level}"] for level in levels) for what in ("quarantined", "failed", "labelled")
    )
    stage.batches_done = len(finished)
    stage.done, stage.failed = labelled - quarantined, failed + quarantined
    if failed:
        stage.reasons = _pick_reasons(manifests.of_batches("label_failures", finished))
    if quarantined:
        stage.reasons[FailureReason.QUARANTINED.value] = quarantined
    return stage


def _atoms(manifests: Manifests) -> Stage:
    stage = Stage("atoms", "labels", batches=1)
    entry = manifests.entry("atoms")
    if entry:
        failures = manifests.entry("atom_failures")
        # atoms that a level never has are neither wanted nor failed
        never = failures["counts"].get(FailureReason.MISSING_REFERENCE_ATOM, 0) if failures else 0
        stage.total, stage.failed = entry["counts"]["wanted"] - never, entry["counts"]["failed"] - never
        stage.done, stage.batches_done = entry["rows"], 1
        stage.reasons = _reasons(failures)
        stage.reasons.pop(FailureReason.MISSING_REFERENCE_ATOM.value, None)
    return stage


def _dataset(manifests: Manifests, campaign: Campaign) -> Stage:
    """Count the steps of dataset: some once, one for each format that is exported."""
    stage = _steps("dataset", manifests)
    formats = campaign.dataset.exports.formats
    stage.total = stage.batches = len(RULES["dataset"]) - 1 + len(formats)
    stage.done = stage.batches_done = stage.done + sum(
        manifests.has_results("export_dataset", name) for name in formats
    )
    return stage


def _train(manifests: Manifests, campaign: Campaign) -> Stage:
    seeds = campaign.train.seeds if campaign.train else []
    done = sum(manifests.has_results("train_potential", f"{campaign.train_level}-{seed}") for seed in seeds)
    return Stage("train", "potentials", len(seeds), done, batches=len(seeds), batches_done=done)


def _compare(manifests: Manifests, compare: Compare) -> Stage:
    done = sum(
        manifests.has_results("train_arm", f"{policy}-{share:g}-{seed}")
        for policy, share, seed in compare.runs
    )
    return Stage(
        "compare", "potentials", len(compare.runs), done, batches=len(compare.runs), batches_done=done
    )


def _benchmark(manifests: Manifests, campaign: Campaign) -> Stage:
    """Count the shares of structures of every property of every potential."""
    shares = benchmark_shares(campaign)
    done = sum(manifests.has_results("run_benchmark", "-".join(share)) for share in shares)
    return Stage("benchmark", "shares", len(shares), done, batches=len(shares), batches_done=done)


def _steps(name: str, manifests: Manifests) -> Stage:
    rules = RULES[name]
    done = sum(manifests.has_results(rule, "") for rule in rules)
    return Stage(name, "steps", len(rules), done, batches=len(rules), batches_done=done)


def _of_groups(name: str, manifests: Manifests, counts: Counts, of_groups: Collection[str]) -> Stage:
    """Count the steps of a stage: some once, those of ``of_groups`` for each group of batches."""
    stage = _steps(name, manifests)
    if not counts:
        stage.total = stage.batches = None
        return stage
    names = groups(counts["batches"])
    stage.total = stage.batches = len(RULES[name]) + len(of_groups) * (len(names) - 1)
    stage.done = stage.batches_done = stage.done + sum(
        manifests.has_results(rule, group) for rule in of_groups for group in names
    )
    return stage


def _reasons(entry: dict[str, Any] | None) -> Counts:
    return _pick_reasons(entry["counts"]) if entry else {}


def _pick_reasons(counts: Counts) -> Counts:
    return {reason.value: counts[reason] for reason in FailureReason if counts.get(reason)}
