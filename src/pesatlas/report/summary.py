"""The summary at the end of a run: what came of the campaign, on one screen."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from pesatlas.cautions import cautions
from pesatlas.errors import UserError
from pesatlas.tables import read_table


def load_manifest(results: Path) -> dict[str, Any]:
    """Read the manifest of a finished campaign.

    Raises
    ------
    UserError
        If there is none.
    """
    path = results / "manifest.json"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: the campaign has not finished. `pesatlas run` carries on where it stopped."
        )
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def counted(manifest: dict[str, Any]) -> dict[str, int]:
    """Sum up the counts of every stage over its files: ``table.count`` and ``table.rows``."""
    total: Counter[str] = Counter()
    for entry in manifest["files"]:
        total[f"{entry['table']}.rows"] += entry["rows"]
        for name, count in entry["counts"].items():
            total[f"{entry['table']}.{name}"] += count
    return total


def losses(results: Path, manifest: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Failures by (stage, level or '-', reason)."""
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in manifest["files"]:
        if entry["table"] == "failures" and entry["rows"]:
            rows = read_table(results / entry["file"], "failures", ["stage", "level", "reason"])
            found.update((row["stage"], row["level"] or "-", row["reason"]) for row in rows.to_pylist())
    return found


def summary(results: Path) -> RenderableType:
    """Return the summary of the campaign below ``results``, to be printed by rich."""
    manifest = load_manifest(results)
    counts = counted(manifest)
    funnel = Table(title=f"Campaign {manifest['campaign']}", title_justify="left", show_header=False)
    funnel.add_column(justify="left")
    funnel.add_column(justify="right", style="bold")
    funnel.add_column()
    funnel.add_row(
        "structures", f"{counts['structures.accepted']}", f"of {counts['structures.sources_read']} read"
    )
    funnel.add_row("cells", f"{counts['structures.cells']}", "unit cells and supercells")
    funnel.add_row(
        "trajectories",
        f"{counts['snapshots.trajectories_finished']}",
        f"of {counts['snapshots.trajectories']}",
    )
    funnel.add_row(
        "snapshots",
        f"{counts['snapshots.rows']}",
        f"of which {counts['snapshots.equilibrium']} equilibrium crystals",
    )
    funnel.add_row("selected", f"{counts['selection.rows']}", f"from {counts['selection.pool']}")
    datasets = {
        entry["file"].split("/")[1]: entry["rows"]
        for entry in manifest["files"]
        if entry["file"].startswith("dataset/")
    }
    note = quality_note(manifest)
    for level, rows in datasets.items():
        labelled = counts[f"labels.labelled_{level}"]
        funnel.add_row(f"dataset {level}", f"{rows}", f"of {labelled} calculated{note}")
    if counts["dataset.flagged"]:
        funnel.add_row("of them flagged", f"{counts['dataset.flagged']}", "by a rule, see verdict_rules")
    parts: list[RenderableType] = [funnel, _failures(losses(results, manifest))]
    where = Table.grid(padding=(0, 2))
    for level in datasets:
        where.add_row("dataset", f"{results / 'dataset' / level}/")
    if any((results / "exports").glob("*/export.json")):
        where.add_row("to train on", f"{results / 'exports'}/")
    where.add_row("report", str(results / "report.html"))
    where.add_row("check it", f"pesatlas verify {results}")
    return Group(*parts, where)


def quality_note(manifest: dict[str, Any]) -> str:
    """Return a remark on what to beware of in the labels, if anything."""
    found = cautions(manifest)
    return f" ({'; '.join(found)})" if found else ""


def _failures(found: Counter[tuple[str, str, str]]) -> RenderableType:
    if not found:
        return "Nothing failed."
    table = Table(title="What did not become a row", title_justify="left")
    for heading in ("stage", "level", "reason"):
        table.add_column(heading)
    table.add_column("rows", justify="right")
    for (stage, level, reason), rows in sorted(found.items()):
        table.add_row(stage, level, reason, str(rows))
    return table
