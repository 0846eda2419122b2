"""Exact principal components, from the moments beside each shard."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.tables.arrays import read_arrays, write_arrays
from pesatlas.tables.moments import Moments, ShardMoments

log = logging.getLogger(__name__)

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


@dataclass
class Pca:
    """Principal components of structures and of atoms, and whose features they are made of."""

    encoder: str
    weights_hash: str
    structures: Components
    atoms: Components

    def write(self, path: Path) -> None:
        """Write an ``.npz`` atomically; nothing in it is pickled."""
        arrays = {
            f"{name}_{part}": array
            for name, components in (("structures", self.structures), ("atoms", self.atoms))
            for part, array in vars(components).items()
        }
        write_arrays(path, {"encoder": self.encoder, "weights_hash": self.weights_hash}, arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises
        ------
        UserError
            If the file is missing or is not one.
        """
        parts = list(Components.__dataclass_fields__)
        names = [f"{name}_{part}" for name in ("structures", "atoms") for part in parts]
        about, arrays = read_arrays(path, "principal components", names)
        structures, atoms = (
            Components(*(arrays[f"{name}_{part}"] for part in parts)) for name in ("structures", "atoms")
        )
        return cls(about["encoder"], about["weights_hash"], structures, atoms)


def fit_pca(settings: Select, moments: list[Path], pca: Path) -> None:
    """Fit principal components of all structures and all atoms from the moments of every shard.

    MatPES fitted those of atoms on ground states only, because 16 billion environments were too many; summed
    moments need no such compromise.

    Raises
    ------
    UserError
        If the shards were encoded by different models, or hold nothing.
    """
    shards = [ShardMoments.read(path) for path in sorted(moments)]
    if not shards:
        raise UserError("There are no moments to fit principal components to: no shard was encoded.")
    first = shards[0]
    for path, shard in zip(sorted(moments), shards, strict=True):
        if (shard.encoder, shard.weights_hash) != (first.encoder, first.weights_hash):
            raise UserError(
                f"{path} was encoded with {shard.encoder} ({shard.weights_hash[:12]}), other shards with "
                f"{first.encoder} ({first.weights_hash[:12]}). Delete the folder of features and encode all "
                "again."
            )
    for shard in shards[1:]:
        first.structures.merge(shard.structures)
        first.atoms.merge(shard.atoms)
    fitted = Pca(
        first.encoder,
        first.weights_hash,
        Components.fit(first.structures, settings.structure.components),
        Components.fit(first.atoms, settings.atoms.components),
    )
    fitted.write(pca)
    for name, part, n in (
        ("structures", fitted.structures, first.structures.n),
        ("atoms", fitted.atoms, first.atoms.n),
    ):
        log.info(
            "%s: %d principal components explain %.1f %% of %d vectors",
            name,
            len(part.axes),
            100 * part.weights.sum(),
            n,
        )
