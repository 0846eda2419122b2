"""Orders in which policies pick frames: those of pesatlas on its own tables, others in NumPy."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np
from curves_pool import Frames
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Frames as a policy may look at them: no labels.

    Attributes
    ----------
    frames, rows : all frames, and those of them that may be picked
    seed : of what is drawn
    direct : (m, k) components by Kaiser's rule, weighted by their share of the variance, as DIRECT has them
    flat : (m, 16) components divided by the fourth root of their variance
    white : (m, 16) components divided by its square root
    """

    frames: Frames
    rows: Rows
    seed: int
    direct: NDArray[np.float64]
    flat: NDArray[np.float64]
    white: NDArray[np.float64]

    @property
    def cost(self) -> NDArray[np.float64]:
        """Cube of the atoms of each candidate (m,)."""
        return self.frames.cost[self.rows]


def candidates_of(frames: Frames, rows: Rows, seed: int) -> Candidates:
    """Fit principal components to the candidates alone."""
    features = frames.structures[rows].astype(float)
    spread = features.std(0)
    scaled = (features - features.mean(0))[:, spread > 0] / spread[spread > 0]
    _, sizes, axes = np.linalg.svd(scaled, full_matrices=False)
    variances = sizes**2 / (len(rows) - 1)
    scores = scaled @ axes.T
    many = int((variances > 1).sum())
    some = scores[:, :16]
    return Candidates(
        frames,
        rows,
        seed,
        scores[:, :many] * (variances / variances.sum())[:many],
        some / variances[:16] ** 0.25,
        some / variances[:16] ** 0.5,
    )


def distances(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distances (m, m) between all points."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415 - slow to import

    return cdist(points, points).astype(np.float32)


def at_random(pool: Candidates, most: int, *, exponent: float = 0.0) -> Rows:
    """Pick at random, with chances that fall as the cost to the power ``exponent``."""
    rng = np.random.default_rng([pool.seed, 1])
    keys = rng.gumbel(size=len(pool.rows)) - exponent * np.log(pool.cost)
    return pool.rows[np.argsort(-keys)[:most]]


def farthest(pool: Candidates, most: int, *, forces: bool = False, exponent: float = 0.0) -> Rows:
    """Pick the frame farthest from all picks, in DIRECT's components; the first is farthest from the mean.

    With ``forces``, of the largest distance times the largest force that chgnet predicts (0.1 eV/Å more for
    all); with an ``exponent``, distance divided by the cost to this power.
    """
    points = pool.direct
    weight = pool.frames.largest[pool.rows] + 0.1 if forces else np.ones(len(points))
    weight = weight / pool.cost**exponent
    apart = np.linalg.norm(points, axis=1)
    picks: list[int] = []
    for _ in range(min(most, len(points))):
        row = int((apart * weight).argmax())
        near = np.linalg.norm(points - points[row], axis=1)
        apart = np.minimum(apart, near) if picks else near
        picks.append(row)
        apart[picks] = -1.0
    return pool.rows[picks]


def direct(pool: Candidates, most: int) -> Rows:
    """Pick the frame nearest to the centre of each of ``most`` clusters: DIRECT as maml 2025.4.3.

    The order is random, as no part of the picks is meant to be used alone.
    """
    from sklearn.cluster import Birch  # noqa: PLC0415 - heavy

    points, threshold = pool.direct, 0.5
    model = Birch(n_clusters=most, threshold=threshold).fit(points)
    while (found := len(set(model.subcluster_labels_))) < most:
        threshold = threshold / most * found
        model = Birch(n_clusters=most, threshold=threshold).fit(points)
    labels = model.predict(points)
    centres = dict(zip(model.subcluster_labels_, model.subcluster_centers_, strict=True))
    picks = []
    for label in sorted(set(labels.tolist())):
        mine = np.flatnonzero(labels == label)
        picks.append(mine[np.linalg.norm(points[mine] - centres[label], axis=1).argmin()])
    return pool.rows[np.random.default_rng(pool.seed).permutation(picks)]


def log_determinant(pool: Candidates, most: int, *, exponent: float = 0.0) -> Rows:
    """Pick the frame whose Gaussian-process variance is largest, given the picks: the greatest entropy.

    Kernel: Gaussian in the flat components, as wide as the median distance of two frames. With an
    ``exponent``, log(1 + 100 variance) is divided by the cost to this power.
    """
    apart = distances(pool.flat)
    kernel = np.exp(-((apart / np.median(apart)) ** 2) / 2)
    left = np.full(len(kernel), 1.0 + 1e-6)
    factors = np.zeros((min(most, len(kernel)), len(kernel)), np.float32)
    picks: list[int] = []
    for k in range(len(factors)):
        row = int((np.log1p(100 * left.clip(-0.009)) / pool.cost**exponent).argmax())
        factors[k] = (kernel[row] - factors[:k, row] @ factors[:k]) / np.sqrt(max(left[row], 1e-9))
        left -= factors[k].astype(float) ** 2
        picks.append(row)
        left[picks] = -0.009
    return pool.rows[picks]


def _atoms_of(pool: Candidates, many: int) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Return candidate, atomic number and ``many`` components of each atom.

    Components of all atoms of the candidates, divided by the fourth root of their variance.
    """
    frames = pool.frames
    place = np.full(len(frames.ids), -1)
    place[pool.rows] = np.arange(len(pool.rows))
    inside = place[frames.owners] >= 0
    numbers = np.concatenate([each.numbers for each in frames.atoms])[inside]
    vectors = frames.vectors[inside].astype(np.float32)
    spread = vectors.std(0)
    scaled = (vectors - vectors.mean(0))[:, spread > 0] / spread[spread > 0]
    values, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    points = scaled @ axes[:, ::-1][:, :many] / np.maximum(values[::-1][:many], 1e-9) ** 0.25
    return place[frames.owners[inside]], numbers, points.astype(np.float32)


def set_cover(pool: Candidates, most: int) -> Rows:
    """Pick the frame with the most bins of atoms that no pick has, at resolutions from coarse to fine.

    Atoms of different elements are never in one bin; bins are cubes of the first 8 components of all atoms,
    divided by the fourth root of their variance. Cost is not looked at.
    """
    owners, numbers, points = _atoms_of(pool, 8)
    used: set[int] = set()
    picks: list[int] = []
    width = 4.0
    while len(picks) < min(most, len(pool.rows)):
        bins = np.unique(np.column_stack([numbers, np.floor(points / width)]), axis=0, return_inverse=True)[1]
        pairs = np.unique(np.column_stack([owners, bins.ravel()]), axis=0)
        sets = [
            set(part.tolist()) for part in np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1)
        ]
        covered = set().union(*(sets[row] for row in picks))
        heap = [(-len(sets[row] - covered), row) for row in range(len(sets)) if row not in used]
        heapify(heap)
        while heap and len(picks) < most:
            count, row = heappop(heap)
            now = len(sets[row] - covered)
            if not now:
                continue
            if now < -count:
                heappush(heap, (-now, row))
                continue
            picks.append(row)
            used.add(row)
            covered |= sets[row]
        width /= 2**0.5
    return pool.rows[picks]


def atom_distances(pool: Candidates) -> NDArray[np.float32]:
    """Distances (m, m) from a random atom of each candidate to the nearest atom of its element in each other.

    In the first 10 components of all atoms, divided by the fourth root of their variance. Without an atom of
    the element: the largest distance that there is.
    """
    from scipy.spatial.distance import cdist  # noqa: PLC0415 - slow to import

    owners, numbers, points = _atoms_of(pool, 10)
    edges = np.searchsorted(owners, np.arange(len(pool.rows)))
    drawn = edges + (
        np.random.default_rng(pool.seed).random(len(edges)) * np.diff([*edges, len(owners)])
    ).astype(int)
    apart = np.full((len(edges), len(edges)), np.inf, np.float32)
    for element in np.unique(numbers):
        mine, asking = np.flatnonzero(numbers == element), np.flatnonzero(numbers[drawn] == element)
        frames, starts = np.unique(owners[mine], return_index=True)
        for part in np.array_split(asking, len(asking) // 256 + 1):
            found = cdist(points[drawn[part]], points[mine]).astype(np.float32)
            apart[np.ix_(part, frames)] = np.minimum.reduceat(found, starts, axis=1)
    apart[~np.isfinite(apart)] = apart[np.isfinite(apart)].max()
    # rows are picks in ``facility``
    return np.ascontiguousarray(apart.T)


def facility(pool: Candidates, most: int, *, exponent: float, power: int, weights: str, demand: str) -> Rows:
    """Pick the frame that most reduces the mean distance of all frames to the nearest pick, for its cost.

    Parameters
    ----------
    exponent : gains are divided by the cost to this power
    power : of the distance
    weights : of the components of structures, an attribute of ``Candidates``; or ``species``: distances of
        atoms, of each element apart
    demand : whether all ``frames`` count the same, or as many times as they have ``atoms``

    Lazy greedy: gains only ever fall, so the top of the heap is right as soon as its gain is still true.
    """
    apart = (atom_distances(pool) if weights == "species" else distances(getattr(pool, weights))) ** power
    count = pool.frames.n_atoms[pool.rows] if demand == "atoms" else np.ones(len(apart))
    count = count.astype(np.float32)
    price = (pool.cost / np.median(pool.cost)) ** exponent
    nearest = np.full(len(apart), apart.max(), np.float32)
    heap = [(-float((nearest - apart[row]) @ count / price[row]), row) for row in range(len(apart))]
    heapify(heap)
    picks: list[int] = []
    while heap and len(picks) < most:
        before, row = heappop(heap)
        now = -float(np.maximum(nearest - apart[row], 0) @ count / price[row])
        if heap and now > heap[0][0] and now > before:
            heappush(heap, (now, row))
            continue
        picks.append(row)
        nearest = np.minimum(nearest, apart[row])
    return pool.rows[picks]


class Shard:
    """Snapshots and features of frames as tables of pesatlas, of which parts are given to its selection."""

    def __init__(self, frames: Frames, folder: Path) -> None:
        from ase.io.extxyz import write_extxyz  # noqa: PLC0415

        from pesatlas.structures.external import read_external  # noqa: PLC0415
        from pesatlas.tables import read_table  # noqa: PLC0415

        self.frames, self.folder = frames, folder
        folder.mkdir(parents=True, exist_ok=True)
        plain, table = folder / "frames.extxyz", folder / "snapshots.parquet"
        if not table.is_file():
            bare = []
            for each in frames.atoms:
                copy = each.copy()
                copy.info = {"structure_id": "s"}
                copy.arrays = {name: copy.arrays[name] for name in ("numbers", "positions")}
                bare.append(copy)
            write_extxyz(plain, bare)
            origins = read_external([str(plain)], table, folder / "failures.parquet")
            np.save(folder / "places.npy", np.array([origin.place for origin in origins]))
            plain.unlink()
        self.places = np.load(folder / "places.npy")
        self.snapshots = read_table(table, "snapshots")

    def select(self, rows: Rows, seed: int, policy: dict[str, Any], count: int) -> Rows:
        """Return what ``pesatlas select`` picks of some frames, with its settings."""
        import pyarrow as pa  # noqa: PLC0415

        from pesatlas.campaign.layout import below  # noqa: PLC0415
        from pesatlas.cli.select import selection_settings  # noqa: PLC0415
        from pesatlas.config.select import Select  # noqa: PLC0415
        from pesatlas.potentials.described import half_lists  # noqa: PLC0415
        from pesatlas.select.select_frames import EncodedFrames, select_frames  # noqa: PLC0415
        from pesatlas.tables import read_table, write_table  # noqa: PLC0415
        from pesatlas.tables.moments import Moments, ShardMoments  # noqa: PLC0415

        mask = np.isin(self.places, rows)
        mine = self.places[mask]
        edges = np.cumsum([0, *self.frames.n_atoms])
        vectors = [self.frames.vectors[edges[row] : edges[row + 1]] for row in mine]
        structures = self.frames.structures[mine].astype(np.float16)
        snapshots = self.snapshots.filter(pa.array(mask))
        features = pa.table(
            {
                "snapshot_id": snapshots["snapshot_id"],
                "n_atoms": pa.array([len(part) for part in vectors], pa.int32()),
                "structure_features": half_lists(list(structures)),
                "atom_features": half_lists([part.ravel() for part in vectors]),
            }
        )
        kind = "cover" if policy["kind"] == "disagree" else policy["kind"]
        named = {"count": count, "policy": kind, "encoder": {"kind": "chgnet"}, "seed": seed}
        settings = selection_settings(named | {"device": "cpu", "min_distance_A": 0.7}).select
        settings = Select.model_validate(settings.model_dump() | {"policy": policy})
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            shard = EncodedFrames(
                [work / "snapshots.parquet"], [work / "features.parquet"], [work / "moments.npz"]
            )
            write_table(shard.snapshots[0], "snapshots", snapshots, "benchmark")
            about = {"pesatlas.encoder": "chgnet/0.3.0", "pesatlas.encoder_hash": "benchmark"}
            write_table(shard.features[0], "features", features, "benchmark", metadata=about)
            moments = [Moments.empty(64), Moments.empty(64)]
            moments[0].add(structures)
            moments[1].add(np.concatenate(vectors))
            ShardMoments("chgnet/0.3.0", "benchmark", *moments).write(shard.moments[0])
            committee = two_chgnets(work) if policy["kind"] == "disagree" else None
            select_frames(
                settings, seed, [shard], work / "out", structures_per_job=count, committee=committee
            )
            picked = read_table(below(work / "out", "selection"), "selection", ["snapshot_id"])
        row_of = dict(zip(snapshots["snapshot_id"].to_pylist(), mine.tolist(), strict=True))
        return np.array([row_of[name] for name in picked["snapshot_id"].to_pylist()], dtype=np.int64)


def two_chgnets(work: Path) -> Any:
    """Return the disagreement of chgnet 0.3.0 and 0.2.0, taken as it is: a factor for all changes no pick."""
    from pesatlas.config.round import Round  # noqa: PLC0415
    from pesatlas.select.disagreement import measure_disagreement  # noqa: PLC0415
    from pesatlas.select.select_frames import Disagreement  # noqa: PLC0415
    from pesatlas.tables import write_table  # noqa: PLC0415

    members = [{"kind": "chgnet", "version": version} for version in ("0.3.0", "0.2.0")]
    options = Round.model_validate({"number": 2, "previous": work, "committee": members})
    row = dict.fromkeys(("std", "expected", "error", "error_low", "error_high", "factor"), 1.0)
    row |= {"quantity": "forces", "bin": 0, "values": 1, "held_out": True, "code_version": "benchmark"}
    write_table(work / "calibration.parquet", "calibration", [row], "benchmark")
    return Disagreement(partial(measure_disagreement, options), work / "calibration.parquet")


Order = Callable[[Candidates, int], Rows]

NESTED: dict[str, Order] = {
    "random": at_random,
    "random 1/4": partial(at_random, exponent=0.25),
    "random 1/2": partial(at_random, exponent=0.5),
    "farthest": farthest,
    "farthest 1/4": partial(farthest, exponent=0.25),
    "farthest-forces": partial(farthest, forces=True),
    "log-determinant": log_determinant,
    "log-determinant 1/4": partial(log_determinant, exponent=0.25),
    "log-determinant 1/2": partial(log_determinant, exponent=0.5),
    "set-cover": set_cover,
}
"""Policies whose smaller selections begin the larger ones."""
PRODUCT: dict[str, dict[str, Any]] = {
    "matpes": {"kind": "matpes"},
    "cover": {"kind": "cover"},
    "disagree": {"kind": "disagree"},
    "mixed": {"kind": "mixed"},
    "facility 0": {"kind": "facility", "cost_exponent": 0.0},
    "facility 1/4": {"kind": "facility", "cost_exponent": 0.25},
    "facility 1/2": {"kind": "facility", "cost_exponent": 0.5},
}
"""Policies of ``pesatlas select``; clusters of the first four follow the number that is wanted."""


def facilities(settings: Sequence[tuple[float, int, str, str]]) -> dict[str, Order]:
    """Return facility location with exponent of the cost, power of the distance, weights, demand."""

    def one(exponent: float, power: int, weights: str, demand: str) -> Order:
        return lambda pool, most: facility(
            pool, most, exponent=exponent, power=power, weights=weights, demand=demand
        )

    return {f"facility-{a:g}-{p}-{w}-{d}": one(a, p, w, d) for a, p, w, d in settings}
