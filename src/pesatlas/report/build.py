"""Build the report: one offline HTML file, and its figures as pictures."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pesatlas.campaign.account import Account, accounts, exported_verdicts
from pesatlas.campaign.caveats import caveats, labelling_potential
from pesatlas.campaign.dataset_state import identifier
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import RESULTS, folder_of, path_of
from pesatlas.campaign.so_far import UNFINISHED
from pesatlas.campaign.strain_test import StrainTest, strain_caveats, strain_tests
from pesatlas.report.benchmark_results import benchmark_results
from pesatlas.report.converged import converged
from pesatlas.report.cost import Cost, cost, costs, next_thousand
from pesatlas.report.coverage import coverage
from pesatlas.report.crystal_summary import Crystal, read_crystals
from pesatlas.report.detail_tables import outliers, trouble
from pesatlas.report.domain_table import of_domains
from pesatlas.report.energetics import energetics
from pesatlas.report.equilibration import equilibrated
from pesatlas.report.figure import Data, Figure, picture
from pesatlas.report.figure_names import (
    COMPARED_SECTION,
    FIGURES,
    ROUND_SECTION,
    SECTIONS,
    TRAINED_SECTION,
)
from pesatlas.report.figure_rows import Files, Reader
from pesatlas.report.frame_map import dynamics, elements, map_frames
from pesatlas.report.frames_before import BEFORE
from pesatlas.report.funnel import Step, funnel
from pesatlas.report.gallery import gallery
from pesatlas.report.methods import methods
from pesatlas.report.policy_comparison import Compared
from pesatlas.report.reader_warnings import doubts
from pesatlas.report.reliability import reliability_data, reliability_figures, round_table
from pesatlas.report.rendering import page_data, render_page
from pesatlas.report.report_verdict import Verdict
from pesatlas.report.strain_verdict import strained
from pesatlas.report.summary import losses
from pesatlas.report.texts import STOP, advice_text, format_hours, read_advice
from pesatlas.report.trained import Trained
from pesatlas.report.trust import trust
from pesatlas.report.verdicts import covered, electronic, lacking, soft, spent
from pesatlas.storage.atomic import atomic_path, write_text
from pesatlas.tables import read_table
from pesatlas.tables.label_verdicts import FLAGGED

log = logging.getLogger(__name__)

_TRANSIENT = {"crashed", "timeout", "out_of_memory"}


def build_report(files: Files, report: Path, pictures: Path | None = None) -> None:
    """Write ``report``, and ``pictures/NAME.png`` of each figure if pictures are wanted.

    Parameters
    ----------
    files : what is shown, by its names in ``campaign.layout``, as the rule declares it: those of
        ``Results.files``, ``parity``, and what not every campaign has (cards of potentials that were trained
        on the dataset, ``benchmark_summary``, ``comparison``, ``contrasts`` and ``efficiency`` of policies,
        ``advice`` of a round after the first). Failures are in the tables that the manifest names, and times
        in the logs of the campaign.

    Raises
    ------
    UserError
        If the campaign has not finished.
    """
    results = files["manifest"][0].parent
    manifest = read_campaign_manifest(results)
    unfinished = manifest.get(UNFINISHED, [])
    reader = Reader(files, manifest)
    lost = losses(results, manifest)
    hours = costs(results.parent, manifest, [*files["labels"], *files["atoms"]])
    data, structures = _data(reader, lost)
    figures = _figures(reader, data)
    account = accounts(results, manifest)
    steps = funnel(manifest, lost)
    crystals = read_crystals(reader.tables, reader.levels)
    tests = strain_tests(results, manifest)
    verdicts = _verdicts(reader, manifest, crystals, account, hours, tests)
    sections = _sections(reader, figures, of_domains(results, manifest, data), verdicts)
    added: list[tuple[Trained | Compared, dict[str, str]]] = []
    if cards := files.get("potential_card"):
        added.append((Trained([card.parent for card in cards]), TRAINED_SECTION))
    if compared := files.get("comparison"):
        added.append(
            (Compared(*compared, *files["contrasts"], *files.get("efficiency", ())), COMPARED_SECTION)
        )
    for part, title in added:
        data |= part.data()
        figures += (mine := part.figures(data))
        sections += _added(title, mine, part.tables(), part.verdict())
    found = next((read_advice(advice) for advice in files.get("advice", ())), None)
    if found is not None:
        (calibration,) = files["calibration"]
        data |= reliability_data(calibration)
        figures += (mine := reliability_figures(calibration, data))
        mark = "fine" if found["verdict"] == STOP else "look"
        said = Verdict("Is another round worth it?", mark, advice_text(found))  # type: ignore[arg-type]  # two of three words
        sections += _added(ROUND_SECTION, mine, [round_table(found)], said)
    if unfinished:
        sections = [filled for section in sections if (filled := _filled(section))]
    (structures_table,), benchmark = files["structures"], files.get("benchmark_summary")
    context = {
        "head": _heading(manifest, steps, hours, tests),
        "unfinished": unfinished,
        "happened": _happened(manifest, steps, lost, account),
        "funnel": [step for step in steps if step.came or not unfinished],
        "doubts": doubts(structures_table, steps[0].kept),
        "sums": [each | {"parts": _parts(each)} for each in manifest["sums"]],
        "sections": sections,
        "gallery": gallery(reader, crystals, data["frames"]),
        "crystals": f"{len(crystals):,}",
        "counts": {figure.name: data[figure.data].count for figure in figures}
        | {"elements": data["elements"].what},
        "benchmark_results": benchmark_results(*benchmark) if benchmark else None,
        "filters": _filters(data, reader.levels),
        "methods": None if unfinished else methods(reader, manifest, account),
        "advice": _advice_so_far(lost) if unfinished else _advice(data, steps, lost, hours),
        "configuration": json.dumps(manifest["configuration"], indent=1),
        "card": path_of("card_page"),
    }
    if pictures is not None:
        for figure in figures:
            with atomic_path(pictures / f"{figure.name}.png") as temporary:
                temporary.write_bytes(picture(figure, data))
    drawn = [figure for figure in figures if figure.chart is not None]
    write_text(report, render_page(context, page_data(manifest["campaign"], data, drawn, structures)))
    log.info("%s: %.1f MB, %d figures", report, report.stat().st_size / 1e6, len(drawn))


def _verdicts(
    reader: Reader,
    manifest: dict[str, Any],
    crystals: Sequence[Crystal],
    account: Sequence[Account],
    hours: Sequence[Cost],
    tests: Mapping[str, StrainTest | None],
) -> dict[str, list[Verdict]]:
    """Return the verdicts of each section."""
    configuration = manifest["configuration"]
    labels = sum(sum(each.verdicts.values()) for each in account)
    return {
        "energetics": [
            # no label of an unfinished campaign is exported yet
            *([] if UNFINISHED in manifest else [lacking(reader.tables, manifest, account)]),
            electronic(crystals, reader.levels),
        ],
        "coverage": [covered(read_table(reader.path("quality"), "quality").to_pylist(), manifest)],
        "trust": [
            equilibrated(reader.tables, configuration.get("explore", {})),
            *converged(reader.results, manifest),
            strained(tests),
            soft(
                reader.softness,
                reader.forces,
                (reader.potential, reader.levels[0]),
                reader.seed,
                labelling_potential(manifest),
            ),
        ],
        "cost": [spent(hours, labels)],
    }


def _data(
    reader: Reader, failures: Counter[tuple[str, str, str]]
) -> tuple[dict[str, Data], list[dict[str, Any]]]:
    """Read what all figures need, by name, and the structures of the map's points."""
    parity = reader.parity()  # which the map needs too
    pool, total = reader.pool()
    frames, structures = map_frames(reader, pool, total)
    fill, gain = reader.quality()
    lost, lost_elements = reader.losses(failures)
    pairs = reader.pairs()
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
        **parity,
    }, structures


def _figures(reader: Reader, data: dict[str, Data]) -> list[Figure]:
    limits = {name: rule["limit"] for name, rule in reader.rules.items() if "limit" in rule}
    found = {
        figure.name: figure
        for figure in (
            *coverage(data, reader.levels),
            *energetics(data, reader.levels),
            *trust(data, reader.levels, reader.potential, limits),
            *cost(data, reader.levels),
        )
    }
    return [found[name] for name in FIGURES]


def _heading(
    manifest: dict[str, Any],
    steps: Sequence[Step],
    hours: Sequence[Cost],
    tests: Mapping[str, StrainTest | None],
) -> dict[str, Any]:
    """Return what stands at the top: what it is, and the numbers that people ask for first."""
    levels = manifest["levels"]
    rows = dict(zip(levels, steps[-len(levels) :], strict=True))
    pool = next(step for step in steps if step.name == "selected")
    surfaces = manifest.get("surfaces", {})
    used = {level: (surfaces.get(level, {}).get("definition") or {}).get("code", {}) for level in levels}
    spent_h = sum(each.core_h for each in hours)
    codes = "; ".join(
        f"{level}: {', '.join(f'{n} {v}' for n, v in code.items()) or 'see the rows'}"
        for level, code in used.items()
    )
    return {
        "name": manifest["campaign"],
        "identifier": identifier(manifest),
        "levels": f"Reference levels {', '.join(levels) if UNFINISHED in manifest else codes}",
        "warning": "; ".join([*caveats(manifest), *strain_caveats(tests)]),
        "version": manifest["code_version"],
        "tiles": [
            {"value": f"{steps[0].kept:,}", "what": "crystals"},
            *(
                (
                    {"value": f"{pool.came:,}", "what": "snapshots in the pool"},
                    {"value": f"{pool.kept:,}", "what": f"selected ({pool.share:.2g} %)"},
                    *(
                        {"value": f"{step.kept:,}", "what": f"rows at {level}"}
                        for level, step in rows.items()
                    ),
                )
                # a campaign that has not finished may not have selected yet
                if pool.came
                else ()
            ),
            *([{"value": format_hours(spent_h), "what": "on all cores"}] if spent_h else []),
        ],
    }


def _happened(
    manifest: dict[str, Any],
    steps: Sequence[Step],
    lost: Counter[tuple[str, str, str]],
    found: Sequence[Account],
) -> Verdict:
    """Return the verdict on the campaign as a whole: what came of the picks, and whether counts add up."""
    whole = all(each["closes"] for each in manifest["sums"]) and all(step.closes for step in steps)
    failed = sum(n for (stage, _, _), n in lost.items() if stage in {"explore", "label", "dataset"})
    refused = sum(n for (stage, _, _), n in lost.items() if stage == "structures")
    flagged = sum(each.verdicts.get(FLAGGED, 0) for each in found)
    verdicts = exported_verdicts(manifest)
    have = "; ".join(f"{each.level}: {each.sentence(verdicts)}" for each in found)
    nothing = f"Refused crystals or cells: {refused:,}. Nothing else" if refused else "Nothing"
    lost_text = (
        f"{failed:,} trajectories and labels failed or were excluded."
        if failed
        else f"{nothing} failed, but {flagged:,} labels were flagged."
        if flagged
        else f"{nothing} failed."
    )
    if UNFINISHED in manifest:
        sums = f"{have}. " if any(each.selected for each in found) else ""
        return Verdict("Did it work?", "not known", f"It has not finished. {sums}{lost_text}")
    told = "Every loss has its reason, and all counts add up." if whole else "Some counts do not add up."
    mark = "fine" if whole and not failed and not flagged else "look"
    return Verdict("Did it work?", mark, f"{have}. {lost_text} {told}")  # type: ignore[arg-type]  # two of three words


def _sections(
    reader: Reader,
    figures: Sequence[Figure],
    domains: dict[str, Any],
    verdicts: dict[str, list[Verdict]],
) -> list[dict[str, Any]]:
    """Return the sections with their verdicts, figures and tables."""
    tables: dict[str, Callable[[Reader], list[dict[str, Any]]]] = {
        "coverage": lambda _: [domains],
        "energetics": outliers,
        "trust": trouble,
    }
    return [
        {
            "name": name,
            "title": title,
            "verdicts": verdicts[name],
            "figures": [
                each for each in figures if FIGURES.get(each.name) == name and each.chart is not None
            ],
            "tables": tables.get(name, lambda _: [])(reader),
        }
        for name, title in SECTIONS.items()
    ]


def _added(
    section: dict[str, str], figures: Sequence[Figure], tables: list[dict[str, Any]], verdict: Verdict
) -> list[dict[str, Any]]:
    """Return a section that not every campaign has."""
    return [
        {
            "name": name,
            "title": title,
            "verdicts": [verdict],
            "figures": [each for each in figures if each.chart is not None],
            "tables": tables,
        }
        for name, title in section.items()
    ]


def _filled(section: dict[str, Any]) -> dict[str, Any] | None:
    """Return a section of an unfinished campaign without what is not known yet; None if that is all."""
    known = {
        "verdicts": [each for each in section["verdicts"] if each.mark != "not known"],
        "tables": [each for each in section["tables"] if each["rows"]],
    }
    return section | known if section["figures"] or any(known.values()) else None


def _filters(data: dict[str, Data], levels: Sequence[str]) -> dict[str, Sequence[str]]:
    columns = data["elements"].columns
    there = {symbol for symbol, rows in zip(columns["symbol"], columns["rows"], strict=True) if rows}
    domains = (set(data["frames"].columns["domain"]) | set(data["labels"].columns["domain"])) - {BEFORE}
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
    advice += _again(lost)
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


def _again(lost: Counter[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Return the advice to try labels again that the machine made fail, if there are any."""
    again = sorted({reason for (stage, _, reason) in lost if stage == "label" and reason in _TRANSIENT})
    text = "Some labels failed because of the machine, and are worth another attempt:"
    reasons = " ".join(f"--reason {reason}" for reason in again)
    return [{"text": text, "command": f"pesatlas retry {reasons}"}] if again else []


def _advice_so_far(lost: Counter[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Return the next steps in a campaign that has not finished."""
    return [
        {"text": "To continue:", "command": "pesatlas run"},
        {"text": "How far each stage is:", "command": "pesatlas status"},
        *_again(lost),
        {"text": "The history of any crystal or frame so far:", "command": "pesatlas explain SNAPSHOT_ID"},
    ]


def _parts(each: dict[str, Any]) -> str:
    parts = " + ".join(f"{count} {name}" for name, count in each["parts"].items())
    return f"{'=' if each['closes'] else '≠'} {parts}"
