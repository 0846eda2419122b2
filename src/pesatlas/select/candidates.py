"""Reduce the frames of shards to the candidates of policies, independent of order and partition.

For every atomic cluster the best frames are kept, by an order that the policy gives and that ends with the
geometry and the ``snapshot_id``, so that there are no ties. The best of parts hold the best of the whole, so
shards are reduced alone, and what remains of them is reduced again.
"""

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.config.select import Select
from pesatlas.errors import UserError
from pesatlas.select.assign import lists
from pesatlas.select.centres import Centres
from pesatlas.select.coarse_cells import cells_of
from pesatlas.select.frame_index import INDEXED, Frames, index_batches
from pesatlas.select.pool import Pool, geometries_of
from pesatlas.select.quotas import parts
from pesatlas.tables import SCHEMAS, TableWriter, read_entry
from pesatlas.tables.arrays import map_array, write_array
from pesatlas.tables.io import check_metadata
from pesatlas.tables.schemas import VARIANCES

log = logging.getLogger(__name__)

_FRAMES = 1 << 14


def find_candidates(  # noqa: PLR0917 - the paths of one group, as its rule has them
    settings: Select,
    seed: int,
    snapshots: list[Path],
    clusters: Path,
    atoms: Path,
    candidates: Path,
    geometries: Path,
    only: Collection[str] | None = None,
) -> None:
    """Write the table ``candidates`` of some shards, and the geometries of all its frames that may be picked.

    The manifest counts the frames that may not, each by the first cause that holds: ``not_finite`` (potential
    or features) and ``too_close`` (two atoms). ``geometries`` is a sorted array of 8-byte hashes, from which
    duplicates are counted.

    Parameters
    ----------
    only : crystals of which frames are taken; the others are not counted either

    Raises
    ------
    UserError
        If the clusters are not those of these snapshots.
    """
    centres, _ = Centres.read(atoms)
    variances = read_variances(clusters)
    kept, waiting, hashes = SCHEMAS["candidates"].empty_table(), [], []
    counts = {"pool": 0, "not_finite": 0, "too_close": 0}
    for table, bad in _eligible(settings, snapshots, clusters, only):
        for cause, count in bad.items():
            counts[cause] += count
        hashes.append(short_hashes(table))
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= _FRAMES:
            merged = pa.concat_tables([kept, *waiting])
            kept, waiting = reduce_candidates(settings, seed, merged, centres, variances), []
    kept = reduce_candidates(settings, seed, pa.concat_tables([kept, *waiting]), centres, variances)
    write_array(geometries, np.sort(np.concatenate([np.empty(0, "<u8"), *hashes])))
    metadata = {} if variances is None else {VARIANCES: json.dumps(variances.tolist())}
    with TableWriter(candidates, "candidates", digest(settings.identity()), metadata) as writer:
        writer.counts.update(counts)
        writer.write(kept)
    log.info("%d of %d frames are candidates", kept.num_rows, counts["pool"])


def reduce_candidates(
    settings: Select,
    seed: int,
    table: pa.Table,
    centres: Centres,
    variances: NDArray[np.float64] | None = None,
) -> pa.Table:
    """Return the rows of table ``candidates`` that stay, in the order of ``snapshot_id``.

    Those are the best for an atomic cluster, of a cell of structures, or of all for a policy that looks at
    neither, and the smallest equilibrium cell of each crystal in each domain. A domain with a quota is
    reduced by itself.

    Parameters
    ----------
    variances : of the principal components of structures, for policies with cells
    """
    table = table.combine_chunks().sort_by("snapshot_id")
    reduced = []
    for _, inside in parts(table.column("domain"), settings.quotas):
        part = table.filter(pa.array(inside))
        reduced.append(_reduce(settings, Pool.of(part, centres, settings.target, seed, variances), part))
    return pa.concat_tables(reduced).sort_by("snapshot_id")


def _reduce(settings: Select, pool: Pool, table: pa.Table) -> pa.Table:
    """Return the rows that stay, of frames that compete with each other, in the order of ``snapshot_id``."""
    options: Any = settings.policy
    policy = find("pesatlas.select.policies", options.kind)
    kept = np.zeros(table.num_rows, dtype=bool)
    kept[equilibrium_cells(pool)] = True
    _, geometry = np.unique(pool.geometries, return_inverse=True)
    rows = np.arange(table.num_rows)
    most_cells: int | None = getattr(policy, "CELLS", None)
    if most_cells is not None:
        cell_order = getattr(policy, "cell_order", policy.order)
        cells, level = cells_of(pool.spread_evenly(pool.structure_pcs), most_cells, pool.grid_levels)
        best = _best(cells, rows, geometry, _ranks(pool, geometry, cell_order(pool, options)), 1)
        frames = np.zeros(len(rows), dtype=np.int64)
        frames[best] = np.bincount(cells, pool.frames)[cells[best]]  # whole numbers, exact up to 2^53
        table = _with_cells(table, frames, level)
        kept[best] = True
        if policy.PER_CLUSTER is None:
            return table.filter(pa.array(kept))
    if policy.PER_CLUSTER is None:
        owner, row, most = np.zeros(len(rows), dtype=np.int64), rows, settings.target
    else:
        owner = pool.atom_clusters.astype(np.int64)
        row = np.repeat(rows, np.diff(pool.edges))
        most = policy.PER_CLUSTER
    kept[_best(owner, row, geometry, _ranks(pool, geometry, policy.order(pool, options)), most)] = True
    return table.filter(pa.array(kept))


def _ranks(pool: Pool, geometry: NDArray[np.int64], keys: list[NDArray]) -> NDArray[np.int64]:
    """Rank of each row by ``keys``.

    Of frames with the same geometry, the crystal as given is met first, then the first ``snapshot_id``, which
    is the order of rows.
    """
    order = np.lexsort((~pool.equilibrium, geometry, *reversed(keys)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


def read_variances(path: Path) -> NDArray[np.float64] | None:
    """Variances of the principal components of structures, of a table ``clusters`` or ``candidates``."""
    found = pq.read_schema(path).metadata.get(VARIANCES.encode())
    return None if found is None else np.array(json.loads(found))


def _with_cells(table: pa.Table, frames: NDArray[np.int64], level: int) -> pa.Table:
    for name, values in (("frames", frames), ("grid_level", np.full(len(frames), level))):
        field = SCHEMAS["candidates"].field(name)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


def _best(
    owner: NDArray[np.int64],
    row: NDArray[np.int64],
    geometry: NDArray[np.int64],
    rank: NDArray[np.int64],
    most: int,
) -> NDArray[np.int64]:
    """Rows that are among the ``most`` of lowest rank of an owner; of the same geometry the lowest counts."""
    order = np.lexsort((rank[row], geometry[row], owner))
    owner, row = owner[order], row[order]
    again = (owner[1:] == owner[:-1]) & (geometry[row[1:]] == geometry[row[:-1]])
    first = np.concatenate([np.ones(min(1, len(row)), dtype=bool), ~again])
    owner, row = owner[first], row[first]
    order = np.lexsort((rank[row], owner))
    owner, row = owner[order], row[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return np.unique(row[place < most])


def equilibrium_cells(pool: Pool) -> list[int]:
    """Return the smallest equilibrium cell of each crystal in each domain; of equal ones the first."""
    smallest: dict[tuple[str, str], int] = {}
    rows = np.flatnonzero(pool.equilibrium)
    names = zip(
        *(part.take(pa.array(rows)).to_pylist() for part in (pool.structure_ids, pool.domains)), strict=True
    )
    for row, crystal in zip(rows.tolist(), names, strict=True):
        if crystal not in smallest or pool.n_atoms[row] < pool.n_atoms[smallest[crystal]]:
            smallest[crystal] = row
    return sorted(smallest.values())


def _eligible(
    options: Select, snapshots: list[Path], clusters: Path, only: Collection[str] | None
) -> Iterator[tuple[pa.Table, dict[str, int]]]:
    """Yield allowed rows of table ``candidates``, with counts of frames and of causes of exclusion."""
    places = ((path, index) for path in snapshots for index in index_batches(path))
    expected = sum(read_entry(path).rows for path in snapshots)
    done, row, last = 0, 0, None
    wrong = UserError(f"{clusters} does not belong to these snapshots. Delete it and run again.")
    check_metadata(clusters, "clusters")
    with pq.ParquetFile(clusters) as file:
        if file.metadata.num_rows != expected:
            raise wrong
        batches = file.iter_batches(batch_size=INDEXED)
        waiting = SCHEMAS["clusters"].empty_table()
        for path, index in places:
            while waiting.num_rows < len(index.ids):
                waiting = pa.concat_tables([waiting, pa.Table.from_batches([next(batches)])])
            batch = waiting.slice(0, len(index.ids)).combine_chunks()
            waiting = waiting.slice(len(index.ids))
            if batch.column("snapshot_id").to_pylist() != index.ids.tolist():
                raise wrong
            row, last = (0 if path != last else row), path
            found, causes = _rows(options, path.name, row, index, batch, only)
            row += len(index.ids)
            done += len(index.ids)
            yield found, causes
    if done != expected:
        raise wrong


def _rows(
    options: Select,
    shard: str,
    first: int,
    index: Frames,
    batch: pa.Table,
    only: Collection[str] | None,
) -> tuple[pa.Table, dict[str, int]]:
    structure = batch.column("structure_cluster").to_numpy()
    here = np.ones(len(structure), dtype=bool) if only is None else np.isin(index.structure_ids, list(only))
    not_finite = here & (~index.finite | (structure < 0))
    too_close = here & ~not_finite & (index.min_distance_A < options.min_distance_A)
    edges, atoms = _distinct(batch.column("atom_clusters").combine_chunks())
    found = pa.table(
        {
            "snapshot_id": batch.column("snapshot_id"),
            "structure_id": pa.array(index.structure_ids.tolist(), pa.string()),
            "domain": pa.array(index.domains.tolist(), pa.string()),
            "equilibrium": index.equilibrium,
            "n_atoms": pa.array(index.n_atoms, pa.int32()),
            "geometry": pa.array(index.geometry.tolist(), pa.binary(16)),
            "structure_cluster": structure,
            "atom_clusters": lists(edges, atoms),
            "structure_pcs": batch.column("structure_pcs"),
            "centre_distance": batch.column("centre_distance"),
            "shard": pa.array([shard] * len(structure), pa.string()),
            "row": np.arange(first, first + len(structure)),
            "frames": pa.nulls(len(structure), pa.int64()),
            "grid_level": pa.nulls(len(structure), pa.int32()),
        },
        schema=SCHEMAS["candidates"],
    )
    causes = {
        "pool": int(here.sum()),
        "not_finite": int(not_finite.sum()),
        "too_close": int(too_close.sum()),
    }
    return found.filter(pa.array(here & ~not_finite & ~too_close)), causes


def short_hashes(table: pa.Table) -> NDArray[np.uint64]:
    """First halves of the hashes in column ``geometry``."""
    return geometries_of(table).view("<u8")[::2]


def _distinct(column: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Edges and values of lists of which every value is kept once, sorted."""
    sizes = column.value_lengths().to_numpy()
    values, row = column.flatten().to_numpy(), np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((values, row))
    values, row = values[order], row[order]
    first = np.ones(len(values), dtype=bool)
    first[1:] = (values[1:] != values[:-1]) | (row[1:] != row[:-1])
    return np.searchsorted(row[first], np.arange(len(sizes) + 1)), values[first]


def count_distinct(geometries: Sequence[Path | NDArray[np.uint64]]) -> int:
    """Count the distinct values of sorted arrays in bounded memory, a slice of their range at a time."""
    arrays = [map_array(part) if isinstance(part, Path) else part for part in geometries]
    slices = max(1, sum(len(array) for array in arrays) // 20_000_000)
    limits = [round(i * 2**64 / slices) for i in range(1, slices)]
    cuts = [
        np.concatenate([[0], np.searchsorted(array, np.array(limits, "<u8")), [len(array)]])
        for array in arrays
    ]
    return sum(
        len(np.unique(np.concatenate([a[c[i] : c[i + 1]] for a, c in zip(arrays, cuts, strict=True)])))
        for i in range(slices if arrays else 0)
    )
