"""Policy ``farthest``: farthest-point sampling of structures, a baseline."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.select.pool import Known, Pick, Pool

PER_CLUSTER = 1
"""Candidates for each atomic cluster."""


class Options(Section):
    """Options of the policy: none."""

    kind: Literal["farthest"] = Field(
        "farthest",
        description="farthest-point sampling of structures, a baseline; time grows as candidates x picks",
    )


def order(pool: Pool, options: Options) -> list[NDArray]:  # noqa: ARG001 - every policy is called this way
    """Return what candidates are ordered by: farthest from the centre."""
    return [-pool.centre_distances]


def choose(pool: Pool, options: Options, taken: list[int], known: Known) -> list[Pick]:  # noqa: ARG001 - every policy is called this way
    """Pick the candidate whose structure is farthest from picks, ``taken`` and ``known``.

    The first from the origin, the mean of all.
    """
    from scipy.spatial.distance import cdist  # noqa: PLC0415 - slow to import

    points = pool.structure_pcs.astype(float)
    start = np.concatenate([points[taken], known.structure_pcs.reshape(-1, points.shape[1])])
    start = start if len(start) else np.zeros((1, points.shape[1]))
    apart = np.full(len(points), np.inf)
    for part in np.array_split(start, len(start) // 1024 + 1):
        apart = np.minimum(apart, cdist(points, part).min(axis=1))
    apart[taken] = -1.0
    picks: list[Pick] = []
    for _ in range(min(pool.target, len(points) - len(taken))):
        row = int(apart.argmax())
        picks.append(Pick(row, f"{apart[row]:.3g} from the nearest pick in weighted PCs", 0))
        apart = np.minimum(apart, np.linalg.norm(points - points[row], axis=1))
        apart[row] = -1.0
    return picks
