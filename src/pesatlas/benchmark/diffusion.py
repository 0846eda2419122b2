"""Diffusion and conductivity from the positions of ions."""

from dataclasses import dataclass

import numpy as np

from pesatlas.atoms.units import BOLTZMANN_EV_PER_K

_SHORTEST, _LONGEST = 0.1, 0.5
"""Lags that the slope is fitted to, as shares of a block.

Ballistic motion before, few independent pairs after.
"""
_S_PER_CM = 1.602176634e4
"""From e²/(eV Å fs), which is e/(V Å fs), to S/cm: 1.602e-19 C / (1e-8 cm 1e-15 s V)."""


@dataclass(frozen=True)
class Diffusion:
    """Diffusion coefficient of an ion and its standard error, both in Å²/fs."""

    value: float
    error: float


def diffusion(positions: np.ndarray, interval_fs: float, blocks: int) -> Diffusion:
    """Slope of the mean squared displacement over 6 (Einstein 1905), with an error from blocks.

    Parameters
    ----------
    positions : (frames, ions, 3) Å, not wrapped
    interval_fs : time between frames, fs
    blocks : pieces of equal length, each fitted by itself (Flyvbjerg & Petersen 1989)

    Raises
    ------
    ValueError
        If a block has fewer than eight frames.
    """
    length = len(positions) // blocks
    if length < 8:
        raise ValueError(
            f"{len(positions)} frames are too few for {blocks} blocks of 8; make the trajectory longer"
        )
    slopes = [_slope(positions[k * length : (k + 1) * length], interval_fs) for k in range(blocks)]
    return Diffusion(float(np.mean(slopes)) / 6, float(np.std(slopes, ddof=1)) / 6 / blocks**0.5)


def _slope(positions: np.ndarray, interval_fs: float) -> float:
    lags = np.unique(np.linspace(_SHORTEST * len(positions), _LONGEST * len(positions), 12).astype(int))
    lags = lags[lags > 0]
    squared = [((positions[lag:] - positions[:-lag]) ** 2).sum(2).mean() for lag in lags]
    return float(np.polyfit(lags * interval_fs, squared, 1)[0])


def conductivity(
    found: Diffusion,
    ions: int,
    volume_A3: float,  # noqa: N803 - units
    charge: float,
    temperature_K: float,  # noqa: N803
) -> tuple[float, float]:
    """Conductivity and its standard error in S/cm by Nernst and Einstein.

    N q² D / (V kT), ions moving independently.

    Parameters
    ----------
    found : diffusion of one ion
    ions : ions in the cell
    volume_A3 : of the cell, Å³
    charge : of an ion, in elementary charges
    temperature_K : K
    """
    factor = ions * charge**2 / (volume_A3 * BOLTZMANN_EV_PER_K * temperature_K) * _S_PER_CM
    return factor * found.value, factor * found.error
