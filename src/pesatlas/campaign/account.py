"""The account of the picks at each level: exported, flagged, quarantined, failed or pending.

Summary, status, export, card and report all give it, so that they cannot disagree.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pesatlas.campaign.layout import is_file_of
from pesatlas.campaign.so_far import UNFINISHED
from pesatlas.tables import read_table
from pesatlas.tables.label_verdicts import ACCEPTED, FLAGGED, QUARANTINED

LABELLED = "labelled"
"""Stands for the verdict of labels that no rule has seen yet."""


@dataclass(frozen=True)
class Account:
    """The account of one level: what became of its picks.

    Attributes
    ----------
    level : reference level
    selected : picks
    verdicts : labels by verdict: accepted, flagged, quarantined; ``labelled`` before the dataset is collected
    rules : how many labels each rule flagged or quarantined, by verdict; a label may break several
    failed : calculations without a label, by reason; '' where reasons are not known by level
    """

    level: str
    selected: int
    verdicts: Mapping[str, int]
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Picks that have not been calculated."""
        return self.selected - sum(self.verdicts.values()) - sum(self.failed.values())

    def exported(self, verdicts: Collection[str]) -> int:
        """Return how many rows an export of these verdicts has."""
        return sum(n for verdict, n in self.verdicts.items() if verdict in verdicts)

    def parts(self, verdicts: Collection[str]) -> dict[str, int]:
        """Return the parts that make up ``selected``, by what became of them.

        Parameters
        ----------
        verdicts : those that an export takes; the others stand as flagged and quarantined
        """
        known = {} if LABELLED in self.verdicts else {"exported": self.exported(verdicts)}
        left = {name: n for name, n in self.verdicts.items() if name not in verdicts}
        return known | left | {"failed": sum(self.failed.values()), "pending": self.pending}

    def sentence(self, verdicts: Collection[str]) -> str:
        """Return the sum in words, with the rules and reasons behind its parts, without parts of zero."""
        parts = self.parts(verdicts)
        told = [self._part(name, count) for name, count in parts.items() if count or name == "exported"]
        return f"{self.selected:,} selected = {' + '.join(told)}"

    def row(self, verdicts: Collection[str]) -> tuple[str, int, str]:
        """Return a row of a table: what is counted, how many there are, and what became of the others.

        ``("exported pbe", 3, "of 24 selected: 20 flagged (force 20), 1 failed")``; before the dataset is
        collected, labels are counted.
        """
        parts = self.parts(verdicts)
        name = LABELLED if LABELLED in parts else "exported"
        count = parts.pop(name)
        told = ", ".join(self._part(other, n) for other, n in parts.items() if n)
        return f"{name} {self.level}", count, f"of {self.selected:,} selected" + (f": {told}" if told else "")

    def _part(self, name: str, count: int) -> str:
        why = self.failed if name == "failed" else self.rules.get(name, {})
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in sorted(why.items(), key=lambda each: -each[1]) if reason
        )
        return f"{count:,} {name}" + (f" ({reasons})" if reasons and count else "")


def exported_verdicts(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the verdicts of the rows that the campaign exports."""
    exports = manifest["configuration"].get("dataset", {}).get("exports", {})
    return tuple(exports.get("verdicts", (ACCEPTED,)))


def flagged_sentence(found: Sequence[Account], verdicts: Collection[str]) -> str:
    """Return a sentence on flagged rows that an export leaves out, and how to take them; empty if none."""
    if FLAGGED in verdicts or not (flagged := sum(each.verdicts.get(FLAGGED, 0) for each in found)):
        return ""
    return (
        f"Not exported: {flagged:,} flagged labels. They are in the dataset; verdict_rules has the rules "
        "that flagged them. To take them: `pesatlas export FORMAT --flagged --to FOLDER`, or "
        "dataset.exports.verdicts: [accepted, flagged] in config.yaml; to change a limit: dataset.rules."
    )


def accounts(results: Path, manifest: Mapping[str, Any]) -> list[Account]:
    """Return the account of each level of a campaign, in the order of its levels.

    Only the column of triggered rules is read, of flagged and quarantined rows.

    Parameters
    ----------
    results : folder of a campaign's results, or of a release
    manifest : its ``manifest.json``, or one of the tables so far
    """
    files = manifest["files"]
    selected = sum(entry["rows"] for entry in files if entry["table"] == "selection")
    failed: dict[str, Counter[str]] = {level: Counter() for level in manifest["levels"]}
    for entry in files:
        if is_file_of(entry["file"], "label_failures") and entry["rows"]:
            for row in read_table(results / entry["file"], "failures", ["level", "reason"]).to_pylist():
                failed[row["level"]][row["reason"]] += 1
    found = []
    for level in manifest["levels"]:
        of_level = [
            entry
            for entry in files
            if is_file_of(entry["file"], "dataset", level=level)
            or is_file_of(entry["file"], "quarantine", level=level)
        ]
        verdicts: Counter[str] = Counter()
        rules: dict[str, Counter[str]] = {FLAGGED: Counter(), QUARANTINED: Counter()}
        for entry in of_level:
            verdicts.update(entry["counts"])
            if entry["counts"].get(FLAGGED) or entry["counts"].get(QUARANTINED):
                _count_rules(results / entry["file"], rules)
        if UNFINISHED in manifest:
            labels = (entry["counts"] for entry in files if entry["table"] == "labels")
            labelled = sum(counts.get(f"labelled_{level}", 0) for counts in labels)
            if sum(verdicts.values()) != labelled:  # none yet, or collected from other labels
                verdicts = Counter({LABELLED: labelled})
        found.append(Account(level, selected, verdicts, rules, failed[level]))
    return found


def _count_rules(path: Path, rules: Mapping[str, Counter[str]]) -> None:
    """Add up the rules that the rows of a table triggered, by their verdict."""
    with pq.ParquetFile(path) as file:
        for piece in file.iter_batches(columns=["verdict", "verdict_rules"]):
            for verdict, triggered in zip(*(column.to_pylist() for column in piece.columns), strict=True):
                if verdict in rules:
                    # a rule once a row, though the backend may name several reasons
                    rules[verdict].update({each["rule"] for each in json.loads(triggered)})
