"""Moments of feature vectors, summed shard by shard: what an exact PCA over everything needs, and no more."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.tables.atomic import atomic_path


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
        arrays: dict[str, Any] = {
            f"{name}_{part}": np.asarray(getattr(moments, part))
            for name, moments in (("structures", self.structures), ("atoms", self.atoms))
            for part in ("n", "total", "outer")
        }
        about = json.dumps({"encoder": self.encoder, "weights_hash": self.weights_hash})
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, about=np.asarray(about), **arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises
        ------
        UserError
            If the file is missing or is not one.
        """
        if not path.is_file():
            raise UserError(f"{path} does not exist: the encode stage has not run.")
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                structures, atoms = (
                    Moments(int(file[f"{name}_n"]), file[f"{name}_total"], file[f"{name}_outer"])
                    for name in ("structures", "atoms")
                )
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} does not hold moments ({error}). Delete it and run again.") from error
        return cls(about["encoder"], about["weights_hash"], structures, atoms)
