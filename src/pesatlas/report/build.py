"""Build the report: one offline HTML file, and its figures as pictures."""

import importlib.resources
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pesatlas.campaign.account import Account, accounts, exported_verdicts
from pesatlas.campaign.dataset_state import identifier
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import RESULTS, folder_of, is_file_of, path_of
from pesatlas.report.benchmark_results import benchmark_results
from pesatlas.report.cost import Cost, cost, costs, next_thousand
from pesatlas.report.coverage import coverage
from pesatlas.report.domains import of_domains
from pesatlas.report.energetics import energetics
from pesatlas.report.figure import Data, Figure, picture, plain, theme
from pesatlas.report.figure_names import (
    COMPARED_SECTION,
    FIGURES,
    ROUND_SECTION,
    SECTIONS,
    TRAINED_SECTION,
)
from pesatlas.report.figure_rows import Files, Reader, corrections, rules_triggered
from pesatlas.report.frame_map import dynamics, elements, map_frames
from pesatlas.report.funnel import Step, funnel
from pesatlas.report.policy_comparison import Compared
from pesatlas.report.reader_warnings import doubts
from pesatlas.report.reliability import reliability_data, reliability_figures, round_table
from pesatlas.report.summary import losses, quality_note
from pesatlas.report.texts import advice_text, format_hours, read_advice
from pesatlas.report.trained import Trained
from pesatlas.report.trust import trust
from pesatlas.storage.atomic import atomic_path, write_text
from pesatlas.tables import read_table
from pesatlas.tables.verdicts import FLAGGED

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
_TRANSIENT = {"crashed", "timeout", "out_of_memory"}
_TABLE_ROWS = 20


def build_report(files: Files, report: Path, pictures: Path) -> None:
    """Write ``report``, and ``pictures/NAME.png`` of each figure.

    Parameters
    ----------
    files : what is shown, by its names in ``campaign.layout``, as the rule declares it: those of
        ``Results.files``, ``parity``, and what not every campaign has (cards of potentials that were trained
        on the dataset, ``benchmark_summary``, ``comparison`` and ``contrasts`` of policies, ``advice`` of a
        round after the first). Failures are in the tables that the manifest names, and times in the logs of
        the campaign.

    Raises
    ------
    UserError
        If the campaign has not finished.
    """
    results = files["manifest"][0].parent
    manifest = read_campaign_manifest(results)
    reader = Reader(files, manifest)
    lost = losses(results, manifest)
    spent = costs(results.parent, manifest, [*files["labels"], *files["atoms"]])
    data, structures = _data(reader, lost, spent)
    figures = _figures(reader, data)
    sections = _sections(reader, figures, of_domains(results, manifest, data))
    added: list[tuple[Trained | Compared, dict[str, str]]] = []
    if cards := files.get("potential_card"):
        added.append((Trained([card.parent for card in cards]), TRAINED_SECTION))
    if compared := files.get("comparison"):
        added.append((Compared(*compared, *files["contrasts"]), COMPARED_SECTION))
    for part, title in added:
        data |= part.data()
        figures += (mine := part.figures(data))
        sections += _added(title, mine, [part.table()])
    found = next((read_advice(advice) for advice in files.get("advice", ())), None)
    if found is not None:
        (calibration,) = files["calibration"]
        data |= reliability_data(calibration)
        figures += (mine := reliability_figures(calibration, data))
        sections += _added(ROUND_SECTION, mine, [round_table(found)])
    steps = funnel(manifest, lost)
    (structures_table,), benchmark = files["structures"], files.get("benchmark_summary")
    context = {
        "head": _head(manifest, steps, lost, spent, accounts(results, manifest)),
        "funnel": steps,
        "doubts": doubts(structures_table, steps[0].kept),
        "sums": [each | {"parts": _parts(each)} for each in manifest["sums"]],
        "costs": [_cost_row(each) for each in spent],
        "sections": sections,
        "benchmark_results": benchmark_results(*benchmark) if benchmark else None,
        "filters": _filters(data, reader.levels),
        "advice": [
            *([{"text": advice_text(found), "command": ""}] if found else []),
            *_advice(data, steps, lost, spent),
        ],
        "configuration": json.dumps(manifest["configuration"], indent=1),
        "table": _table,
        "card": path_of("card_page"),
        "data": _json(_page(manifest["campaign"], data, figures, structures)),
        "style": Markup((PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        "script": _script((PAGE / "report.js").read_text(encoding="utf-8")),
        "vega": _script(_vega()),
        "chemiscope": _script(_chemiscope()),
    }
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8"))
    for figure in figures:
        with atomic_path(pictures / f"{figure.name}.png") as temporary:
            temporary.write_bytes(picture(figure, data))
    write_text(report, template.render(context))
    log.info("%s: %.1f MB, %d figures", report, report.stat().st_size / 1e6, len(figures))


def _data(
    reader: Reader, failures: Counter[tuple[str, str, str]], spent: Sequence[Cost]
) -> tuple[dict[str, Data], list[dict[str, Any]]]:
    """Read what all figures need, by name, and the structures of the map's points."""
    pool, total = reader.pool()
    frames, structures = map_frames(reader, pool, total)
    fill, gain = reader.quality()
    lost, lost_elements = reader.losses(failures)
    pairs = reader.pairs()
    hours = [
        (each.stage, each.jobs, of, value)
        for each in spent
        for of, value in (("cores", each.core_h), ("GPUs", each.gpu_h))
        if value
    ]
    columns = zip(*hours, strict=True) if hours else ([], [], [], [])
    return {
        "frames": frames,
        "md": dynamics(reader, pool, total),
        "elements": elements(reader, pool, total),
        "quality": fill,
        "gain": gain,
        "labels": reader.label_rows(),
        "atoms": reader.atoms(),
        "pairs": pairs,
        "offsets": reader.offsets(pairs),
        "losses": lost,
        "losses_by_element": lost_elements,
        **reader.parity(),
        "hours": Data(
            {
                name: list(values)
                for name, values in zip(("stage", "jobs", "of", "hours"), columns, strict=True)
            },
            len(hours),
            "times",
        ),
    }, structures


def _figures(reader: Reader, data: dict[str, Data]) -> list[Figure]:
    limits = {name: rule["limit"] for name, rule in reader.rules.items() if "limit" in rule}
    found = {
        figure.name: figure
        for figure in (
            *coverage(data, reader.levels),
            *energetics(data, reader.levels),
            *trust(data, reader.levels, limits),
            *cost(data, reader.levels),
        )
    }
    return [found[name] for name in FIGURES]


def _page(
    name: str, data: dict[str, Data], figures: Sequence[Figure], structures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the page's script is given."""
    return {
        "name": name,
        "tables": {
            key: {column: [plain(value) for value in values] for column, values in each.columns.items()}
            for key, each in data.items()
        },
        "figures": {
            figure.name: {"spec": figure.spec, "data": figure.data, "rows": len(data[figure.data])}
            for figure in figures
        },
        "themes": {"light": theme(dark=False), "dark": theme(dark=True)},
        "structures": structures,
    }


def _head(
    manifest: dict[str, Any],
    steps: Sequence[Step],
    lost: Counter[tuple[str, str, str]],
    spent: Sequence[Cost],
    found: Sequence[Account],
) -> dict[str, Any]:
    """Return what stands at the top: what it is, whether it worked, the numbers that people ask for first."""
    levels = manifest["levels"]
    rows = dict(zip(levels, steps[-len(levels) :], strict=True))
    whole = all(each["closes"] for each in manifest["sums"]) and all(step.closes for step in steps)
    failed = sum(n for (stage, _, _), n in lost.items() if stage in {"explore", "label", "dataset"})
    verdicts = exported_verdicts(manifest)
    have = "; ".join(f"{each.level}: {each.sentence(verdicts)}" for each in found)
    told = "Every loss has its reason, and all counts add up." if whole else "Some counts do not add up."
    pool = next(step for step in steps if step.name == "selected")
    surfaces = manifest.get("surfaces", {})
    used = {level: (surfaces.get(level, {}).get("definition") or {}).get("code", {}) for level in levels}
    codes = "; ".join(
        f"{level}: {', '.join(f'{n} {v}' for n, v in code.items()) or 'see the rows'}"
        for level, code in used.items()
    )
    flagged = sum(each.verdicts.get(FLAGGED, 0) for each in found)
    lost_text = (
        f"{failed:,} trajectories and labels failed or were excluded."
        if failed
        else f"Nothing failed, but {flagged:,} labels were flagged."
        if flagged
        else "Nothing failed."
    )
    return {
        "name": manifest["campaign"],
        "identifier": identifier(manifest),
        "levels": f"Reference levels {codes}",
        "warning": quality_note(manifest).strip(" ()"),
        "version": manifest["code_version"],
        "state": "good" if whole and not failed else "losses",
        "verdict": f"{have}. {lost_text} {told}",
        "tiles": [
            {"value": f"{steps[0].kept:,}", "what": "crystals"},
            {"value": f"{pool.came:,}", "what": "snapshots in the pool"},
            {"value": f"{pool.kept:,}", "what": f"selected ({pool.share:.2g} %)"},
            *({"value": f"{step.kept:,}", "what": f"rows at {level}"} for level, step in rows.items()),
            {"value": format_hours(sum(each.core_h for each in spent)), "what": "on all cores"},
        ],
    }


def _sections(reader: Reader, figures: Sequence[Figure], domains: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sections with their figures and tables."""
    tables: dict[str, Callable[[Reader], list[dict[str, Any]]]] = {
        "coverage": lambda _: [domains],
        "energetics": _outliers,
        "trust": _trouble,
    }
    return [
        {
            "name": name,
            "title": title,
            "figures": [figure for figure in figures if FIGURES.get(figure.name) == name],
            "tables": tables.get(name, lambda _: [])(reader),
        }
        for name, title in SECTIONS.items()
    ]


def _added(
    section: dict[str, str], figures: Sequence[Figure], tables: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return a section that not every campaign has."""
    return [
        {"name": name, "title": title, "figures": figures, "tables": tables}
        for name, title in section.items()
    ]


def _outliers(reader: Reader) -> list[dict[str, Any]]:
    rows = [
        (row["snapshot_id"], level, row["formula"], plain(row["level_gap_eV_per_atom"]), row["verdict"])
        for level in reader.levels
        for row in reader.labels[level]
        if row["level_gap_eV_per_atom"] is not None
    ]
    rows.sort(key=lambda row: -abs(row[3] or 0))
    return [
        {
            "title": "Largest differences between the two levels",
            "heads": ["snapshot", "level", "formula", "difference minus the median (eV/atom)", "verdict"],
            "rows": [row for row in rows if row[1] == reader.levels[0]][:10]
            if len(reader.levels) > 1
            else [],
            "empty": "There is one level only." if len(reader.levels) == 1 else "No snapshot has both.",
        }
    ]


def _trouble(reader: Reader) -> list[dict[str, Any]]:
    violations = rules_triggered(reader.of_levels("dataset"), reader.of_levels("quarantine"))
    made = corrections(reader.of_levels("dataset"))
    exploded = [
        (row["key"], row["reason"], row["detail"])
        for entry in reader.entries
        if is_file_of(entry["file"], "explore_failures") and entry["rows"]
        for row in read_table(
            reader.results / entry["file"], "failures", ["key", "reason", "detail"]
        ).to_pylist()
    ]
    total = len(exploded)
    return [
        {
            "title": "Triggered rules",
            "heads": ["level", "rule", "labels"],
            "rows": [(*key, n) for key, n in sorted(violations.items())],
            "empty": "No rule was triggered.",
        },
        {
            "title": "Corrections of calculations",
            "heads": ["level", "correction", "labels"],
            "rows": [(*key, n) for key, n in made.most_common(_TABLE_ROWS)],
            "empty": "None was needed.",
        },
        {
            "title": "Trajectories that ended early"
            + (f" ({_TABLE_ROWS} of {total:,})" if total > _TABLE_ROWS else ""),
            "heads": ["trajectory", "reason", "what happened"],
            "rows": exploded[:_TABLE_ROWS],
            "empty": "None.",
        },
    ]


def _filters(data: dict[str, Data], levels: Sequence[str]) -> dict[str, Sequence[str]]:
    columns = data["elements"].columns
    there = {symbol for symbol, rows in zip(columns["symbol"], columns["rows"], strict=True) if rows}
    domains = set(data["frames"].columns["domain"]) | set(data["labels"].columns["domain"])
    return {"elements": sorted(there), "levels": levels, "domains": sorted(domains)}


def _advice(
    data: dict[str, Data], steps: Sequence[Step], lost: Counter[tuple[str, str, str]], spent: Sequence[Cost]
) -> list[dict[str, str]]:
    """Return the next steps for a user, with commands."""
    gains = data["gain"].columns["gain"]
    gain = gains[-1] / 100 if gains else None
    labels = sum(step.kept for step in steps if step.name.startswith("in the dataset"))
    picks = next(step.kept for step in steps if step.name == "selected")
    advice = [{"text": next_thousand(spent, labels, picks, gain), "command": ""}]
    again = sorted({reason for (stage, _, reason) in lost if stage == "label" and reason in _TRANSIENT})
    if again:
        reasons = " ".join(f"--reason {reason}" for reason in again)
        advice.append(
            {
                "text": "Some labels failed because of the machine, and are worth another attempt:",
                "command": f"pesatlas retry {reasons}",
            }
        )
    if any(stage == "dataset" for stage, _, _ in lost):
        advice.append(
            {
                "text": "Labels in quarantine, and the rules that put them there:",
                "command": 'pesatlas query "SELECT level, verdict_rules, count(*) FROM quarantine GROUP BY '
                'ALL"',
            }
        )
    advice += [
        {"text": "The history of any row, or why it is missing:", "command": "pesatlas explain SNAPSHOT_ID"},
        {
            "text": f"To train on: {RESULTS}/{folder_of('export')}/. Description and citation of the "
            "dataset: "
            f"{path_of('card_page')}.",
            "command": "",
        },
        {"text": "A copy that never changes, to publish:", "command": "pesatlas release 2026.1"},
    ]
    return advice


def _parts(each: dict[str, Any]) -> str:
    parts = " + ".join(f"{count} {name}" for name, count in each["parts"].items())
    return f"{'=' if each['closes'] else '≠'} {parts}"


def _cost_row(each: Cost) -> tuple[Any, ...]:
    return (
        each.stage,
        each.jobs,
        format_hours(each.core_h),
        format_hours(each.gpu_h),
        f"{each.disk_bytes / 1e6:,.1f} MB",
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """Return a table that scrolls by itself where it is too wide."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup(
        '<div class="wide" tabindex="0" role="region" '
        'aria-label="{}"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(", ".join(heads), head, body)


def _json(value: Any) -> Markup:
    """Return JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the element


def _script(text: str) -> Markup:
    """Return a program that may stand in a script element."""
    return Markup(text.replace("</script", "<\\/script"))  # noqa: S704 - as above


def _vega() -> str:
    import vl_convert  # noqa: PLC0415 - slow to import

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for what has a default
    return bundle


def _chemiscope() -> str:
    return (
        importlib.resources.files("chemiscope")
        .joinpath("sphinx/static/chemiscope.min.js")
        .read_text(encoding="utf-8")
    )
