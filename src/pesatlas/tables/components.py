"""Principal components of feature vectors, weighted by the variance that each explains."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.tables.moments import Moments

# Relative to the mean square, a variance below this is the rounding of a constant column.
_CONSTANT = 1e-13
# Rows that are projected by one matrix product, always: a BLAS rounds differently for other shapes.
_BLOCK = 1024


@dataclass
class Components:
    """A z-score scaler and the principal components of what it scales.

    Attributes
    ----------
    mean, scale : (d,) of the scaler; the scale of a constant column is 1
    axes : (k, d) unit vectors, the entry of largest magnitude positive
    eigenvalues : (d,) of the correlation matrix, largest first
    weights : (k,) share of the variance that each component explains
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    axes: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, moments: Moments, components: str | int) -> Self:
        """Principal components of the z-scored vectors that ``moments`` summed.

        Parameters
        ----------
        moments : Moments
            Of one vector or more.
        components : int or "kaiser"
            How many to keep. Kaiser's rule keeps those with an eigenvalue above 1 and at least one.

        Raises
        ------
        UserError
            If there are no vectors, or fewer dimensions than components.
        """
        dimension = moments.dimension
        if moments.n == 0:
            raise UserError(
                "There is no frame with finite features to select from: the failure tables have the reasons."
            )
        if isinstance(components, int) and components > dimension:
            raise UserError(
                f"{components} principal components are requested in section select, but the vectors have "
                f"{dimension} dimensions."
            )
        mean, outer = moments.total / moments.n, moments.outer
        square = np.diag(outer) / moments.n
        covariance = outer / moments.n - np.outer(mean, mean)
        variance = np.diag(covariance)
        varies = variance > _CONSTANT * square
        scale = np.sqrt(np.where(varies, variance, 1.0))
        correlation = np.where(np.outer(varies, varies), covariance / np.outer(scale, scale), 0.0)
        values, vectors = np.linalg.eigh(correlation)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
        keep = max(1, int((values > 1).sum())) if isinstance(components, str) else components
        axes = vectors[:keep]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        total = values.sum()
        weights = values[:keep] / total if total > 0 else np.zeros(keep)
        return cls(mean, scale, axes * np.sign(largest), values, weights)

    def project(self, vectors: NDArray) -> NDArray[np.float32]:
        """Weighted principal components (m, k) of the rows of ``vectors`` (m, d).

        Each is multiplied by the share of the variance that it explains, as DIRECT does by default (maml,
        class ``PrincipalComponentAnalysis`` with ``weighting_PCs=True``, arXiv 2307.13710). A row gives the
        same bits whatever rows are beside it, so that shards can be cut anywhere.
        """
        out = np.empty((len(vectors), len(self.axes)), dtype=np.float32)
        matrix = np.ascontiguousarray((self.axes * self.weights[:, None] / self.scale).T)
        block = np.zeros((_BLOCK, len(self.mean)))
        for start in range(0, len(vectors), _BLOCK):
            part = vectors[start : start + _BLOCK]
            block[: len(part)] = part - self.mean
            out[start : start + _BLOCK] = (block @ matrix)[: len(part)]
        return out
