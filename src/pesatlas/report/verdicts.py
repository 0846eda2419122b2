"""Verdicts on the questions of the report: coverage, softness, magnetism and gaps, training, cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.account import Account, exported_verdicts, flagged_sentence
from pesatlas.campaign.campaign_tables import CampaignTables
from pesatlas.campaign.caveats import caveats
from pesatlas.campaign.splits import empty_splits
from pesatlas.report.cost import Cost
from pesatlas.report.crystal_summary import Crystal
from pesatlas.report.report_verdict import Mark, Verdict
from pesatlas.report.softness import ForcesOfCrystals
from pesatlas.report.summary import counted
from pesatlas.report.texts import format_hours

_FEWEST_CRYSTALS = 5
"""Crystals below which the slope of a potential's forces has no interval."""
_SLOPE = 0.1
_MOMENTS_APART_MUB = 0.5
_FEW_ROWS, _FEW_OF_ELEMENT, _FEW_CRYSTALS = 100, 10, 10
_AT_REST_EV_PER_A = 0.05
_SHOWN = 6


def covered(quality: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> Verdict:
    """Return the verdict on coverage: rows of table ``quality``, the last of which are of all picks."""
    question = "Do the picks cover what was explored?"
    counts = counted(dict(manifest))
    pool, picks = counts["selection.pool"], counts["selection.rows"]
    over = counts["selection.over_target"]
    left = f"{pool - picks:,} of {pool:,} frames were not picked" + (
        f", {over:,} of them beyond the target or the budget" if over else ""
    )
    last = {row["of"]: row for row in sorted(quality, key=lambda row: row["picks"])}
    mine, random = last.get("picks"), last.get("random")
    if mine is None or mine["fill_p99_structures"] is None:
        return Verdict(question, "not known", f"Not known, distances were not measured: {left}.")
    select = manifest["configuration"].get("select", {})
    limits = {
        part: 2 * select[name]["threshold"]
        for part, name in (("structures", "structure"), ("atoms", "atoms"))
        if select.get(name) and select[name].get("clusters") is None
    }
    far = [part for part, limit in limits.items() if mine[f"fill_p99_{part}"] > limit]
    beaten = [
        part
        for part in ("structures", "atoms")
        if random is not None
        and random["picks"] == mine["picks"]
        and mine[f"fill_mean_{part}"] >= random[f"fill_mean_{part}"]
    ]
    mark: Mark = "look" if far or beaten else "fine" if limits else "not known"
    told = {
        "fine": "Yes",
        "look": "Not all of it",
        "not known": "Not known, there is no threshold to compare with",
    }
    near = f"99 % of frames are within {mine['fill_p99_structures']:.2g} of a pick"
    limit = f" (two thresholds of clusters: {limits['structures']:.2g})" if "structures" in limits else ""
    compared = (
        f"; with as many random frames as picks it would be {random['fill_p99_structures']:.2g}"
        if random is not None
        else ""
    )
    no_better = f"; {' and '.join(beaten)}: no nearer on average than random frames" if beaten else ""
    return Verdict(
        question,
        mark,
        f"{told[mark]}: {near}{limit}{compared}; {left}{no_better}.",
        "Distances from a random sample of explored frames, and of their atoms, to the nearest pick, in "
        "weighted principal components (table quality). Two frames of one cluster are at most two thresholds "
        "apart: 99 % within that is covered.",
        ("", "picks", "mean", "99th percentile", "largest", "two thresholds"),
        [
            (
                f"{part}, {of}",
                f"{row['picks']:,}",
                *(f"{row[f'fill_{what}_{part}']:.3g}" for what in ("mean", "p99", "max")),
                f"{limits[part]:.3g}" if part in limits else "-",
            )
            for part in ("structures", "atoms")
            for of, row in last.items()
            if row[f"fill_mean_{part}"] is not None
        ],
    )


def soft(
    found: Sequence[Mapping[str, Any]],
    forces: ForcesOfCrystals,
    of: tuple[str, str],
    seed: int,
    labeller: str = "",
) -> Verdict:
    """Return the verdict on the exploring potential.

    Parameters
    ----------
    found : of ``softness``
    of : name of the potential, and level of the labels
    labeller : potential that made the labels; empty if DFT did
    """
    question = "Is the exploring potential soft?"
    potential, level = of
    whole = next((row for row in found if row["of"] == "all"), None)
    slope = forces.slope(seed) if whole else None
    if whole is None or slope is None:
        return Verdict(question, "not known", "Not known: no label with forces was compared with it.")
    value, low, high = slope
    crystals = len(forces.squares)
    errors = f"mean error of a force component {whole['force_mae_eV_per_A']:.3g} eV/Å" + (
        f", of relative energies {whole['energy_mae_meV_per_atom']:.3g} meV/atom"
        if whole["energy_mae_meV_per_atom"] is not None
        else ""
    )
    mark: Mark
    than = f" than those of the labelling potential {labeller}" if labeller else ""
    interval = f" (95 %: {low:.2f} to {high:.2f})"
    if crystals < _FEWEST_CRYSTALS:
        mark, told, interval = "not known", f"Not known, too few crystals to tell ({crystals})", ""
    elif low >= 1 - _SLOPE and high <= 1 + _SLOPE:
        mark, told = "fine", "No"
    elif high < 1 - _SLOPE:
        mark, told = "look", f"Yes, its forces are smaller{than}" if than else "Yes, it underestimates forces"
    elif low > 1 + _SLOPE:
        mark, told = (
            "look",
            f"No, but its forces are larger{than}" if than else "No, but it overestimates forces",
        )
    else:
        mark, told = "not known", "Not known, the interval is too wide to tell"
    return Verdict(
        question,
        mark,
        f"{told}: slope of its forces against {level} {value:.2f}{interval}, in {whole['rows']:,} rows of "
        f"{_crystals(len(forces.mae))}, {crystals:,} with forces; {errors}. Potential: {potential}.",
        "Least squares through the origin over all force components; interval by resampling crystals. Within "
        f"{_SLOPE:g} of 1 is called neither soft nor stiff, our own choice: the best published potentials "
        "have "
        "0.93 to 0.97 (arXiv 2503.04070), soft ones 0.8 (arXiv 2405.07105). Energies: less the mean of each "
        "crystal.",
        ("of", "which", "rows", "slope", "force MAE (eV/Å)", "stress MAE (GPa)"),
        [
            (
                row["of"],
                row["name"],
                f"{row['rows']:,}",
                "-" if row["force_slope"] is None else f"{row['force_slope']:.2f}",
                f"{row['force_mae_eV_per_A']:.3g}",
                f"{row['stress_mae_GPa']:.3g}",
            )
            for row in found
        ],
    )


def electronic(crystals: Sequence[Crystal], levels: Sequence[str]) -> Verdict:
    """Return the verdict on magnetic solutions and gaps of the labels."""
    question = "Which magnetic solutions and gaps were found?"
    told: list[str] = []
    several: list[str] = []
    rows = []
    for level in levels:
        here = [(each, each.levels[level]) for each in crystals if level in each.levels]
        spin = [(each, found) for each, found in here if found.moment_muB is not None]
        magnetic = [(each, found) for each, found in spin if found.magnetic]
        apart = [
            each.name
            for each, found in magnetic
            if found.moment_muB and found.moment_muB[1] - found.moment_muB[0] > _MOMENTS_APART_MUB
        ]
        several += [f"{name} at {level}" for name in apart]
        gaps = [found.gap_eV for _, found in here if found.gap_eV is not None]
        metals = sum(high == 0 for _, high in gaps)
        open_ = sum(low > 0 for low, _ in gaps)
        rows.append(
            (
                level,
                *(f"{n:,}" for n in (len(here), len(spin), len(magnetic), len(apart))),
                *(f"{n:,}" for n in (len(gaps), metals, open_, len(gaps) - metals - open_)),
            )
        )
        told.append(
            f"{level}: "
            + (
                f"{len(magnetic):,} of {_crystals(len(here))} magnetic"
                if spin
                else "no calculation with spin"
            )
            + (
                f", {metals:,} metallic and {open_:,} with a gap in every row ({min(gaps)[0]:.2g} to "
                f"{max(high for _, high in gaps):.2g} eV)"
                if gaps
                else ", gaps not recorded"
            )
        )
    labelled = any(each.levels for each in crystals)
    known = any(row[2] != "0" or row[5] != "0" for row in rows)
    mark: Mark = "look" if several else "fine" if labelled and known else "not known"
    warning = (
        f" Largest moments of one crystal differ by more than {_MOMENTS_APART_MUB:g} μB between rows: "
        f"{_few(several)}. Several solutions, or a transition with volume: look at them."
        if several
        else ""
    )
    return Verdict(
        question,
        mark,
        f"{'; '.join(told)}.{warning}"
        if labelled and known
        else "Not known: the labels have neither moments nor gaps.",
        "Final moments and Kohn-Sham gaps on the k-points of each label, crystal by crystal. No other "
        "magnetic order "
        "than the one that each calculation started from was tried.",
        (
            "level",
            "crystals",
            "with spin",
            "magnetic",
            "moments differ",
            "gap known",
            "metals",
            "gap in all",
            "both",
        ),
        rows,
    )


_TRAINING = """
SELECT count(*), count(DISTINCT structure_id), count(*) FILTER (max_force_eV_per_A < {rest}),
       list(DISTINCT domain), list(DISTINCT temperature_K) FILTER (ensemble <> 'none')
FROM it WHERE list_contains({verdicts}, verdict)"""
_BY_ELEMENT = """
SELECT z, count(*), count(DISTINCT structure_id) FROM (
  SELECT structure_id, unnest(list_distinct(numbers)) AS z FROM it WHERE list_contains({verdicts}, verdict))
GROUP BY z ORDER BY 2, 1"""


def lacking(tables: CampaignTables, manifest: Mapping[str, Any], accounts: Sequence[Account]) -> Verdict:
    """Return the verdict on what the dataset lacks for training."""
    question = "What does the dataset lack for training?"
    verdicts = exported_verdicts(manifest)
    values = {"rest": _AT_REST_EV_PER_A, "verdicts": list(verdicts)}
    rows, lacks, short = [], [*caveats(dict(manifest))], dict[str, str]()
    for level in manifest["levels"]:
        counts = tables.query(_TRAINING.format(**values), "dataset", level)
        count, crystals, rest, domains, temperatures = counts[0] if counts else (0, 0, 0, None, None)
        domains, temperatures = sorted(domains or []), sorted(temperatures or [])
        elements = tables.query(_BY_ELEMENT.format(**values), "dataset", level)
        rare = [symbol_of(z) for z, n, of in elements if n < _FEW_OF_ELEMENT or of == 1]
        empty = empty_splits(manifest).get(level, [])
        rows.append(
            (
                level,
                f"{count:,}",
                f"{crystals:,}",
                f"{rest:,}",
                ", ".join(domains),
                ", ".join(f"{t:g}" for t in temperatures[:_SHOWN]) or "-",
                _few(rare) or "none",
            )
        )
        here = [
            f"only {count:,} rows" if count < _FEW_ROWS else "",
            f"only {_crystals(crystals)}" if crystals < _FEW_CRYSTALS else "",
            f"{rest:,} of {count:,} rows at rest, with no force above {_AT_REST_EV_PER_A:g} eV/Å"
            if 2 * rest > count
            else "",
            f"elements in one crystal only, or in fewer than {_FEW_OF_ELEMENT} rows: {_few(rare)}"
            if rare
            else "",
            f"only domain {domains[0]}" if len(domains) == 1 else "",
            f"only {temperatures[0]:g} K" if len(temperatures) == 1 else "",
            "".join(f"no row in the split {split}; " for split in empty).removesuffix("; "),
        ]
        short[level] = "; ".join(each for each in here if each)
    # levels that lack the same are told together
    lacks += [
        f"at {' and '.join(level for level in short if short[level] == text)}: {text}"
        for text in dict.fromkeys(short.values())
        if text
    ]
    flagged = flagged_sentence(accounts, verdicts)
    lacks += [flagged.split(".")[0]] if flagged else []
    return Verdict(
        question,
        "look" if lacks else "fine",
        f"{'. '.join(each[0].upper() + each[1:] for each in lacks)}."
        if lacks
        else "Nothing that was looked for.",
        f"Of the rows that are exported. Looked for: at least {_FEW_ROWS} rows, {_FEW_CRYSTALS} crystals, "
        "every "
        f"element in {_FEW_OF_ELEMENT} rows and two crystals, half of the rows with a force above "
        f"{_AT_REST_EV_PER_A:g} eV/Å, two domains, two temperatures, no empty split, nothing flagged. "
        "Limits are our "
        "own choice; whether a potential is good enough, only its test errors tell.",
        ("level", "rows", "crystals", "at rest", "domains", "temperatures (K)", "rare elements"),
        rows,
    )


def spent(costs: Sequence[Cost], labels: int) -> Verdict:
    """Return the verdict on cost."""
    question = "What took the time?"
    total = sum(each.core_h for each in costs)
    if not total:
        return Verdict(question, "not known", "Not measured.")
    most = max(costs, key=lambda each: each.core_h)
    label = next((each.core_h for each in costs if each.stage == "label"), 0.0)
    gpu = sum(each.gpu_h for each in costs)
    return Verdict(
        question,
        "fine",
        f"{format_hours(total)} on all cores{f' and {format_hours(gpu)} on GPUs' if gpu else ''}, of which "
        f"{100 * most.core_h / total:.0f} % for the stage {most.stage}"
        + (f"; a label took {format_hours(label / labels)}" if labels and label else "")
        + ".",
        "Labels: the time of their calculations, also where a run took them from the store; all others: "
        "the last "
        "run of each job.",
        ("stage", "jobs", "core time", "GPU time", "on the disk"),
        [
            (
                each.stage,
                f"{each.jobs:,}",
                format_hours(each.core_h),
                format_hours(each.gpu_h),
                f"{each.disk_bytes / 1e6:,.1f} MB",
            )
            for each in costs
        ],
    )


def _crystals(count: int) -> str:
    return f"{count:,} crystal{'' if count == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} others" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
