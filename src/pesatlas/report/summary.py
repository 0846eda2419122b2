"""The summary on the terminal at the end of a run."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pesatlas.campaign.account import Account, accounts, exported_verdicts, flagged_sentence
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.layout import FAILURES, below, folder_of, is_file_of, within
from pesatlas.campaign.so_far import UNFINISHED, read_manifest_so_far
from pesatlas.campaign.splits import split_remarks
from pesatlas.campaign.strain_test import strain_caveats, strain_sentence, strain_tests
from pesatlas.report.reader_warnings import doubts
from pesatlas.report.texts import advice_text, read_advice
from pesatlas.tables import FailureReason, read_table

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
                # no loss, as in tables.failures.LOST
                if row["reason"] != FailureReason.MISSING_REFERENCE_ATOM
            )
    return found


def summary(results: Path) -> RenderableType:
    """Return the summary of the campaign below ``results``, to be printed by rich.

    It fits into 80 columns.
    """
    manifest = read_manifest_so_far(results)
    missing = manifest.get(UNFINISHED)
    advice = read_advice(below(results, "advice"))
    found = accounts(results, manifest)
    verdicts = exported_verdicts(manifest)
    doubted = doubts(below(results, "structures"), counted(manifest)["structures.accepted"])
    parts: list[RenderableType] = [
        f"[bold]Campaign {manifest['campaign']}[/bold]",
        *([f"[yellow]It has not finished.[/yellow] Not there yet: {'; '.join(missing)}."] if missing else []),
        _funnel(manifest, found),
        *([f"[yellow]{escape(flagged)}[/yellow]"] if (flagged := flagged_sentence(found, verdicts)) else []),
        *([f"[yellow]Warning: {'; '.join(warned)}.[/yellow]"] if (warned := caveats(manifest)) else []),
        *([f"[yellow]{escape(doubted)}[/yellow]"] if doubted else []),
        *(f"[yellow]{escape(remark)}[/yellow]" for remark in split_remarks(manifest)),
        "",
        *_failures(losses(results, manifest)),
        *([] if missing else _without_atoms(manifest)),
        *([] if missing else _strain(results, manifest)),
        *(["", f"[bold]Round {advice['round']}[/bold]: {advice_text(advice)}"] if advice else []),
        "",
        _places(results, manifest),
    ]
    return Group(*parts)


def summary_facts(results: Path) -> dict[str, Any]:
    """Return the numbers of the summary, for programs."""
    manifest = read_manifest_so_far(results)
    tests = {} if UNFINISHED in manifest else strain_tests(results, manifest)
    return {
        "campaign": manifest["campaign"],
        "unfinished": manifest.get(UNFINISHED, []),
        "counts": counted(manifest),
        "levels": [
            {
                "level": each.level,
                "selected": each.selected,
                "verdicts": dict(each.verdicts),
                "rules": {verdict: dict(rules) for verdict, rules in each.rules.items()},
                "failed": dict(each.failed),
                "pending": each.pending,
            }
            for each in accounts(results, manifest)
        ],
        "strain_tests": {level: strain_sentence(test) for level, test in tests.items()},
        "failures": [
            {"stage": stage, "level": level, "reason": reason, "rows": rows}
            for (stage, level, reason), rows in losses(results, manifest).items()
        ],
    }


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))


def _explored(counts: dict[str, int], so_far: str) -> list[tuple[str, int, str]]:
    """Return the rows of exploration, which a release does not have."""
    finished, equilibrium = counts["snapshots.trajectories_finished"], counts["snapshots.equilibrium"]
    return [
        ("trajectories", finished, f"of {counts['snapshots.trajectories']}{so_far}"),
        ("snapshots", counts["snapshots.rows"], f"of which {equilibrium} equilibrium crystals"),
    ]


def _funnel(manifest: dict[str, Any], found: list[Account]) -> Table:
    """Return how many there were from stage to stage, and what became of the picks at each level."""
    counts = counted(manifest)
    refused = counts["structures.cells_refused"]
    so_far = " in the batches so far" if UNFINISHED in manifest else ""
    rows = [
        ("structures", counts["structures.accepted"], f"of {counts['structures.sources_read']} read"),
        (
            "cells",
            counts["structures.cells"],
            f"{refused} refused by domains" if refused else "unit cells and supercells",
        ),
        *(_explored(counts, so_far) if counts["snapshots.rows"] else []),
        ("selected", counts["selection.rows"], f"of {counts['selection.pool']}"),
    ]
    verdicts = exported_verdicts(manifest)
    rows += [each.row(verdicts) for each in found]
    table = _grid()
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column()
    for name, count, about in rows:
        table.add_row(name, str(count), about)
    return table


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
    if UNFINISHED not in manifest:
        lines.append(("check it", f"pesatlas verify {results}"))
    table = _grid()
    for name, text in lines:
        table.add_row(f"[dim]{name}[/dim]", escape(text))
    return table


def _without_atoms(manifest: dict[str, Any]) -> list[str]:
    """Return a line on levels without isolated atoms, which only leaves columns empty."""
    atoms = manifest.get("references", {}).get("atoms_eV", {})
    levels = [level for level in manifest["levels"] if not atoms.get(level)]
    if not levels:
        return []
    return [f"[dim]No isolated atoms at {', '.join(levels)}: cohesive energies are empty there.[/dim]"]


def _strain(results: Path, manifest: dict[str, Any]) -> list[str]:
    """Return a line on the strain test of each level, one for all that were not tested."""
    tests = strain_tests(results, manifest)
    untested = [level for level, test in tests.items() if test is None]
    lines = [(level, strain_sentence(test)) for level, test in tests.items() if test is not None]
    lines += [(", ".join(untested), strain_sentence(None))] if untested else []
    warnings = [f"[yellow]Warning: {each}.[/yellow]" for each in strain_caveats(tests)]
    return [*(f"[dim]At {levels}, {escape(sentence)}.[/dim]" for levels, sentence in lines), *warnings]


def _failures(found: Counter[tuple[str, str, str]]) -> list[RenderableType]:
    if not found:
        return ["Nothing failed."]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("lost in", "level", "reason"):
        table.add_column(heading)
    table.add_column("count", justify="right", style="red")
    for (stage, level, reason), rows in sorted(found.items()):
        table.add_row(stage, level, reason, str(rows))
    parts: list[RenderableType] = [table, "Each with its reason and what to do: `pesatlas failures`."]
    if any(stage == "label" for stage, _, _ in found):
        parts.append(
            "Failures of the machine (timeout, crashed) are worth another attempt: `pesatlas retry`."
        )
    return parts
