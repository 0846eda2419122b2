"""Centres of structure clusters, and of atomic clusters inside each."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.select.cftree import build
from pesatlas.select.grid import Cells
from pesatlas.tables.arrays import read_arrays, write_arrays

# Bisections of the threshold: it ends within a thousandth of the right one, or where the number of clusters
# jumps.
_HALVINGS = 24
_NEAR = 0.01


@dataclass
class Centres:
    """Centres of the clusters of each owner, the most populous first.

    A cluster is numbered through all owners.

    Attributes
    ----------
    threshold : of the tree they are leaves of
    edges : (owners + 1,) clusters of owner i are edges[i]:edges[i + 1]
    means : (clusters, k)
    weights : (clusters,) points that made each
    """

    threshold: float
    edges: NDArray[np.int64]
    means: NDArray[np.float64]
    weights: NDArray[np.float64]
    _trees: dict[int, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_cells(cls, cells: Cells, threshold: float) -> Self:
        """Cluster the cells of each owner, in canonical order."""
        edges, means, weights = [0], [], []
        for start, end in _owned(cells):
            leaves = build(cells.features(slice(start, end)), threshold)
            order = np.argsort(-leaves.weights, kind="stable")
            means.append(leaves.means[order])
            weights.append(leaves.weights[order])
            edges.append(edges[-1] + len(order))
        dimension = cells.coordinates.shape[1]
        return cls(
            threshold,
            np.array(edges, dtype=np.int64),
            np.concatenate([np.empty((0, dimension)), *means]),
            np.concatenate([np.empty(0), *weights]),
        )

    @classmethod
    def with_count(cls, cells: Cells, count: int) -> Self:
        """Find the threshold that gives ``count`` clusters over all owners, by bisection.

        What comes nearest is returned: there are jumps, never more clusters than cells, and never fewer than
        owners.
        """
        means = cells.features().means
        spread = np.linalg.norm(means.max(axis=0) - means.min(axis=0)) if len(means) else 0.0
        low, high = cells.width / 64, max(float(spread), cells.width)
        best = cls.of_cells(cells, low)
        if len(best.weights) <= count:
            return best
        for _ in range(_HALVINGS):
            middle = float(np.sqrt(low * high))
            found = cls.of_cells(cells, middle)
            if abs(len(found.weights) - count) < abs(len(best.weights) - count):
                best = found
            if abs(len(found.weights) - count) <= _NEAR * count:
                break
            low, high = (middle, high) if len(found.weights) > count else (low, middle)
        return best

    def nearest(
        self, owners: NDArray[np.int32], points: NDArray
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Nearest centre of the same owner and its exact distance, for each of ``points`` (m, k)."""
        from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

        clusters = np.empty(len(points), dtype=np.int32)
        distances = np.empty(len(points))
        order = np.argsort(owners, kind="stable")
        present, starts = np.unique(owners[order], return_index=True)
        for owner, rows in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            first, last = self.edges[owner], self.edges[owner + 1]
            if owner not in self._trees:
                self._trees[owner] = KDTree(self.means[first:last])
            distances[rows], found = self._trees[owner].query(points[rows])
            clusters[rows] = first + found
        return clusters, distances

    def write(self, path: Path, points: str) -> None:
        """Write an ``.npz`` atomically; ``points`` is a hash of what was clustered."""
        parts = {name: getattr(self, name) for name in ("threshold", "edges", "means", "weights")}
        write_arrays(path, {"points": points}, parts)

    @classmethod
    def read(cls, path: Path) -> tuple[Self, str]:
        """Read what ``write`` wrote.

        Raises
        ------
        UserError
            If the file is missing or is not one.
        """
        names = ["threshold", "edges", "means", "weights"]
        about, arrays = read_arrays(path, "centres of clusters", names)
        found = cls(float(arrays["threshold"]), arrays["edges"], arrays["means"], arrays["weights"])
        return found, about["points"]


def _owned(cells: Cells) -> list[tuple[int, int]]:
    """First and last row of each owner's cells, which are sorted by owner."""
    edges = np.searchsorted(cells.owners, np.arange(len(cells.levels) + 1))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
