"""Build the report: one HTML file that needs no network."""

import html
import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pesatlas.report import figures
from pesatlas.report.summary import counted, losses, quality_note
from pesatlas.tables.atomic import write_text
from pesatlas.tables.manifest import read_campaign_manifest

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html")


def build_report(results: Path, report: Path) -> None:
    """Write ``report`` from the tables below ``results``: what came out, what it covers, whether to trust it."""
    manifest = read_campaign_manifest(results)
    counts = counted(manifest)
    levels = manifest["levels"]
    cards = [
        _card("Picks on the map of structures", figures.pc_map, results),
        _card("Forces", figures.force_histogram, results, levels),
        _card("Energies", figures.cohesive_histogram, results, levels),
        _card("Potential against DFT", figures.energy_parity, results, levels),
    ]
    if len(levels) > 1:
        cards.append(_card("One level against the other", figures.level_parity, results, levels))
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        name=html.escape(manifest["campaign"]),
        note=html.escape(quality_note(manifest).strip(" ()")),
        version=html.escape(manifest["code_version"]),
        funnel=_table(("stage", "rows", "of"), _funnel(counts, manifest)),
        losses=_losses(results, manifest),
        sums=_table(("what", "total", "parts"), [_sum(each) for each in manifest["sums"]]),
        figures="\n".join(cards),
        configuration=html.escape(json.dumps(manifest["configuration"], indent=1)),
    )
    write_text(report, page)
    log.info("%s: %.1f MB", report, report.stat().st_size / 1e6)


def _funnel(counts: dict[str, int], manifest: dict[str, Any]) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = [
        ("structures", counts["structures.accepted"], f"{counts['structures.sources_read']} read"),
        ("cells", counts["structures.cells"], "unit cells and supercells"),
        (
            "trajectories",
            counts["snapshots.trajectories_finished"],
            f"{counts['snapshots.trajectories']} started",
        ),
        (
            "snapshots",
            counts["snapshots.rows"],
            f"with {counts['snapshots.equilibrium']} equilibrium crystals",
        ),
        ("selected", counts["selection.rows"], f"{counts['selection.pool']} in the pool"),
    ]
    accepted = {
        entry["file"].split("/")[1]: entry["rows"]
        for entry in manifest["files"]
        if entry["file"].startswith("dataset/")
    }
    rows += [
        (f"labels at {level}", n, f"{counts[f'labels.labelled_{level}']} calculated")
        for level, n in accepted.items()
    ]
    return rows


def _losses(results: Path, manifest: dict[str, Any]) -> str:
    found = losses(results, manifest)
    if not found:
        return "<p>Nothing failed.</p>"
    return _table(("stage", "level", "reason", "rows"), [(*key, n) for key, n in sorted(found.items())])


def _sum(each: dict[str, Any]) -> Sequence[object]:
    parts = " + ".join(f"{count} {name}" for name, count in each["parts"].items())
    return each["name"], each["total"], f"{'=' if each['closes'] else '≠'} {parts}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _card(title: str, draw: Callable[..., str], *arguments: Any) -> str:
    """Return a figure as inline SVG with its caption; what cannot be drawn says why."""
    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    caption = draw(figure.subplots(), *arguments)
    buffer = io.StringIO()
    # Text stays text: searchable, readable by screen readers; ids are salted so that figures do not share them.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    return (
        f"<figure><h3>{html.escape(title)}</h3>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
