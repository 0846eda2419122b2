"""Results of a comparison: errors of every potential on the same frames, and differences with intervals."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pesatlas.config.compare import Compare
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.tables import read_table, write_table
from pesatlas.train.arms import Arm, read_arms

log = logging.getLogger(__name__)

WHAT = {"force_mae_meV_per_A": "n_atoms", "energy_mae_meV_per_atom": "", "stress_mae_GPa": ""}
"""Errors, and what a frame counts with in their means: forces are means over components, so over atoms."""
_RESAMPLES = 4000
_LEVEL = 0.95
_FEWEST = 5
"""Held-out materials that a verdict needs: drawing again from fewer says nothing of others."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Errors of the potentials of one arm, summed by held-out material.

    Attributes
    ----------
    errors : (S, M) for each of S seeds and M materials
    weights : (M,) what they were summed over
    """

    errors: Floats
    weights: Floats

    @property
    def means(self) -> Floats:
        """Mean error of each potential (S,)."""
        found: Floats = self.errors.sum(axis=1) / self.weights.sum()
        return found


@dataclass(frozen=True)
class Contrast:
    """Mean error of an arm and its ratio to that of another, each with its interval."""

    mean: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    materials: int

    @property
    def verdict(self) -> str:
        """Whether the ratio's interval leaves out 1, and on which side.

        Of too few materials nothing is said.
        """
        if self.materials < _FEWEST:
            return "undecided"
        return "lower" if self.ratio_high < 1 else "higher" if self.ratio_low > 1 else "undecided"


def compare_arms(
    settings: Compare,
    level: str,
    seed: int,
    *,
    arms: Path,
    errors: Sequence[Path],
    comparison: Path,
    contrasts: Path,
) -> None:
    """Write the tables ``comparison``, a row for each potential, and ``contrasts``, a row for each arm.

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
    table = pa.concat_tables(read_table(path, "arm_errors").replace_schema_metadata(None) for path in errors)
    rows = _common(table.to_pylist(), len(errors))
    runs: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for frames, given in (("dynamics", False), ("equilibrium", True)):
        chosen = [row for row in rows if row["equilibrium"] is given]
        if not chosen:
            continue
        head = {"level": level, "frames": frames}
        sums = {what: _sums(chosen, every, what) for what in WHAT}
        runs += _runs(settings.seeds, head, chosen, every, sums)
        found += _contrasts(head, every, sums, seed)
    fingerprint = digest(settings.identity())
    write_table(comparison, "comparison", runs, fingerprint)
    write_table(contrasts, "contrasts", found, fingerprint)
    _log_contrasts(found)


def contrast(arm: Sums, reference: Sums, seed: int) -> Contrast:
    """Compare an arm with another on the same materials.

    The intervals are percentiles over resamples: materials are drawn again for both at once, for they are the
    same, and the potentials (seeds) of each for itself. Potentials are few, so their spread is widened to
    that of the population they are drawn from.
    """
    generator = np.random.default_rng(seed)
    materials = len(arm.weights)
    drawn = generator.multinomial(materials, np.full(materials, 1 / materials), size=_RESAMPLES)
    weights = drawn @ arm.weights
    means = []
    for each in (arm, reference):
        seeds, mean = len(each.errors), each.errors.mean(axis=0)
        spread = mean + np.sqrt(seeds / (seeds - 1)) * (each.errors - mean)
        share = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES) / seeds
        means.append(np.einsum("bs,bs->b", share, drawn @ spread.T) / weights)
    tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    low, high = np.quantile(means[0], tails).tolist()
    least, most = (1.0, 1.0) if arm is reference else np.quantile(means[0] / means[1], tails).tolist()
    mean = float(arm.means.mean())
    return Contrast(mean, low, high, mean / float(reference.means.mean()), least, most, materials)


def _common(rows: list[dict[str, Any]], potentials: int) -> list[dict[str, Any]]:
    """Keep the frames that all potentials were asked about."""
    asked: dict[str, int] = {}
    for row in rows:
        asked[row["snapshot_id"]] = asked.get(row["snapshot_id"], 0) + 1
    common = {name for name, count in asked.items() if count == potentials}
    if not common:
        raise UserError(
            "compare: no frame of the test has only elements that every arm was trained on, so there is "
            "nothing to test on. Make select.target or the smallest of compare.cost_shares larger, or "
            "explore more crystals of the same elements."
        )
    log.info("%d of %d frames of the test have elements that all arms know", len(common), len(asked))
    return [row for row in rows if row["snapshot_id"] in common]


def _sums(rows: list[dict[str, Any]], every: list[Arm], what: str) -> dict[tuple[str, float], Sums]:
    """Sum one error by arm, seed and material."""
    materials = {name: k for k, name in enumerate(sorted({row["structure_id"] for row in rows}))}
    seeds = {seed: k for k, seed in enumerate(sorted({row["seed"] for row in rows}))}
    errors = {(arm.policy, arm.cost_share): np.zeros((len(seeds), len(materials))) for arm in every}
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
    reference = max((arm for arm in every if arm.policy == every[0].policy), key=lambda arm: arm.cost_share)
    found = []
    for what, of_arms in sums.items():
        base = of_arms[reference.policy, reference.cost_share]
        for arm in every:
            result = contrast(of_arms[arm.policy, arm.cost_share], base, seed)
            about = _about(arm)
            del about["picks"]
            named = f"{reference.policy} at {reference.cost_share:g}"
            row = {"error": what, "reference": named, "verdict": result.verdict, **vars(result)}
            del row["materials"]
            found.append(head | about | row)
    return found


def _log_contrasts(found: list[dict[str, Any]]) -> None:
    """Log the comparison of forces on frames of dynamics."""
    for row in found:
        if row["frames"] == "dynamics" and row["error"] == "force_mae_meV_per_A":
            log.info(
                "%s at %g of the cost: forces %.3g meV/Å (%.3g to %.3g), %.3g of %s (%.3g to %.3g): %s",
                row["arm"], row["cost_share"], row["mean"], row["low"], row["high"], row["ratio"],
                row["reference"], row["ratio_low"], row["ratio_high"], row["verdict"],
            )  # fmt: skip
