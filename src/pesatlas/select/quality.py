"""Quality of a selection: distance of explored frames to the picks, as a function of their number."""

import hashlib
import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.config.section import digest
from pesatlas.config.select import Select
from pesatlas.select.pca import Pca
from pesatlas.select.shards import Projected, read_projected
from pesatlas.tables import SCHEMAS, TableWriter, read_table
from pesatlas.tables.arrays import read_arrays, write_arrays

log = logging.getLogger(__name__)

# Frames sampled from the pool: half are looked at, half are the random picks to compare with.
_DRAWN = 10_000
# Bins along each principal component, as maml counts them.
_BINS = 1000
_STEPS = 12
_PARTS = ("lots", "structures", "sizes", "atoms")  # lots: sample keys, as files of earlier versions have them


def sample_frames(seed: int, features: list[Path], pca: Path, sampled: Path) -> None:
    """Sample frames of some shards at random, and write their principal components.

    Those with the smallest sample keys are kept, at most as many as are needed of all shards together: what
    is sampled of parts holds what is sampled of the whole, whatever their order.
    """
    components = Pca.read(pca)
    sample_keys = [_sample_keys(seed, pq.read_table(path, columns=["snapshot_id"])) for path in features]
    last = np.sort(np.concatenate([np.empty(0, "<u8"), *sample_keys]))[:_DRAWN][-1:]
    kept: list[tuple[NDArray, NDArray, list[NDArray]]] = []
    for path, of_path in zip(features, sample_keys, strict=True):
        row = 0
        wanted = of_path <= last if len(last) else np.zeros(len(of_path), dtype=bool)
        for frames in read_projected(path, components):
            rows = np.flatnonzero(wanted[row : row + len(frames.ids)] & frames.finite)
            kept.append(
                (of_path[row + rows], frames.structures[rows], [_atoms(frames, i) for i in rows.tolist()])
            )
            row += len(frames.ids)
    dimensions = len(components.structures.axes), len(components.atoms.axes)
    _write_sample(sampled, kept, dimensions)


def measure_selection(
    settings: Select,
    sampled: list[Path],
    features: list[Path],
    pca: Path,
    selection: Path,
    quality: Path,
    *,
    reference: Sequence[Path] = (),
) -> None:
    """Write the table ``quality``.

    For growing numbers of picks, in their order, what they cover, beside as many random ones.

    Fill distances are from each sampled frame (or atom of one) to the nearest pick or frame of ``reference``
    (features of what is labelled already; or atom of one) in weighted principal components: the mean, the
    99th percentile and the largest. Coverage is DIRECT's: bins of each component that picks occupy, of those
    that sampled frames occupy, mean over components. ``gain_per_1000_labels`` is how much the mean fill
    distance of atoms would fall, of its value, with a thousand more labels at the pace of the last ones: a
    rule to stop by.
    """
    components = Pca.read(pca)
    structures, sizes, atoms = _read_sample(sampled)
    half = (len(sizes) + 1) // 2
    probe = structures[:half], np.concatenate([np.empty((0, atoms[0].shape[1])), *atoms[:half]])
    order = read_table(selection, "selection", ["snapshot_id", "n_atoms"])
    ids = order.column("snapshot_id").to_pylist()
    picked = _look_up(features, components, ids)
    random = structures[half:], atoms[half:]
    start = _start(probe, reference, components)
    rows: list[dict[str, Any]] = []
    for name, (of_structures, of_atoms) in (("picks", picked), ("random", random)):
        apart, bins = deepcopy(start)
        rows += [
            {"of": name} | row for row in _curve(probe, apart, bins, of_structures[: len(ids)], of_atoms)
        ]
    with TableWriter(quality, "quality", digest(settings.identity())) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["quality"]))
        writer.counts.update(drawn_frames=half, drawn_atoms=len(probe[1]))
    _log_distances(rows, half)


def _start(
    probe: tuple[NDArray, NDArray], reference: Sequence[Path], components: Pca
) -> tuple[list[NDArray], list["_binned"]]:
    """Distances to what is labelled already, and bins that it occupies, of structures and of atoms."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    apart = [np.full(len(points), np.inf) for points in probe]
    bins = [_binned(points) for points in probe]
    for path in reference:
        for frames in read_projected(path, components):
            atoms = frames.atoms[np.repeat(frames.finite, np.diff(frames.edges))]
            for i, known in enumerate((frames.structures[frames.finite], atoms)):
                if len(known) and len(probe[i]):
                    apart[i] = np.minimum(apart[i], KDTree(known).query(probe[i])[0])
                    bins[i].occupied(known)
    return apart, bins


def _curve(
    probe: tuple[NDArray, NDArray],
    apart: list[NDArray],
    bins: list["_binned"],
    structures: NDArray,
    atoms: list[NDArray],
) -> list[dict[str, Any]]:
    """Rows of table ``quality`` for frames in their order.

    ``apart`` and ``bins`` are what there is before the first.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import

    count = len(structures)
    steps = sorted({round(count ** (i / _STEPS)) for i in range(_STEPS + 1)} - {0}) if count else []
    rows: list[dict[str, Any]] = []
    done, cost = 0, 0
    for step in steps:
        new = [structures[done:step], np.concatenate(atoms[done:step])]
        cost += sum(len(frame) ** 3 for frame in atoms[done:step])
        row: dict[str, Any] = {"picks": step, "cost_atoms3": float(cost)}
        for i, what in enumerate(("structures", "atoms")):
            if len(probe[i]):
                apart[i] = np.minimum(apart[i], KDTree(new[i]).query(probe[i])[0])
                row |= {
                    f"fill_mean_{what}": float(apart[i].mean()),
                    f"fill_p99_{what}": float(np.percentile(apart[i], 99)),
                    f"fill_max_{what}": float(apart[i].max()),
                    f"coverage_{what}": bins[i].occupied(new[i]),
                }
        row["gain_per_1000_labels"] = _gain(rows[-1] if rows else {}, row)
        rows.append(row)
        done = step
    return rows


def _gain(before: dict[str, Any], now: dict[str, Any]) -> float | None:
    """Relative decrease of the mean distance per thousand picks, at the rate since the previous row."""
    earlier, later = (row.get("fill_mean_atoms") for row in (before, now))
    if not earlier or later is None:
        return None
    return float(1 - (later / earlier) ** (1000 / (now["picks"] - before["picks"])))


class _binned:  # noqa: N801 - used like a function
    """Bins along each axis that points occupy, and how many of them others have occupied so far."""

    def __init__(self, points: NDArray) -> None:
        self._low = points.min(axis=0) if len(points) else np.zeros(points.shape[1])
        spread = points.max(axis=0) - self._low if len(points) else np.ones(points.shape[1])
        self._width = np.where(spread > 0, spread, 1.0) / _BINS
        self._pool = self._bins(points)
        self._seen = np.zeros_like(self._pool)

    def _bins(self, points: NDArray) -> NDArray[np.bool_]:
        found = np.zeros((len(self._low), _BINS), dtype=bool)
        place = np.floor((points - self._low) / self._width).astype(int)
        for k, column in enumerate(place.T):
            within = column[(column >= 0) & (column <= _BINS)]
            found[k, np.minimum(within, _BINS - 1)] = True
        return found

    def occupied(self, points: NDArray) -> float:
        """Share of the bins that all ``points`` given so far occupy, mean over axes."""
        self._seen |= self._bins(points)
        return float(((self._seen & self._pool).sum(axis=1) / np.maximum(1, self._pool.sum(axis=1))).mean())


def _sample_keys(seed: int, table: pa.Table) -> NDArray[np.uint64]:
    names = table.column("snapshot_id").to_pylist()
    start = hashlib.blake2b(f"quality:{seed}:".encode(), digest_size=8)
    digests = []
    for name in names:
        state = start.copy()
        state.update(name.encode())
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), "<u8")


def _atoms(frames: Projected, row: int) -> NDArray:
    return frames.atoms[frames.edges[row] : frames.edges[row + 1]]


def _write_sample(
    path: Path, kept: list[tuple[NDArray, NDArray, list[NDArray]]], dimensions: tuple[int, int]
) -> None:
    atoms = [frame for *_, of_frames in kept for frame in of_frames]
    write_arrays(
        path,
        {},
        {
            "lots": np.concatenate([np.empty(0, "<u8"), *(sample_keys for sample_keys, *_ in kept)]),
            "structures": np.concatenate(
                [np.empty((0, dimensions[0]), np.float32), *(points for _, points, _ in kept)]
            ),
            "sizes": np.array([len(frame) for frame in atoms], dtype=np.int64),
            "atoms": np.concatenate([np.empty((0, dimensions[1]), np.float32), *atoms]),
        },
    )


def _read_sample(paths: list[Path]) -> tuple[NDArray, NDArray, list[NDArray]]:
    """Structures, sizes and atoms of the frames with the smallest sample keys of all."""
    parts = [read_arrays(path, "drawn frames", list(_PARTS))[1] for path in paths]
    sample_keys, structures, sizes = (np.concatenate([part[name] for part in parts]) for name in _PARTS[:3])
    atoms = [frame for part in parts for frame in np.split(part["atoms"], np.cumsum(part["sizes"])[:-1])]
    atoms = atoms if len(sizes) else [np.empty((0, parts[0]["atoms"].shape[1]))]
    order = np.argsort(sample_keys, kind="stable")[:_DRAWN]
    return structures[order], sizes[order], [atoms[i] for i in order.tolist()] or atoms


def _look_up(features: list[Path], components: Pca, ids: list[str]) -> tuple[NDArray, list[NDArray]]:
    """Principal components of some frames and their atoms, in the order of ``ids``.

    Only row groups with one are projected.
    """
    place = {name: i for i, name in enumerate(ids)}
    structures = np.empty((len(ids), len(components.structures.axes)))
    atoms: list[NDArray] = [np.empty((0, len(components.atoms.axes)))] * len(ids)
    for path in features:
        for frames in read_projected(path, components, only=place):
            for row, name in enumerate(frames.ids):
                if name in place:
                    structures[place[name]] = frames.structures[row]
                    atoms[place[name]] = _atoms(frames, row)
    return structures, atoms


def _log_distances(rows: list[dict[str, Any]], sampled: int) -> None:
    """Log the benefit of the last picks."""
    last = {
        row["of"]: row
        for row in rows
        if row["picks"] == max(r["picks"] for r in rows if r["of"] == row["of"])
    }
    if "fill_mean_atoms" not in last.get("picks", {}):
        return
    log.info(
        "%d sampled frames: mean distance of their atoms to the nearest picked one %.4g, 99th percentile "
        "%.4g",
        sampled,
        last["picks"]["fill_mean_atoms"],
        last["picks"]["fill_p99_atoms"],
    )
    if "fill_mean_atoms" in last.get("random", {}):
        log.info(
            "with %d random frames: %.4g and %.4g",
            last["random"]["picks"],
            last["random"]["fill_mean_atoms"],
            last["random"]["fill_p99_atoms"],
        )
