"""Calibration of committee disagreement against errors on labels outside its training set."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pesatlas import __version__
from pesatlas.campaign.rounds import datasets_before
from pesatlas.config.round import Round
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.potentials.committee import MeanPrediction, load_committee, predict
from pesatlas.potentials.device import check_device
from pesatlas.runtime.progress import Progress
from pesatlas.select.expected_errors import ALL, ENERGY, FORCES
from pesatlas.tables import check_entry, read_table, write_table

log = logging.getLogger(__name__)

_BINS = 10
_FEWEST = 5
"""Values in a bin, at least."""
_FRAMES = 5000
_RESAMPLES = 1000
_Floats = NDArray[np.float64]


def calibrate_disagreement(settings: Round, level: str, seed: int, calibration: Path) -> None:
    """Write the table ``calibration``.

    Disagreement of the committee on labels of the round before, against its errors there.

    Rows of the splits valid and test are taken, which the committee was not trained on: at most 5,000 of
    them, chosen at random. If there are none, those that it was trained on have to do: ``held_out`` is then
    false, and the errors are smaller than they will be.

    Raises
    ------
    UserError
        If the round before has not finished or has changed, a member cannot be loaded, or no label can be
        evaluated.
    """
    dataset = datasets_before(settings, level)[0]
    if dataset.parent.name != level:
        raise UserError(
            f"round.level: {settings.previous} has no dataset at {level}, only at {dataset.parent.name} and "
            "other levels in its manifest. Name the level that the committee was trained at."
        )
    check_entry(dataset)
    check_device(settings.device, "round.device")
    members = load_committee(settings.committee, settings.device)
    rows, held_out = _labels(dataset, seed)
    progress = Progress("labels", len(rows))
    parts: dict[str, list[tuple[str, _Floats, _Floats]]] = {ENERGY: [], FORCES: []}
    for label, prediction in zip(rows, predict(members, rows), strict=True):
        progress.step()
        if isinstance(prediction, MeanPrediction):
            off = prediction.energy_eV_per_atom - label["energy_eV"] / label["n_atoms"]
            apart = prediction.forces_eV_per_A - np.reshape(label["forces_eV_per_A"], (-1, 3))
            name = label["structure_id"]
            parts[ENERGY].append((name, np.array([prediction.energy_std_eV_per_atom]), np.array([abs(off)])))
            parts[FORCES].append((name, prediction.force_std_eV_per_A, np.linalg.norm(apart, axis=1)))
    if not parts[FORCES]:
        raise UserError(
            f"The committee could not evaluate one of {len(rows)} labels in {dataset}: does it know their "
            "elements?"
        )
    found = []
    for quantity, values in parts.items():
        std, error = (np.concatenate([value[i] for value in values]) for i in (1, 2))
        crystals = np.concatenate([np.full(len(value[1]), value[0]) for value in values])
        about = {"quantity": quantity, "held_out": held_out, "code_version": __version__}
        found += [about | row for row in reliability(std, error, crystals)]
    _log_calibration(found, dataset, held_out=held_out)
    hashes = [member.weights_hash for member in members]
    counts = {"labels": len(rows), "evaluated": len(parts[FORCES])}
    write_table(calibration, "calibration", found, digest(settings.identity(), hashes), counts)


def reliability(std: _Floats, error: _Floats, crystals: NDArray[Any]) -> list[dict[str, Any]]:
    """Rows of table ``calibration``.

    All values together, then bins of as many values each, from small to large ``std``.

    The factor is the root of (sum of squared errors / sum of variances): with it the expected squared error
    is right on the whole. The mean of the ratios, which is the maximum of the likelihood, would be ruled by
    values at which few members happen to agree. What is left wrong is the expected normalised calibration
    error, the mean over bins of |expected - error| / expected (Levi et al., arXiv 1905.11659). Intervals (95
    %) are by resampling crystals: frames of one are alike.

    Parameters
    ----------
    std, error : (N,) standard deviation of the committee, and distance of its mean from the label, in the
        same unit
    crystals : (N,) what is resampled as a whole

    Raises
    ------
    UserError
        If the members agree exactly everywhere.
    """
    if not (std**2).sum() > 0:
        raise UserError(
            "round.committee: its members predict the same for every label, so they are the same potential. "
            "Train them with different seeds."
        )
    factor, factor_low, factor_high, *_ = _fit(std, error, crystals)
    bins = max(1, min(_BINS, len(std) // _FEWEST))
    parts = np.array_split(np.argsort(std, kind="stable"), bins)
    rows = [
        _row(number, std[part], error[part], crystals[part], factor)
        for number, part in enumerate([np.arange(len(std)), *parts], start=ALL)
    ]
    within = [abs(row["expected"] - row["error"]) / row["expected"] for row in rows[1:] if row["expected"]]
    rows[0] |= {
        "factor": factor,
        "factor_low": factor_low,
        "factor_high": factor_high,
        "miscalibration": float(np.mean(within)),
        "rank_correlation": _rank_correlation(std, error),
    }
    return rows


def _labels(dataset: Path, seed: int) -> tuple[list[dict[str, Any]], bool]:
    """Return accepted labels, and whether they were held out from training."""
    ids = read_table(dataset, "dataset", ["snapshot_id", "split", "verdict"])
    ids = ids.filter(pc.equal(ids["verdict"], "accepted")).sort_by("snapshot_id")
    held_out = ids.filter(pc.not_equal(ids["split"], "train"))
    some = held_out if len(held_out) else ids
    if not len(held_out):
        log.warning("%s has no row in the splits valid and test: errors are those of training", dataset)
    names = np.array(some["snapshot_id"].to_pylist())
    sampled = np.random.default_rng(seed).permutation(len(names))[:_FRAMES]
    columns = ["snapshot_id", "structure_id", "n_atoms", "numbers", "cell_A", "positions_A"]
    columns += ["energy_eV", "forces_eV_per_A"]
    wanted = pc.field("snapshot_id").isin(sorted(names[sampled].tolist()))
    rows = read_table(dataset, "dataset", columns, wanted).sort_by("snapshot_id").to_pylist()
    return rows, len(held_out) > 0


def _row(number: int, std: _Floats, error: _Floats, crystals: NDArray[Any], factor: float) -> dict[str, Any]:
    *_, low, high = _fit(std, error, crystals)
    root = float(np.sqrt((std**2).mean()))
    return {
        "bin": number,
        "values": len(std),
        "std": root,
        "expected": factor * root,
        "error": float(np.sqrt((error**2).mean())),
        "error_low": low,
        "error_high": high,
    }


def _fit(std: _Floats, error: _Floats, crystals: NDArray[Any]) -> tuple[float, float, float, float, float]:
    """Return the factor and its interval, and that of the root mean square error, by resampling crystals."""
    names, owner = np.unique(crystals, return_inverse=True)
    sums = [np.bincount(owner, weights, len(names)) for weights in (error**2, std**2, np.ones(len(std)))]
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_RESAMPLES)
    errors, variances, counts = (times @ each for each in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.sqrt(errors / variances)
    low, high = np.nanpercentile(factors, [2.5, 97.5]) if (variances > 0).any() else (np.nan, np.nan)
    root_low, root_high = np.percentile(np.sqrt(errors / counts), [2.5, 97.5])
    whole = np.sqrt(sums[0].sum() / sums[1].sum()) if sums[1].sum() > 0 else np.nan
    return float(whole), float(low), float(high), float(root_low), float(root_high)


def _rank_correlation(std: _Floats, error: _Floats) -> float | None:
    from scipy.stats import spearmanr  # noqa: PLC0415 - slow to import

    if len(std) < 3 or not np.ptp(std) or not np.ptp(error):
        return None
    return float(spearmanr(std, error).statistic)


def _log_calibration(found: list[dict[str, Any]], dataset: Path, *, held_out: bool) -> None:
    for row in found:
        if row["bin"] == ALL:
            log.info(
                "%s of %d values %s %s: errors are %.3g (%.3g to %.3g) times the disagreement",
                row["quantity"],
                row["values"],
                "held out in" if held_out else "in",
                dataset,
                row["factor"],
                row["factor_low"],
                row["factor_high"],
            )
