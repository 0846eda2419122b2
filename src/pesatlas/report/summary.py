"""The summary on the terminal at the end of a run."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import FAILURES, below, folder_of, is_file_of, within
from pesatlas.campaign.splits import split_remarks
from pesatlas.report.reader_warnings import doubts
from pesatlas.report.texts import advice_text, read_advice
from pesatlas.tables import read_table

ATOMS = "isolated atoms"


def counted(manifest: dict[str, Any]) -> dict[str, int]:
    """Sum up the counts of every stage over its files: ``table.count`` and ``table.rows``."""
    total: Counter[str] = Counter()
    for entry in manifest["files"]:
        total[f"{entry['table']}.rows"] += entry["rows"]
        for name, count in entry["counts"].items():
            total[f"{entry['table']}.{name}"] += count
    return total


def losses(results: Path, manifest: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Failures by (stage, level or '-', reason).

    Those of isolated atoms, which are no picks, are a stage of their own.
    """
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in manifest["files"]:
        if entry["table"] == "failures" and entry["rows"]:
            rows = read_table(results / entry["file"], "failures", ["stage", "level", "reason"])
            found.update(
                (
                    ATOMS if is_file_of(entry["file"], "atom_failures") else row["stage"],
                    row["level"] or "-",
                    row["reason"],
                )
                for row in rows.to_pylist()
            )
    return found


def summary(results: Path) -> RenderableType:
    """Return the summary of the campaign below ``results``, to be printed by rich.

    It fits into 80 columns.
    """
    manifest = read_campaign_manifest(results)
    found = read_advice(below(results, "advice"))
    doubted = doubts(below(results, "structures"), counted(manifest)["structures.accepted"])
    parts: list[RenderableType] = [
        f"[bold]Campaign {manifest['campaign']}[/bold]",
        _funnel(manifest),
        *([f"[yellow]Warning: {quality_note(manifest)[2:-1]}.[/yellow]"] if quality_note(manifest) else []),
        *([f"[yellow]{escape(doubted)}[/yellow]"] if doubted else []),
        *(f"[yellow]{escape(remark)}[/yellow]" for remark in split_remarks(manifest)),
        "",
        *_failures(losses(results, manifest)),
        *(["", f"[bold]Round {found['round']}[/bold]: {advice_text(found)}"] if found else []),
        "",
        _places(results, manifest),
    ]
    return Group(*parts)


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))


def _funnel(manifest: dict[str, Any]) -> Table:
    """Return how many there were from stage to stage."""
    counts = counted(manifest)
    refused = counts["structures.cells_refused"]
    rows = [
        ("structures", counts["structures.accepted"], f"of {counts['structures.sources_read']} read"),
        (
            "cells",
            counts["structures.cells"],
            f"{refused} refused by domains" if refused else "unit cells and supercells",
        ),
        (
            "trajectories",
            counts["snapshots.trajectories_finished"],
            f"of {counts['snapshots.trajectories']}",
        ),
        (
            "snapshots",
            counts["snapshots.rows"],
            f"of which {counts['snapshots.equilibrium']} equilibrium crystals",
        ),
        ("selected", counts["selection.rows"], f"of {counts['selection.pool']}"),
    ]
    for level in manifest["levels"]:
        made = sum(e["rows"] for e in manifest["files"] if _is_dataset(e, level))
        of_level = counts_of(manifest, level)
        lost = {
            "flagged": of_level["flagged"],
            "in quarantine": of_level["quarantined"],
            "failed": counts[f"labels.failed_{level}"],
        }
        told = ", ".join(f"{n} {what}" for what, n in lost.items() if n)
        rows.append(
            (
                f"dataset {level}",
                made,
                f"of {counts['selection.rows']} selected" + (f"; {told}" if told else ""),
            )
        )
    table = _grid()
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column()
    for name, count, about in rows:
        table.add_row(name, str(count), about)
    return table


def _is_dataset(entry: dict[str, Any], level: str) -> bool:
    return is_file_of(entry["file"], "dataset", level=level)


def counts_of(manifest: dict[str, Any], level: str) -> Counter[str]:
    """Sum up what the dataset of one level counts: its verdicts."""
    total: Counter[str] = Counter()
    for entry in manifest["files"]:
        if _is_dataset(entry, level):
            total.update(entry["counts"])
    return total


def _places(results: Path, manifest: dict[str, Any]) -> Table:
    """Return where things are, as far as they are there, and what to do with them."""
    formats = sorted(path.parent.name for path in results.glob(within("export", format="*")))
    lines = [("dataset", f"{results / folder_of('dataset', level=level)}/") for level in manifest["levels"]]
    lines += [("to train on", f"{results / folder_of('export')}/: {', '.join(formats)}")] if formats else []
    for name, file in (
        ("card", within("card_page")),
        ("report", within("report")),
        ("failures", f"{FAILURES}/"),
    ):
        if (results / file).exists():
            lines.append((name, f"{results}/{file}"))
    lines.append(("check it", f"pesatlas verify {results}"))
    table = _grid()
    for name, text in lines:
        table.add_row(f"[dim]{name}[/dim]", escape(text))
    return table


def quality_note(manifest: dict[str, Any]) -> str:
    """Return a warning on the labels, if there is one."""
    found = caveats(manifest)
    return f" ({'; '.join(found)})" if found else ""


def _failures(found: Counter[tuple[str, str, str]]) -> list[RenderableType]:
    if not found:
        return ["Nothing failed."]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("lost in", "level", "reason"):
        table.add_column(heading)
    table.add_column("count", justify="right", style="red")
    for (stage, level, reason), rows in sorted(found.items()):
        table.add_row(stage, level, reason, str(rows))
    parts: list[RenderableType] = [table]
    if any(stage == "label" for stage, _, _ in found):
        parts.append("What the machine did (timeout, crashed) is worth another try: `pesatlas retry`.")
    return parts
