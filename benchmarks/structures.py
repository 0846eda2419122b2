"""Time and memory of ``prepare_structures``, and how they grow with the number of crystals.

    python benchmarks/structures.py [--counts 1000 10000 150000] [--kinds database polymorphs] [--crystals
    FOLDER]

Crystals are those of FOLDER/*.json.gz (../shared/data; without it the built-in ones) and, as more are wanted,
variants of them that are crystals of their own: strained by 3 % or more, atoms moved by 0.05 Å, a quarter of
them as they are but for strain, so that symmetry stays. ``database`` gives most of them other elements, as in
a database, where a formula comes a few times; ``polymorphs`` keeps formulas, as in a search for structures:
150,000 crystals have some 1,900. One in fifty is another one again, turned and renumbered. Each measurement
is a process of its own, on one thread, from a Parquet file to the two tables, supercells of domain ``bulk``
included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pesatlas.config.campaign import Campaign
from pesatlas.structures import readers
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.prepare import prepare_structures
from pesatlas.structures.sources import demo
from pesatlas.tables import read_entry

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
AGAIN = 50
"""One crystal in so many is another one, described again."""

FAMILIES = (
    (3, 11, 19, 37, 55),
    (4, 12, 20, 38, 56, 30, 48, 80),
    (5, 13, 31, 49, 81, 21, 39, 57, 71),
    (6, 14, 32, 50, 82, 22, 40, 72),
    (7, 15, 33, 51, 83, 23, 41, 73),
    (8, 16, 34, 52),
    (9, 17, 35, 53),
    (24, 25, 26, 27, 28, 29, 42, 44, 45, 46, 47, 74, 75, 76, 77, 78, 79),
)
"""Elements that take each other's places."""


def sources(folder: Path) -> list[Crystal]:
    """Return the crystals that all others are made of."""
    if not folder.is_dir():
        return [c for c in demo.load(demo.Options(names=list(demo.CRYSTALS))) if isinstance(c, Crystal)]
    read = (found for path in sorted(folder.glob("*.json.gz")) for found in readers.read_file(path))
    return [crystal for crystal in read if isinstance(crystal, Crystal)]


def variants(crystals: list[Crystal], count: int, *, relabel: bool) -> Iterator[dict[str, Any]]:
    """Yield so many rows: the crystals, then variants of them."""
    rng = np.random.default_rng(7)
    for i in range(count):
        crystal = crystals[i % len(crystals)]
        numbers, cell, positions = crystal.numbers, crystal.cell, crystal.positions
        if i >= len(crystals) and i % AGAIN:
            if relabel:
                numbers = _relabelled(numbers, rng)
            strain = rng.normal(0, 0.03, (3, 3)) + np.eye(3) * rng.choice([-0.05, -0.03, 0.03, 0.05])
            if i % 4:
                strain = np.eye(3) + (strain + strain.T) / 2
                moves = rng.normal(0, 0.05, positions.shape)
            else:
                strain, moves = np.eye(3) * (1 + rng.uniform(-0.15, 0.15)), np.zeros_like(positions)
            cell, positions = cell @ strain, positions @ strain + moves
        elif i >= len(crystals):
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            order = rng.permutation(len(numbers))
            numbers, cell, positions = (
                numbers[order],
                cell @ turn,
                (positions @ turn + rng.normal(size=3))[order],
            )
        yield {
            "structure_id": f"c-{i:06d}",
            "numbers": numbers.tolist(),
            "cell_A": cell.ravel().tolist(),
            "positions_A": positions.ravel().tolist(),
        }


def _relabelled(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each element the place of one of its family; no two get the same."""
    new: dict[int, int] = {}
    for z in np.unique(numbers).tolist():
        family = next((each for each in FAMILIES if z in each), (z,))
        free = [other for other in family if other not in new.values()]
        new[z] = int(rng.choice(free or [z]))
    return np.array([new[int(z)] for z in numbers])


def write_source(path: Path, crystals: list[Crystal], count: int, *, relabel: bool) -> None:
    """Write the crystals as a source of the kind ``files``."""
    schema = pa.schema(
        [
            ("structure_id", pa.string()),
            ("numbers", pa.list_(pa.uint8())),
            ("cell_A", pa.list_(pa.float64(), 9)),
            ("positions_A", pa.list_(pa.float64())),
        ]
    )
    waiting: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema) as writer:
        for row in variants(crystals, count, relabel=relabel):
            waiting.append(row)
            if len(waiting) == 1024:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))


def measure(path: Path, folder: Path) -> dict[str, float]:
    """Prepare what is in ``path``, in this process."""
    campaign = Campaign.model_validate(
        {
            "structures": {"sources": [{"kind": "files", "paths": [str(path)]}]},
            **{name: {} for name in ("explore", "encode", "select", "label")},
        }
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    prepare_structures(
        campaign.structures,
        campaign.explore,
        campaign.label.backend,
        folder / "structures.parquet",
        folder / "failures.parquet",
    )
    seconds = time.process_time() - begun
    counts = read_entry(folder / "structures.parquet").counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_s": seconds, "peak_MB": peak / 1024, "before_MB": before / 1024, **counts}


def main() -> None:
    """Write sources, measure each in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 150_000])
    parser.add_argument(
        "--kinds", nargs="+", default=["database", "polymorphs"], choices=["database", "polymorphs"]
    )
    parser.add_argument("--crystals", type=Path, default=Path(__file__).parents[1].parent / "shared" / "data")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    crystals = sources(arguments.crystals)
    print("| crystals | kind | CPU s | ms a crystal | peak MB | accepted | failed | cells |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in arguments.kinds:
        for count in arguments.counts:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write_source(folder / "source.parquet", crystals, count, relabel=kind == "database")
                command = [sys.executable, __file__, "--measure", str(folder / "source.parquet"), name]
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD
                )
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {count:,} | {kind} | {found['cpu_s']:.1f} | {1000 * found['cpu_s'] / count:.2f} | "
                f"{found['peak_MB']:.0f} | "
                f"{found['accepted']:,} | {found['failed']:,} | {found['cells']:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
