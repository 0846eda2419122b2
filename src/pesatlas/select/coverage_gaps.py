"""Gaps of a dataset: distances of external atoms to its own, relative to distances within the dataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.atoms.elements import symbol_of
from pesatlas.errors import UserError
from pesatlas.select.pca import Pca
from pesatlas.select.shards import read_projected
from pesatlas.tables.components import Components
from pesatlas.tables.moments import Moments, ShardMoments

INSIDE, EDGE = 0.90, 0.99
"""Shares of the dataset's own frames up to which a structure counts as inside, and as at the edge.

Beyond is outside.
"""
VERDICTS = ("inside", "edge", "outside")

_FRAMES_ASKED = 2000
"""Frames of the dataset, for each element, that tell how far they lie from the others."""
_NEIGHBOURS_PER_CHUNK = 1 << 22


@dataclass
class Environments:
    """Atoms of some frames in weighted principal components.

    Attributes
    ----------
    frames : (N,) frame of each atom, in the order of the table
    numbers : (N,) atomic numbers
    points : (N, k) float32; NaN for frames that the encoder could not describe
    structures : (frames, l) float32, the frames themselves
    """

    frames: NDArray[np.int64]
    numbers: NDArray[np.int64]
    points: NDArray[np.float32]
    structures: NDArray[np.float32]

    def of(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Frames and points of the finite atoms of one element."""
        mine = (self.numbers == number) & np.isfinite(self.points).all(axis=1)
        return self.frames[mine], self.points[mine]


def fit_both(dataset: Path, others: Path) -> Pca:
    """Principal components of two tables of features, given by their moments, each of which counts as half.

    So a direction in which the two differ is kept, however few the other structures are.

    Raises
    ------
    UserError
        If they were encoded by different models, or one has no frame with finite features.
    """
    one, other = ShardMoments.read(dataset), ShardMoments.read(others)
    if one.weights_hash != other.weights_hash:
        raise UserError(f"{dataset} and {others} were encoded by different models. Encode both again.")
    if not (one.structures.n and other.structures.n):
        raise UserError("The encoder could not encode any frame. Check the structures.")
    return Pca(
        one.encoder,
        one.weights_hash,
        Components.fit(_balanced(one.structures, other.structures), "kaiser"),
        Components.fit(_balanced(one.atoms, other.atoms), "kaiser"),
    )


def _balanced(one: Moments, other: Moments) -> Moments:
    """Moments of both, the fewer vectors counted so often that they weigh as much as the more."""
    whole = Moments.empty(one.dimension)
    for moments in (one, other):
        times = max(1, round(max(one.n, other.n) / moments.n))
        whole.merge(Moments(moments.n * times, moments.sums * times, moments.products * times))
    return whole


def read_environments(snapshots: Path, features: Path, pca: Pca) -> Environments:
    """Read the atoms of a table ``snapshots`` that was encoded to ``features``, in the same order."""
    numbers = pq.read_table(snapshots, columns=["numbers"])["numbers"].combine_chunks()
    points, structures = [], []
    for part in read_projected(features, pca):
        points.append(part.atoms)
        structures.append(part.structures)
    return Environments(
        np.repeat(np.arange(len(numbers)), numbers.value_lengths().to_numpy()),
        numbers.flatten().to_numpy().astype(np.int64),
        np.concatenate(points),
        np.concatenate(structures),
    )


def find_gaps(dataset: Environments, others: Environments) -> list[dict[str, Any]]:
    """Rows of table ``gaps``: one for each structure of ``others`` and element in it, in their order.

    ``frame`` numbers the structures.

    The distance is that of the atom of this element that is farthest from its nearest atom of the same
    element in the dataset. It is compared with the same number of the dataset's own frames, each against all
    others: ``percentile`` is the share of them that lie nearer. If the structure were one more draw from what
    the dataset was drawn from, a percentile above 0.99 would come up once in a hundred (conformal anomaly
    detection; V. Vovk et al., Algorithmic Learning in a Random World, 2005).

    Raises
    ------
    UserError
        If the dataset is one frame: it has no distance of its own to compare with.
    """
    own = {int(z): _own_distances(dataset, int(z)) for z in np.unique(dataset.numbers)}
    anything = np.sort(np.concatenate([*own.values(), np.empty(0)]))
    if not len(anything):
        raise UserError(
            "The dataset has no two frames with an element in common, so there is no scale for distances. "
            "Name a larger one."
        )
    found = {}
    for z in np.unique(others.numbers).tolist():
        typical = own.get(z, np.empty(0))
        for frame, atoms, distance in _distances(dataset, others, z):
            # an element that a single frame of the dataset has is measured by the spacing of all others
            spacing = typical if len(typical) else anything
            nearer = float(np.searchsorted(spacing, distance) / len(spacing))
            found[frame, z] = {
                "frame": frame,
                "element": symbol_of(z),
                "atoms": atoms,
                "distance": distance if np.isfinite(distance) else None,
                "percentile": nearer if np.isfinite(distance) else 1.0,
                "typical_distance": float(np.median(spacing)),
                "compared_with": len(typical),
                "verdict": _verdict(nearer if np.isfinite(distance) else 1.0),
            }
    return [found[key] for key in sorted(found)]


def worst(verdicts: list[str]) -> str:
    """Return the verdict farthest out."""
    return max(verdicts, key=VERDICTS.index)


def _verdict(percentile: float) -> str:
    return "inside" if percentile <= INSIDE else "edge" if percentile <= EDGE else "outside"


def _own_distances(dataset: Environments, number: int) -> NDArray[np.float64]:
    """Distance of an element's farthest atom to the nearest in another frame, for each frame.

    Sorted.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    frames, points = dataset.of(number)
    there, first, counts = np.unique(frames, return_index=True, return_counts=True)
    if len(there) < 2:
        return np.empty(0)
    chosen = np.random.default_rng(number).permutation(len(there))[:_FRAMES_ASKED]
    rows = np.concatenate([np.arange(first[i], first[i] + counts[i]) for i in np.sort(chosen)])
    # of so many neighbours one at least belongs to another frame
    k = int(counts.max()) + 1
    tree = KDTree(points)
    apart = np.empty(len(rows))
    for part in np.array_split(np.arange(len(rows)), len(rows) * k // _NEIGHBOURS_PER_CHUNK + 1):
        distances, near = tree.query(points[rows[part]], k)
        distances[frames[near] == frames[rows[part]][:, None]] = np.inf
        apart[part] = distances.min(axis=1)
    return np.sort([d for _, _, d in _farthest(frames[rows], apart)])


def _distances(dataset: Environments, others: Environments, number: int) -> Iterator[tuple[int, int, float]]:
    """Yield frame, number of atoms and largest distance from the dataset, for frames with an element."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - as above

    _, points = dataset.of(number)
    mine = others.numbers == number
    apart = np.full(int(mine.sum()), np.inf)
    sound = np.isfinite(others.points[mine]).all(axis=1)
    if len(points) and sound.any():
        apart[sound] = KDTree(points).query(others.points[mine][sound])[0]
    yield from _farthest(others.frames[mine], apart)


def _farthest(frames: NDArray[np.int64], apart: NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """Yield of each frame its number of atoms and the largest of their distances; frames are sorted."""
    there, first, counts = np.unique(frames, return_index=True, return_counts=True)
    largest = np.maximum.reduceat(apart, first) if len(there) else apart
    yield from zip(there.tolist(), counts.tolist(), largest.tolist(), strict=True)
