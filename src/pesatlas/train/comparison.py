"""Results of a comparison: tables of errors on the same frames, of differences and label efficiencies."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pesatlas.config.compare import Compare
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.tables import read_table, write_table
from pesatlas.train.arms import Arm, read_arms
from pesatlas.train.comparison_power import Spreads, measured_spreads, shown_ratio
from pesatlas.train.contrast import Sums, contrast, label_efficiency

log = logging.getLogger(__name__)

FORCES = "force_mae_meV_per_A"
WHAT = {FORCES: "n_atoms", "energy_mae_meV_per_atom": "", "stress_mae_GPa": ""}
"""Errors, and what a frame counts with in their means: forces are means over components, so over atoms."""


def compare_arms(
    settings: Compare,
    level: str,
    seed: int,
    *,
    arms: Path,
    errors: Sequence[Path],
    comparison: Path,
    contrasts: Path,
    efficiency: Path,
) -> None:
    """Write the tables ``comparison``, a row for each potential, and ``contrasts``, a row for each arm.

    The table ``efficiency`` has a row for each policy but the first.

    Only frames count that every potential could be asked about: one whose arm lacks an element of a frame
    cannot.

    Parameters
    ----------
    level : reference level of the potentials
    seed : of the resampling
    arms : table ``arms``
    errors : tables ``arm_errors``, one for each potential

    Raises
    ------
    UserError
        If no frame is left.
    """
    every = read_arms(settings, arms)
    rows = _common(errors)
    if not rows:
        raise UserError(
            "compare: no frame of the test has only elements that every arm was trained on, so there is "
            "nothing to test on. Make select.target or the smallest of compare.cost_shares larger, or "
            "explore more crystals of the same elements."
        )
    runs: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    efficient: list[dict[str, Any]] = []
    for frames, given in (("dynamics", False), ("equilibrium", True)):
        chosen = [row for row in rows if row["equilibrium"] is given]
        if not chosen:
            continue
        head = {"level": level, "frames": frames}
        keys = [(arm.policy, arm.cost_share) for arm in every]
        sums = {what: _sums(chosen, keys, what) for what in WHAT}
        runs += _runs(settings.seeds, head, chosen, every, sums)
        found += (mine := _contrasts(head, every, sums, seed))
        efficient += _efficiencies(head, every, sums, mine, seed)
    fingerprint = digest(settings.identity())
    write_table(comparison, "comparison", runs, fingerprint)
    write_table(efficiency, "efficiency", efficient, fingerprint)
    write_table(contrasts, "contrasts", found, fingerprint)
    _log_contrasts(found)


def _common(errors: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of tables ``arm_errors``, of the frames that all potentials were asked about."""
    table = pa.concat_tables(read_table(path, "arm_errors").replace_schema_metadata(None) for path in errors)
    rows: list[dict[str, Any]] = table.to_pylist()
    asked = Counter(row["snapshot_id"] for row in rows)
    common = {name for name, count in asked.items() if count == len(errors)}
    log.info("%d of %d frames of the test have elements that all arms know", len(common), len(asked))
    return [row for row in rows if row["snapshot_id"] in common]


def _sums(
    rows: list[dict[str, Any]], keys: Sequence[tuple[str, float]], what: str
) -> dict[tuple[str, float], Sums]:
    """Sum one error by arm, seed and material."""
    materials = {name: k for k, name in enumerate(sorted({row["structure_id"] for row in rows}))}
    seeds = {seed: k for k, seed in enumerate(sorted({row["seed"] for row in rows}))}
    errors = {key: np.zeros((len(seeds), len(materials))) for key in keys}
    counted = {key: np.zeros((len(seeds), len(materials))) for key in errors}
    for row in rows:
        key = row["arm"], row["cost_share"]
        place = seeds[row["seed"]], materials[row["structure_id"]]
        weight = row[WHAT[what]] if WHAT[what] else 1
        errors[key][place] += weight * row[what]
        counted[key][place] += weight
    return {key: Sums(errors[key], counted[key][0]) for key in errors}


def _runs(
    seeds: Sequence[int],
    head: dict[str, Any],
    rows: list[dict[str, Any]],
    every: list[Arm],
    sums: dict[str, dict[tuple[str, float], Sums]],
) -> list[dict[str, Any]]:
    frames = {row["snapshot_id"]: row["structure_id"] for row in rows}
    return [
        head
        | _about(arm)
        | {"seed": seed, "test_frames": len(frames), "test_materials": len(set(frames.values()))}
        | {what: float(found[arm.policy, arm.cost_share].means[k]) for what, found in sums.items()}
        for arm in every
        for k, seed in enumerate(seeds)
    ]


def _about(arm: Arm) -> dict[str, Any]:
    return {
        "arm": arm.policy,
        "cost_share": arm.cost_share,
        "cost_atoms3": arm.cost_atoms3,
        "picks": len(arm.picks),
    }


def _contrasts(
    head: dict[str, Any], every: list[Arm], sums: dict[str, dict[tuple[str, float], Sums]], seed: int
) -> list[dict[str, Any]]:
    reference = _reference(every)
    found = []
    for what, of_arms in sums.items():
        base = of_arms[reference.policy, reference.cost_share]
        for arm in every:
            result = contrast(of_arms[arm.policy, arm.cost_share], base, seed)
            about = _about(arm)
            del about["picks"]
            row = {"error": what, "reference": _named(reference), "verdict": result.verdict, **vars(result)}
            del row["materials"]
            found.append(head | about | row)
    return found


def _reference(every: Sequence[Arm]) -> Arm:
    """Return the arm that the others are compared with: the first policy at the largest share."""
    return max((arm for arm in every if arm.policy == every[0].policy), key=lambda arm: arm.cost_share)


def _named(arm: Arm) -> str:
    return f"{arm.policy} at {arm.cost_share:g}"


def _efficiencies(
    head: dict[str, Any],
    every: list[Arm],
    sums: dict[str, dict[tuple[str, float], Sums]],
    contrasts: list[dict[str, Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """Return the rows of table ``efficiency``; ``contrasts`` at the largest share say what could be seen."""
    reference = _reference(every)
    shown = {
        (row["error"], row["arm"]): shown_ratio(row["ratio_low"], row["ratio_high"])
        for row in contrasts
        if row["cost_share"] == reference.cost_share
    }
    others = dict.fromkeys(arm.policy for arm in every if arm.policy != reference.policy)
    rows = []
    for what, of_arms in sums.items():
        base = of_arms[reference.policy, reference.cost_share]
        for policy in others:
            mine = [arm for arm in every if arm.policy == policy]
            errors = [of_arms[policy, arm.cost_share] for arm in mine]
            costs = [arm.cost_atoms3 for arm in mine]
            result = label_efficiency(errors, costs, base, reference.cost_atoms3, seed)
            ratio, low, high = np.clip([result.ratio, result.low, result.high], *result.tried).tolist()
            rows.append(
                head
                | {"arm": policy, "error": what, "reference": _named(reference)}
                | {
                    "cost_ratio": ratio,
                    "bound": {0.0: "<", math.inf: ">"}.get(result.ratio, ""),
                    "cost_ratio_low": low if result.low else None,
                    "cost_ratio_high": high if result.high < math.inf else None,
                    "verdict": result.verdict,
                    "detectable_ratio": shown[what, policy],
                }
            )
    return rows


def spreads_so_far(
    settings: Compare, errors: Mapping[tuple[str, float, int], Path]
) -> tuple[Spreads, int, int] | None:
    """Return the spreads of trainings that have finished, and the materials and frames of their test.

    Policies are compared with the first one, at the largest share for which both have two seeds; None if
    there is no such share.

    Parameters
    ----------
    errors : tables ``arm_errors`` that are there, by policy, share and seed
    """
    first, *others = (policy.kind for policy in settings.policies)
    for share in sorted(settings.cost_shares, reverse=True):
        pairs, materials, frames = [], 0, 0
        for other in others:
            seeds = [
                seed
                for seed in settings.seeds
                if {(first, share, seed), (other, share, seed)} <= errors.keys()
            ]
            paths = [errors[policy, share, seed] for policy in (first, other) for seed in seeds]
            rows = [row for row in _common(paths) if not row["equilibrium"]] if len(seeds) > 1 else []
            if rows:
                sums = _sums(rows, [(first, share), (other, share)], FORCES)
                pairs.append((sums[other, share], sums[first, share]))
                materials = len(pairs[-1][0].weights)
                frames = len(rows) // len(paths)
        if materials > 1:
            return (
                measured_spreads(pairs, frames, "measured on trainings of this comparison"),
                materials,
                frames,
            )
    return None


def _log_contrasts(found: list[dict[str, Any]]) -> None:
    """Log the comparison of forces on frames of dynamics."""
    for row in found:
        if row["frames"] == "dynamics" and row["error"] == FORCES:
            log.info(
                "%s at %g of the cost: forces %.3g meV/Å (%.3g to %.3g), %.3g of %s (%.3g to %.3g): %s",
                row["arm"], row["cost_share"], row["mean"], row["low"], row["high"], row["ratio"],
                row["reference"], row["ratio_low"], row["ratio_high"], row["verdict"],
            )  # fmt: skip
