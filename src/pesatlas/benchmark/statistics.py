"""Uncertainty of a number: bootstrap intervals, paired tests, survival with censoring."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 4000
_AT_ONCE = 2_000_000
_CONFIDENCE = 0.95


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> tuple[float, float, float]:
    """Mean of ``values`` and its 95 % interval: percentiles of means of samples drawn with replacement (Efron 1979).

    One value has no interval: its ends are NaN.
    """
    each = np.asarray(values, dtype=float)
    if len(each) < 2:
        return float(each.mean()), np.nan, np.nan
    low, high = np.quantile(_means(each, seed), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(each.mean()), float(low), float(high)


def _means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    draw = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // len(values))
    parts = [
        values[draw.integers(len(values), size=(min(rows, RESAMPLES - done), len(values)))].mean(1)
        for done in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts)


@dataclass(frozen=True)
class Paired:
    """Two potentials on the same structures: mean of |error| of the first less that of the second, interval, and a p-value."""

    n: int
    difference: float
    low: float
    high: float
    p_value: float


def paired_test(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Paired:
    """Compare errors of the same structures: bootstrap of the differences, and Wilcoxon's signed-rank test (1945).

    Parameters
    ----------
    first, second : (n,) absolute errors, in the same order
    """
    from scipy.stats import wilcoxon  # noqa: PLC0415 - slow to import

    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, low, high = bootstrap_mean(differences, seed)
    if len(differences) < 2 or not differences.any():
        return Paired(len(differences), mean, low, high, 1.0)
    return Paired(len(differences), mean, low, high, float(wilcoxon(differences).pvalue))


def survival(times: ArrayLike, ended: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share that is still going after each time, by Kaplan and Meier (1958): those that only stopped being watched count until then.

    Parameters
    ----------
    times : (n,) when each ended or was last seen
    ended : (n,) bool, whether it ended

    Returns
    -------
    at : (m,) times at which something ended, ascending
    share : (m,) that goes on after each
    """
    times, ended = np.asarray(times, dtype=float), np.asarray(ended, dtype=bool)
    at = np.unique(times[ended])
    risk = (times[None, :] >= at[:, None]).sum(1)
    deaths = ((times[None, :] == at[:, None]) & ended[None, :]).sum(1)
    return at, np.cumprod(1 - deaths / np.maximum(risk, 1))


def half_life(times: ArrayLike, ended: ArrayLike) -> float:
    """Time at which half have ended; infinite if more than half survive."""
    at, share = survival(times, ended)
    below = at[share <= 0.5 + 1e-12]
    return float(below[0]) if len(below) else np.inf


def bootstrap_half_life(times: ArrayLike, ended: ArrayLike, seed: int = 0) -> tuple[float, float, float]:
    """``half_life`` with its 95 % interval, by drawing structures with replacement."""
    times, ended = np.asarray(times, dtype=float), np.asarray(ended, dtype=bool)
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES // 4):
        rows = draw.integers(len(times), size=len(times))
        found.append(half_life(times[rows], ended[rows]))
    # infinities among them sort to the end, which is what they mean
    low, high = np.sort(found)[[round(0.025 * (len(found) - 1)), round(0.975 * (len(found) - 1))]]
    return half_life(times, ended), float(low), float(high)
