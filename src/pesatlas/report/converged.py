"""Verdict on k-points and cut-off of the labels, from the series of `pesatlas convergence`."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.convergence import CHANGES, SERIES, number_text, read_convergence
from pesatlas.campaign.layout import below
from pesatlas.report.report_verdict import Mark, Verdict
from pesatlas.tables import read_table

_QUESTION = "Are the labels converged with k-points and cut-off?"
_MARKS: dict[str, Mark] = {"converged": "fine", "not converged": "look", "undecided": "not known"}
_HOW = (
    "A label that is not converged in its own self-consistency is no row. Whether finer settings would "
    "change it is "
    "another question, which only a series of calculations answers: pesatlas convergence."
)


def converged(results: Path, manifest: Mapping[str, Any]) -> list[Verdict]:
    """Return a verdict for each level with a series, and one for all others together."""
    found, without = [], []
    for level in manifest["levels"]:
        measured = _measured(results, level, manifest)
        if measured is None:
            without.append(level)
        else:
            found.append(measured)
    return [*found, *([_not_measured(without, manifest)] if without else [])]


def _measured(results: Path, level: str, manifest: Mapping[str, Any]) -> Verdict | None:
    verdict = read_convergence(results, level)
    if verdict is None:
        return None
    rows = read_table(below(results, "convergence", level=level), "convergence").to_pylist()
    # settings may have changed since the series was made
    own = {row["level_fingerprint"] for row in rows if row["is_level"]}
    if not own & set(manifest.get("surfaces", {}).get(level, {}).get("fingerprints", [])):
        return Verdict(
            _QUESTION,
            "not known",
            f"Not measured with these settings: the series at {level} is of others. Make it again: pesatlas "
            "convergence.",
        )
    figure = below(results, "convergence_figure", level=level)
    return Verdict(
        _QUESTION,
        _MARKS[verdict.verdict],
        verdict.sentence,
        "Changes from the densest point of each series; those of cut-off and k-points are added without "
        "signs.",
        ("structure", "series", "cut-off (eV)", "k-points", *(unit for _, unit in CHANGES.values()), "level"),
        [
            (
                row["snapshot_id"],
                SERIES[row["series"]],
                f"{row['cutoff_eV']:g}",
                "x".join(map(str, row["kpoints"])),
                *("-" if row[name] is None else number_text(row[name]) for name in CHANGES),
                "this" if row["is_level"] else "",
            )
            for row in rows
        ],
        f"data:image/svg+xml;base64,{base64.b64encode(figure.read_bytes()).decode()}"
        if figure.is_file()
        else "",
    )


def _not_measured(levels: list[str], manifest: Mapping[str, Any]) -> Verdict:
    remarks = caveats(dict(manifest))
    mark: Mark = "not known"
    which = "" if len(levels) == len(manifest["levels"]) else f" at {' and '.join(levels)}"
    sentence = f"Not measured{which}: pesatlas convergence."
    if any("NOT DFT" in remark for remark in remarks):
        sentence = "Not measured: labels of a potential have neither."
    elif remarks:
        mark, sentence = "look", f"No: {'; '.join(remarks)}."
    rows = [
        (level, name, _short(value))
        for level in levels
        for name, value in (
            (manifest.get("surfaces", {}).get(level, {}).get("definition") or {}).get("settings", {})
        ).items()
        if "cutoff" in name.lower() or "kpoint" in name.lower() or name in {"ENCUT", "KSPACING", "width_eV"}
    ]
    return Verdict(_QUESTION, mark, sentence, _HOW, ("level", "setting", "value"), rows)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)
