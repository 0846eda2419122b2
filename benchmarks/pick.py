"""Time and memory of the one job that picks, at as many atomic clusters as MatPES has.

    python benchmarks/pick.py [--clusters 360000] [--policies matpes cover facility random farthest]

Tables of candidates are made up: in 24 groups, so many frames in all that eight of each atomic cluster can be
kept, each near the centre of its structure cluster, with atoms of one to six of its atomic clusters (24 of
these in one, as in MatPES).
Snapshots are one short table that all rows point into, so that reading the picks from a large campaign's disk
is left out. Every policy runs in a process of its own, on one thread.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pesatlas.config.select import Select
from pesatlas.select.assign import lists
from pesatlas.select.centres import Centres
from pesatlas.select.pick import pick_snapshots
from pesatlas.tables import SCHEMAS, TableWriter, read_entry
from pesatlas.tables.schemas import VARIANCES

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
GROUPS, KEPT, TOGETHER, PCS, FRAMES = 24, 8, 24, 16, 20_000
TARGETS = {"random": 100_000, "farthest": 2_000, "facility": 2_000}
"""Policies without an end by coverage: time grows with the square of the picks, or linearly."""


def write_candidates(folder: Path, clusters: int) -> None:
    """Write the tables that ``pick_snapshots`` reads."""
    rng = np.random.default_rng(0)
    means = np.repeat(rng.normal(size=(-(-clusters // TOGETHER), 8)), TOGETHER, axis=0)[:clusters]
    Centres(
        0.1,
        np.append(np.arange(0, clusters, TOGETHER), clusters),
        means + 0.3 * rng.normal(size=means.shape),
        rng.integers(1, 10**6, clusters).astype(float),
    ).write(folder / "atoms.npz", "benchmark")
    centres = rng.normal(size=(-(-clusters // TOGETHER), PCS))
    for group, own in enumerate(np.array_split(np.arange(clusters), GROUPS)):
        rows = len(own) * KEPT
        structure = np.repeat(own, KEPT) // TOGETHER
        wanted = np.sort(structure[:, None] * TOGETHER + rng.integers(TOGETHER, size=(rows, 6)), axis=1)
        wanted[:, 0] = np.repeat(own, KEPT)
        kept = rng.random((rows, 6)) < 0.4
        kept[:, 0] = True
        atoms = [
            np.unique(row[keep]) for row, keep in zip(np.minimum(wanted, clusters - 1), kept, strict=True)
        ]
        names = [f"mp-{int(s) * 37}:sc222:300K:{i:07d}" for i, s in enumerate(structure)]
        table = pa.table(
            {
                "snapshot_id": [f"{group:02d}-{name}" for name in names],
                "structure_id": [f"mp-{int(s) * 37}" for s in structure],
                "domain": ["bulk"] * rows,
                "equilibrium": np.zeros(rows, bool),
                "n_atoms": rng.integers(2, 30, rows).astype(np.int32),
                "geometry": pa.array([rng.bytes(16) for _ in range(rows)], pa.binary(16)),
                "structure_cluster": structure.astype(np.int32),
                "atom_clusters": lists(
                    np.cumsum([0, *map(len, atoms)]), np.concatenate(atoms).astype(np.int32)
                ),
                "structure_pcs": lists(
                    np.arange(rows + 1) * PCS,
                    (centres[structure] + 0.3 * rng.normal(size=(rows, PCS))).astype(np.float32).ravel(),
                ),
                "centre_distance": rng.random(rows),
                "shard": [f"{group:05d}.parquet"] * rows,
                "row": np.arange(rows) % FRAMES,
                "frames": pa.nulls(rows, pa.int64()),
                "grid_level": pa.nulls(rows, pa.int32()),
            },
            schema=SCHEMAS["candidates"],
        )
        path = folder / f"{group:05d}.candidates.parquet"
        with TableWriter(path, "candidates", "benchmark", {VARIANCES: json.dumps([1.0] * PCS)}) as writer:
            writer.write(table)
            writer.counts.update(pool=rows, not_finite=0, too_close=0)
        hashes = np.frombuffer(b"".join(table["geometry"].to_pylist()), "<u8")[::2]
        np.save(folder / f"{group:05d}.npy", np.sort(hashes))
    write_snapshots(folder, rng)


def write_snapshots(folder: Path, rng: np.random.Generator) -> None:
    """Write frames of 16 atoms, under the name of every group."""
    columns: dict[str, Any] = {
        "numbers": lists(np.arange(FRAMES + 1) * 16, np.full(FRAMES * 16, 18, np.uint8)),
        "positions_A": lists(np.arange(FRAMES + 1) * 48, rng.random(FRAMES * 48)),
        "cell_A": pa.FixedSizeListArray.from_arrays(rng.random(FRAMES * 9), 9),
        "mlip_stress_eV_per_A3": pa.FixedSizeListArray.from_arrays(rng.random(FRAMES * 6), 6),
        "n_atoms": np.full(FRAMES, 16),
    }
    schema = SCHEMAS["snapshots"]
    for field in schema:
        if field.name not in columns:
            columns[field.name] = pa.array(["x" if field.type == pa.string() else 1] * FRAMES, field.type)
    table = pa.table({name: columns[name] for name in schema.names})
    with TableWriter(folder / "00000.parquet", "snapshots", "benchmark") as writer:
        writer.write(table)
    for group in range(1, GROUPS):
        (folder / f"{group:05d}.parquet").hardlink_to(folder / "00000.parquet")


def measure(folder: Path, policy: str) -> None:
    """Pick by ``policy``, and print what it took."""
    target = TARGETS.get(policy, 10**6)
    settings = Select(target=target, policy={"kind": policy}, include_equilibrium=False)
    start = time.process_time()
    pick_snapshots(
        settings,
        1,
        [folder / f"{group:05d}.parquet" for group in range(GROUPS)],
        [folder / f"{group:05d}.candidates.parquet" for group in range(GROUPS)],
        [folder / f"{group:05d}.npy" for group in range(GROUPS)],
        atoms=folder / "atoms.npz",
        reference=None,
        selection=folder / f"{policy}.parquet",
        structures_per_job=400,
    )
    entry = read_entry(folder / f"{policy}.parquet")
    answer = {
        "seconds": time.process_time() - start,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "picks": entry.rows,
        "sha256": entry.sha256,
    }
    print(json.dumps(answer))


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=360_000)
    parser.add_argument(
        "--policies", nargs="+", default=["matpes", "cover", "facility", "random", "farthest"]
    )
    parser.add_argument(
        "--folder", type=Path, help="of tables that an earlier run made; made if it is not there"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.folder, options.measure)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "tables"
        if not folder.exists():
            folder.mkdir(parents=True)
            write_candidates(folder, options.clusters)
        rows = sum(read_entry(path).rows for path in folder.glob("*.candidates.parquet"))
        print(f"{rows} candidates of {options.clusters} atomic clusters\n")
        print("| policy | picks | CPU s | peak MB | sha256 of the selection |")
        print("|---|---|---|---|---|")
        for policy in options.policies:
            command = [sys.executable, __file__, "--folder", str(folder), "--measure", policy]
            done = subprocess.run(
                command, env=os.environ | ONE_THREAD, check=True, capture_output=True, text=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {policy} | {found['picks']} | {found['seconds']:.0f} | {found['MB']:.0f} | "
                f"{found['sha256'][:12]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
