"""Vectors of frames and of their atoms, rounded as table ``features`` has them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.encoder import Encoder, Frame

Described = tuple[NDArray[np.float16], NDArray[np.float16]]
"""Vectors of a frame (D,) and of its atoms (n, d)."""


def describe(encoder: Encoder, frames: Sequence[Frame | None], most_atoms: int) -> list[Described]:
    """Float16 vectors of each frame; NaN for a frame that is None, of one atom then.

    Parameters
    ----------
    most_atoms : that are encoded together
    """
    asked = [frame for frame in frames if frame is not None]
    found: list[Described] = []
    for run in chunks_by_atoms((len(frame.numbers) for frame in asked), most_atoms):
        batch = asked[run.start : run.stop]
        structures, atoms = encoder.encode(batch)
        edges = np.cumsum([len(frame.numbers) for frame in batch])[:-1]
        with np.errstate(over="ignore"):  # found by its infinities
            halves = np.split(atoms.astype(np.float16), edges)
            found += zip(structures.astype(np.float16), halves, strict=True)
    answers = iter(found)
    nothing = (
        np.full(encoder.structure_dim, np.nan, np.float16),
        np.full((1, encoder.atom_dim), np.nan, np.float16),
    )
    return [nothing if frame is None else next(answers) for frame in frames]


def is_finite(described: Described) -> bool:
    """Whether every vector of a frame is."""
    return all(bool(np.isfinite(part).all()) for part in described)


def half_lists(vectors: Sequence[NDArray[np.float16]]) -> pa.ListArray:
    """Arrow lists of float16, one for each vector."""
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in vectors])]).astype(np.int32)
    values = np.concatenate(vectors) if vectors else np.empty(0, np.float16)
    return pa.ListArray.from_arrays(offsets, values)
