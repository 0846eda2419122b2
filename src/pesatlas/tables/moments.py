"""Moments of feature vectors, summed shard by shard: what an exact PCA over everything needs, and no more."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.tables.arrays import read_arrays, write_arrays

_PARTS = ("n", "total", "outer")


@dataclass
class Moments:
    """Count, sum and sum of outer products of d-dimensional vectors, in float64.

    Attributes
    ----------
    n : int
    total : (d,) sum of x
    outer : (d, d) sum of x xᵀ
    """

    n: int
    total: NDArray[np.float64]
    outer: NDArray[np.float64]

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Moments of nothing."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    def add(self, vectors: NDArray) -> None:
        """Add the rows of ``vectors`` (m, d)."""
        x = np.asarray(vectors, dtype=np.float64)
        self.n += len(x)
        self.total += x.sum(axis=0)
        self.outer += x.T @ x

    def merge(self, other: "Moments") -> None:
        """Add what ``other`` summed."""
        self.n += other.n
        self.total += other.total
        self.outer += other.outer


@dataclass
class ShardMoments:
    """The moments beside one shard of features, and whose features they are."""

    encoder: str
    weights_hash: str
    structures: Moments
    atoms: Moments

    def write(self, path: Path) -> None:
        """Write an ``.npz`` atomically; nothing in it is pickled."""
        arrays = {
            f"{name}_{part}": getattr(moments, part)
            for name, moments in (("structures", self.structures), ("atoms", self.atoms))
            for part in _PARTS
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
        names = [f"{name}_{part}" for name in ("structures", "atoms") for part in _PARTS]
        about, arrays = read_arrays(path, "moments", names)
        structures, atoms = (
            Moments(int(arrays[f"{name}_n"]), arrays[f"{name}_total"], arrays[f"{name}_outer"])
            for name in ("structures", "atoms")
        )
        return cls(about["encoder"], about["weights_hash"], structures, atoms)
