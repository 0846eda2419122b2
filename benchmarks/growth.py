"""Cost of 10 % more crystals: as a new campaign (`select.reference`), and added to the old one.

    python benchmarks/growth.py [--crystals 1000] [--frames 100]

Trajectories are made up: frames that wander around crystals of 2 to 16 atoms in feature space, in shards of
50 crystals. A tenth of the new crystals were in the first campaign already, so that some of its picks are
asked for again. Selection runs as the rules run it, on one thread, and is measured in CPU seconds; explored,
encoded and labelled frames are counted: those that no store and no file has. Ends with an error if a frame
that the first campaign picked is picked again.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pesatlas.config.select import Select
from pesatlas.select.assign import assign_frames, lists
from pesatlas.select.candidates import find_candidates
from pesatlas.select.clustering import cluster_atoms, cluster_structures, grid_atoms, grid_structures
from pesatlas.select.pca import fit_pca
from pesatlas.select.pick import pick_snapshots
from pesatlas.select.quality import measure_selection, sample_frames
from pesatlas.select.reference import Reference
from pesatlas.tables import SCHEMAS, TableWriter, read_entry, read_table
from pesatlas.tables.moments import Moments, ShardMoments

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
STRUCTURE, ATOM, SHARD = 128, 64, 50
HASH = "a" * 64
STAGES = ("components", "grids and trees", "assignment, reduction", "pick", "quality")


class Tables(NamedTuple):
    """Files of a shard."""

    snapshots: Path
    features: Path
    moments: Path


class Found(NamedTuple):
    """Results of a selection, and the CPU seconds of its parts."""

    picks: pa.Table
    known: int
    seconds: list[float]


def trajectory(crystal: int, frames: int) -> dict[str, Any]:
    """Columns of snapshots and features of one crystal, always the same."""
    rng = np.random.default_rng([1, crystal])
    n = int(rng.integers(2, 17))
    mix = np.random.default_rng(0).normal(size=(16, STRUCTURE + ATOM)) / np.arange(1, 17)[:, None]
    centre, kinds = rng.normal(size=16), rng.normal(size=(n, 16))
    structures = (centre + 0.05 * rng.normal(size=(frames, 16))) @ mix[:, :STRUCTURE]
    atoms = (kinds + 0.05 * rng.normal(size=(frames, n, 16))) @ mix[:, STRUCTURE:]
    return {
        "crystal": crystal,
        "n": n,
        "structures": structures.astype(np.float16),
        "atoms": atoms.astype(np.float16),
        "positions": rng.random((frames, 3 * n)) * 10,
    }


def ragged(parts: list[np.ndarray]) -> pa.ListArray:
    """Make lists of each part's rows, which are as long as the part is wide."""
    widths = np.concatenate([np.full(len(part), part.shape[1]) for part in parts])
    return lists(np.append(0, np.cumsum(widths)), np.concatenate([part.ravel() for part in parts]))


def write_shard(folder: Path, name: str, crystals: list[int], frames: int) -> Tables:
    """Write the trajectories of some crystals."""
    found = [trajectory(crystal, frames) for crystal in crystals]
    sizes = np.repeat([part["n"] for part in found], frames)
    rows = len(sizes)
    ids = [f"mp-{c}:unit:300K:{step:07d}" for c in crystals for step in range(frames)]
    columns: dict[str, Any] = {
        "snapshot_id": ids,
        "structure_id": [f"mp-{c}" for c in crystals for _ in range(frames)],
        "condition": ["300K"] * rows,
        "n_atoms": sizes,
        "numbers": ragged([np.full((frames, part["n"]), 18, np.uint8) for part in found]),
        "positions_A": ragged([part["positions"] for part in found]),
        "cell_A": pa.FixedSizeListArray.from_arrays(np.tile(np.eye(3).ravel() * 10, rows), 9),
        "mlip_stress_eV_per_A3": pa.FixedSizeListArray.from_arrays(np.zeros(6 * rows), 6),
    }
    for field in SCHEMAS["snapshots"]:
        if field.name not in columns:
            columns[field.name] = pa.array(["x" if field.type == pa.string() else 1] * rows, field.type)
    features = {
        "snapshot_id": ids,
        "n_atoms": sizes,
        "structure_features": ragged([part["structures"] for part in found]),
        "atom_features": ragged([part["atoms"].reshape(frames, -1) for part in found]),
    }
    return write_tables(folder, name, pa.table(columns), pa.table(features))


def write_tables(folder: Path, name: str, snapshots: pa.Table, features: pa.Table) -> Tables:
    """Write one shard, and its moments as `encode_snapshots` does."""
    paths = Tables(folder / f"{name}.s.parquet", folder / f"{name}.f.parquet", folder / f"{name}.npz")
    with TableWriter(paths.snapshots, "snapshots", "benchmark") as writer:
        writer.write(snapshots.select(SCHEMAS["snapshots"].names))
    with TableWriter(paths.features, "features", "benchmark", {"pesatlas.encoder_hash": HASH}) as writer:
        writer.write(features)
    moments = ShardMoments("benchmark/1", HASH, Moments.empty(STRUCTURE), Moments.empty(ATOM))
    for sums, column in ((moments.structures, "structure_features"), (moments.atoms, "atom_features")):
        values = features[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        sums.add(values.reshape(-1, sums.dimension))
    moments.write(paths.moments)
    return paths


def take_rows(folder: Path, name: str, shards: list[Tables], picks: pa.Table) -> Tables:
    """Write the frames that were picked as a shard of their own, as `read_reference` and the encoder do."""
    wanted = picks["snapshot_id"]
    parts = [
        pa.concat_tables(
            pq.read_table(path, filters=pa.compute.field("snapshot_id").isin(wanted)) for path in paths
        ).replace_schema_metadata(None)
        for paths in ([s.snapshots for s in shards], [s.features for s in shards])
    ]
    return write_tables(folder, name, *parts)


def select(folder: Path, pool: list[Tables], reference: Tables | None, policy: str) -> Found:
    """Run the rules of the stage, the pool in one group."""
    folder.mkdir()
    campaign: Any = SimpleNamespace(
        campaign=SimpleNamespace(seed=1),
        select=Select(
            target=10**6,
            include_equilibrium=False,
            min_distance_A=0.0,
            structure={"threshold": 0.3},
            atoms={"threshold": 0.3},
            policy={"kind": policy},
        ),
        label=SimpleNamespace(structures_per_job=400),
    )
    groups = {"pool": pool} | ({"reference": [reference]} if reference else {})
    path = {name: folder / name for name in ("pca.npz", "s.npz", "a.npz", "selection.parquet", "q.parquet")}
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function: Callable[..., None], *arguments: Any, **options: Any) -> None:
        start = time.process_time()
        function(*arguments, **options)
        seconds[stage] += time.process_time() - start

    shards = [shard for group in groups.values() for shard in group]
    timed(STAGES[0], fit_pca, campaign, [shard.moments for shard in shards], path["pca.npz"])
    features = {name: [shard.features for shard in group] for name, group in groups.items()}
    cells = [folder / f"{name}.cells.npz" for name in groups]
    for group, out in zip(features.values(), cells, strict=True):
        timed(STAGES[1], grid_structures, campaign, group, path["pca.npz"], out)
    timed(STAGES[1], cluster_structures, campaign, cells, path["pca.npz"], path["s.npz"])
    for group, out in zip(features.values(), cells, strict=True):
        timed(STAGES[1], grid_atoms, campaign, group, path["pca.npz"], path["s.npz"], out)
    timed(STAGES[1], cluster_atoms, campaign, cells, path["s.npz"], path["a.npz"])
    centres = path["pca.npz"], path["s.npz"], path["a.npz"]
    for name, group in features.items():
        timed(STAGES[2], assign_frames, group, *centres, folder / f"{name}.clusters")
    kept, hashes = folder / "kept.parquet", folder / "kept.npy"
    snapshots = [shard.snapshots for shard in pool]
    timed(
        STAGES[2],
        find_candidates,
        campaign,
        snapshots,
        folder / "pool.clusters",
        path["a.npz"],
        kept,
        hashes,
    )
    known = Reference(reference.snapshots, folder / "reference.clusters") if reference else None
    where = {"atoms": path["a.npz"], "reference": known, "selection": path["selection.parquet"]}
    timed(STAGES[3], pick_snapshots, campaign, snapshots, [kept], [hashes], **where)
    timed(STAGES[4], sample_frames, campaign, features["pool"], path["pca.npz"], folder / "drawn.npz")
    timed(
        STAGES[4],
        measure_selection,
        campaign,
        [folder / "drawn.npz"],
        features["pool"],
        path["pca.npz"],
        path["selection.parquet"],
        path["q.parquet"],
    )
    picks = read_table(path["selection.parquet"], "selection", ["snapshot_id", "positions_A"])
    counts = read_entry(path["selection.parquet"]).counts
    return Found(picks, counts["known"], list(seconds.values()))


def geometries(picks: pa.Table) -> set[bytes]:
    """Positions of the picks, which no two frames share."""
    return {np.array(row).tobytes() for row in picks["positions_A"].to_pylist()}


def grow(crystals: int, frames: int, policy: str, folder: Path) -> None:
    """Print the table of one policy."""
    tenth, again = crystals // 10, crystals // 100
    old = list(range(crystals))
    new = list(range(crystals - again, crystals - again + tenth))
    shards = [
        [write_shard(folder, f"{name}{i}", part[i : i + SHARD], frames) for i in range(0, len(part), SHARD)]
        for name, part in (("old", old), ("new", new), ("later", new[again:]))
    ]
    select(folder / "warm", [write_shard(folder, "warm", old[:5], 5)], None, policy)  # numba compiles
    first = select(folder / "first", shards[0], None, policy)
    reference = take_rows(folder, "reference", shards[0], first.picks)
    beside = select(folder / "beside", shards[1], reference, policy)
    added = select(folder / "added", shards[0] + shards[2], None, policy)
    before = geometries(first.picks)
    if geometries(beside.picks) & before or not beside.known:
        sys.exit("A frame that the first campaign picked was picked again, or none was asked for.")
    kept = len(geometries(added.picks) & before)
    picks = len(first.picks)
    rows = [
        ("the first campaign", first, crystals * frames, crystals * frames, picks, picks),
        (
            "a tenth, beside it",
            beside,
            (tenth - again) * frames,
            tenth * frames + picks,
            len(beside.picks),
            picks,
        ),
        (
            "a tenth, added to it",
            added,
            (tenth - again) * frames,
            (crystals + tenth - again) * frames,
            len(added.picks) - kept,
            kept,
        ),
    ]
    for name, found, explored, encoded, labelled, stay in rows:
        share = sum(found.seconds) / sum(first.seconds)
        cells = " | ".join(f"{second:.1f}" for second in found.seconds)
        print(
            f"| {policy} | {name} | {explored} | {encoded} | {labelled} | {stay} | {cells} | "
            f"{sum(found.seconds):.1f} | {share:.0%} |",
            flush=True,
        )
    print(
        f"\n{beside.known} frames that the first campaign picked were asked for again, and none was picked.\n"
    )


def main() -> None:
    """Read the arguments."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)  # noqa: S606 - BLAS reads it once
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crystals", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=100, help="of each crystal")
    parser.add_argument("--policies", nargs="+", default=["matpes", "cover"])
    options = parser.parse_args()
    print(
        "| policy | campaign | explored | encoded | labelled | earlier picks that stay | "
        f"{' | '.join(STAGES)} | all, CPU s | of the first |"
    )
    print("|" + "---|" * 13)
    for policy in options.policies:
        with tempfile.TemporaryDirectory() as folder:
            grow(options.crystals, options.frames, policy, Path(folder))


if __name__ == "__main__":
    main()
