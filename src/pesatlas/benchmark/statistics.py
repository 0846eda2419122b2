"""Uncertainty of a number: bootstrap intervals, paired tests, survival with censoring."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 4000
_AT_ONCE = 2_000_000
_CONFIDENCE = 0.95


def bootstrap_mean(values: ArrayLike, seed: int = 0) -> tuple[float, float, float]:
    """Mean of ``values`` and its 95 % interval.

    Percentiles of means of samples drawn with replacement (Efron 1979).

    One value has no interval: its ends are NaN.
    """
    from scipy.stats import bootstrap  # noqa: PLC0415 - slow to import

    each = np.asarray(values, dtype=float)
    if len(each) < 2:
        return float(each.mean()), np.nan, np.nan
    low, high = bootstrap(
        (each,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // len(each)),
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(each.mean()), float(low), float(high)


def bootstrap_ratio(
    numerators: ArrayLike, denominators: ArrayLike, seed: int = 0
) -> tuple[float, float, float]:
    """Sum of ``numerators`` over sum of ``denominators``, and its 95 % interval, by drawing pairs.

    Errors of frames with many atoms so count by their atoms; a slope through the origin is such a ratio too.
    Percentiles as in ``bootstrap_mean``. No denominator may be negative, nor all of them zero.

    One pair has no interval: its ends are NaN.
    """
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    value = float(above.sum() / below.sum())
    if len(above) < 2:
        return value, np.nan, np.nan
    draw = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(above))
    found = []
    for start in range(0, RESAMPLES, at_once):
        rows = draw.integers(len(above), size=(min(at_once, RESAMPLES - start), len(above)))
        whole = below[rows].sum(axis=1)
        # a sample of frames at rest alone has no slope of forces
        found.append(above[rows].sum(axis=1)[whole > 0] / whole[whole > 0])
    edge = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(np.concatenate(found), [edge, 100 - edge])
    return value, float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """Two potentials on the same structures.

    Mean of |error| of the first less that of the second, interval, and a p-value.
    """

    n: int
    difference: float
    low: float
    high: float
    p_value: float


def paired_test(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Paired:
    """Compare errors of the same structures.

    Bootstrap of the differences, and Wilcoxon's signed-rank test (1945).

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
    """Share that is still going after each time, by Kaplan and Meier (1958).

    Those that only stopped being watched count until then.

    Parameters
    ----------
    times : (n,) when each ended or was last seen
    ended : (n,) bool, whether it ended

    Returns
    -------
    at : (m,) times at which something ended, ascending
    share : (m,) that goes on after each
    """
    from scipy.stats import CensoredData, ecdf  # noqa: PLC0415 - slow to import

    times, ended = np.asarray(times, dtype=float), np.asarray(ended, dtype=bool)
    found = ecdf(CensoredData.right_censored(times, ~ended)).sf
    # scipy lists the times at which watching stopped too
    died = np.isin(found.quantiles, times[ended])
    return found.quantiles[died], found.probabilities[died]


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
