"""Moments of feature vectors, summed shard by shard: all that an exact PCA needs.

The sums are integers, so that they are the same whatever the order of vectors and however they are cut into
shards; with rounded sums the principal components would differ in the last digits, and a few of a billion
snapshots in their cluster.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.tables.arrays import read_arrays, write_arrays

_PARTS = ("n", "sums", "products")
# A float16 is a multiple of 2^-24 below 2^16: three digits of 14 bits. Products of digits summed over 2^35
# rows fit 63 bits.
_DIGITS, _BITS, _SMALLEST = 3, 14, 24
# Sums over so many rows (few, for the caches) are exact in float64, whatever order a BLAS adds them in: 28 +
# 11 bits.
_BLOCK = 1 << 11
_DOWN = 2.0**-_BITS


@dataclass
class Moments:
    """Count, sum and sum of outer products of d-dimensional float16 vectors, exact up to 3e10 vectors.

    Attributes
    ----------
    n : int
    sums : (3 d,) int64, sums of the lowest digits of all components, of the middle ones, of the highest
    products : (3 d, 3 d) int64, sums of their products
    """

    n: int
    sums: NDArray[np.int64]
    products: NDArray[np.int64]

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Moments of nothing."""
        digits = _DIGITS * dimension
        return cls(0, np.zeros(digits, dtype=np.int64), np.zeros((digits, digits), dtype=np.int64))

    def add(self, vectors: NDArray) -> None:
        """Add the rows of ``vectors`` (m, d), finite; they are rounded to float16."""
        x = np.asarray(vectors, dtype=np.float16)
        self.n += len(x)
        for start in range(0, len(x), _BLOCK):
            digits = _digits(x[start : start + _BLOCK])
            used = digits.shape[1]
            self.sums[:used] += digits.sum(axis=0).astype(np.int64)
            self.products[:used, :used] += (digits.T @ digits).astype(np.int64)

    def merge(self, other: "Moments") -> None:
        """Add what ``other`` summed."""
        self.n += other.n
        self.sums += other.sums
        self.products += other.products

    @property
    def dimension(self) -> int:
        """Length d of the vectors."""
        return len(self.sums) // _DIGITS

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of x (d,)."""
        scales = np.ldexp(1.0, _BITS * np.arange(_DIGITS) - _SMALLEST)
        total: NDArray[np.float64] = scales @ self.sums.reshape(_DIGITS, -1).astype(float)
        return total

    @property
    def outer(self) -> NDArray[np.float64]:
        """Sum of x xᵀ (d, d)."""
        d = self.dimension
        parts = self.products.reshape(_DIGITS, d, _DIGITS, d)
        whole = np.zeros((d, d))
        for i in range(_DIGITS):
            for j in range(_DIGITS):
                whole += np.ldexp(parts[i, :, j].astype(float), _BITS * (i + j) - 2 * _SMALLEST)
        return (whole + whole.T) / 2


def _digits(x: NDArray[np.float16]) -> NDArray[np.float64]:
    """Digits (m, 2 d) or (m, 3 d) of ``x`` (m, d), each with the sign of its number.

    Highest ones only if there are any.
    """
    value = x.astype(np.float64)
    value *= 1 << _SMALLEST
    count = _DIGITS if np.abs(value).max(initial=0) >= 1 << (2 * _BITS) else _DIGITS - 1
    digits = np.empty((len(x), count, x.shape[1]))
    for i in range(count - 1):
        rest = np.trunc(value * _DOWN)
        np.subtract(value, rest * (1 << _BITS), out=digits[:, i])
        value = rest
    digits[:, -1] = value
    return digits.reshape(len(x), -1)


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
            Moments(int(arrays[f"{name}_n"]), arrays[f"{name}_sums"], arrays[f"{name}_products"])
            for name in ("structures", "atoms")
        )
        return cls(about["encoder"], about["weights_hash"], structures, atoms)
