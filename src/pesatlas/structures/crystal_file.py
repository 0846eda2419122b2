"""Crystals on disk during preparation: 150,000 Python objects would take gigabytes of memory."""

import json
import os
import tempfile
from array import array
from collections.abc import Sequence
from typing import overload

import numpy as np

from pesatlas.structures.crystal import Crystal

_WRITE_AT = 1 << 20


class CrystalFile(Sequence[Crystal]):
    """A list of crystals in a temporary file; in memory there are eight bytes for each.

    The file has no name, so that nothing of it is left whatever ends the process. Arrays come back bit for
    bit.
    """

    def __init__(self) -> None:
        # the file lives as long as this object
        self._file = tempfile.TemporaryFile(prefix="pesatlas-")  # noqa: SIM115
        self._ends = array("Q")
        self._waiting: list[bytes] = []
        self._size = self._written = 0

    def append(self, crystal: Crystal) -> None:
        """Add a crystal at the end."""
        head = json.dumps(
            [crystal.structure_id, crystal.source, crystal.warnings, len(crystal.numbers)]
        ).encode()
        parts = [
            len(head).to_bytes(4, "little"),
            head,
            np.asarray(crystal.numbers, dtype="<i8").tobytes(),
            np.asarray(crystal.cell, dtype="<f8").tobytes(),
            np.asarray(crystal.positions, dtype="<f8").tobytes(),
        ]
        self._waiting += parts
        self._size += sum(len(part) for part in parts)
        self._ends.append(self._size)
        if self._size - self._written > _WRITE_AT:
            self._flush()

    def _flush(self) -> None:
        self._file.write(b"".join(self._waiting))
        self._file.flush()
        self._waiting = []
        self._written = self._size

    def __len__(self) -> int:
        """Return how many crystals there are."""
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Crystal: ...

    @overload
    def __getitem__(self, index: slice) -> list[Crystal]: ...

    def __getitem__(self, index: int | slice) -> Crystal | list[Crystal]:
        """Read a crystal, or a slice of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if self._waiting:
            self._flush()
        start = self._ends[index - 1] if index else 0
        return _unpacked(os.pread(self._file.fileno(), self._ends[index] - start, start))


class Chosen(Sequence[Crystal]):
    """Some crystals of a sequence, in an order of their own, read when they are asked for."""

    def __init__(self, crystals: Sequence[Crystal], order: Sequence[int]) -> None:
        self._crystals = crystals
        self._order = array("Q", order)

    def __len__(self) -> int:
        """Return how many crystals there are."""
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Crystal: ...

    @overload
    def __getitem__(self, index: slice) -> list[Crystal]: ...

    def __getitem__(self, index: int | slice) -> Crystal | list[Crystal]:
        """Return a crystal, or a slice of them."""
        if isinstance(index, slice):
            return [self._crystals[i] for i in self._order[index]]
        return self._crystals[self._order[index]]


def _unpacked(data: bytes) -> Crystal:
    start = 4 + int.from_bytes(data[:4], "little")
    name, source, warnings, n_atoms = json.loads(data[4:start])
    numbers = np.frombuffer(data, "<i8", n_atoms, start).astype(int)
    floats = np.frombuffer(data, "<f8", 9 + 3 * n_atoms, start + numbers.nbytes).astype(float)
    return Crystal(
        name, numbers, floats[:9].reshape(3, 3), floats[9:].reshape(-1, 3), source, tuple(warnings)
    )
