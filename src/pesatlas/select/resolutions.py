"""Bins of atomic environments at several resolutions, over the centres of all atomic clusters."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pesatlas.select.pool import Pool

FINER = 2**0.5
_COARSEST = 40


def resolutions(pool: Pool, finer: float = FINER) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """Yield resolutions from coarse to fine: the resolution, and the bin of each atomic cluster.

    Each is finer by ``finer`` than the one before; the first is one bin for all, the last the clusters
    themselves.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    from pesatlas.select.cftree import CFs, build  # noqa: PLC0415 - imports numba

    centres = pool.atom_centres
    points = CFs(centres.weights, centres.means, np.zeros(len(centres.weights)))
    coarser = []
    for step in range(1, _COARSEST):
        resolution = centres.threshold * finer**step
        leaves = build(points, resolution)
        coarser.append((resolution, KDTree(leaves.means).query(centres.means)[1]))
        if len(leaves.weights) == 1:
            break
    yield from reversed(coarser)
    yield centres.threshold, np.arange(len(centres.weights))
