"""Time and memory of every export and of the checks beside them, for synthetic rows.

Python benchmarks/export.py --rows 500000.

Each step runs in a process of its own, whose largest resident memory is what the table shows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pesatlas.atoms.elements import symbol_of
from pesatlas.campaign.layout import RESULTS, below, path_of
from pesatlas.dataset.export import export_dataset, formats
from pesatlas.dataset.imported import import_dataset
from pesatlas.tables import SCHEMAS, TableWriter

PIECE = 5000


def piece(rng: np.random.Generator, start: int, count: int) -> pa.Table:
    """Return rows of a dataset with 2 to 30 atoms, 16 on average.

    Numbers are random, their shapes are those of real ones.
    """
    sizes = rng.integers(2, 31, count)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    atoms = int(ends[-1])

    def lists(values: np.ndarray, each: int = 1) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array((each * ends).astype("int32")), pa.array(values))

    forces = rng.normal(size=3 * atoms)
    numbers = rng.integers(1, 90, atoms).astype("uint8")
    names = [f"mp-{(start + i) // 3}" for i in range(count)]
    settings = json.dumps(
        {"functional": "PBE", "kpoints": [4, 4, 4], "cutoff_eV": 600.0, "max_iterations": 333}
    )
    known = {
        "snapshot_id": [f"{name}:unit:300K-0.0001GPa:{start + i:07d}" for i, name in enumerate(names)],
        "structure_id": names,
        "n_atoms": sizes,
        "numbers": lists(numbers),
        "cell_A": list(np.eye(3).reshape(1, 9) * 4 + rng.normal(scale=0.1, size=(count, 9))),
        "positions_A": lists(4 * rng.random(3 * atoms), 3),
        "forces_eV_per_A": lists(forces, 3),
        "abs_forces_eV_per_A": lists(np.linalg.norm(forces.reshape(-1, 3), axis=1)),
        "stress_eV_per_A3": list(rng.normal(scale=0.05, size=(count, 6))),
        "energy_eV": -5.0 * sizes + rng.normal(size=count),
        "split": rng.choice(["train", "valid", "test"], count, p=[0.9, 0.05, 0.05]),
        "settings": [settings] * count,
        "verdict": ["accepted"] * count,
        "level": ["pbe"] * count,
        "ensemble": ["NpT"] * count,
        "converged": np.ones(count, bool),
    }
    words = {"corrections": "[]", "verdict_rules": "[]", "pseudopotentials": "{}", "formula": "X"}
    columns = []
    for field in SCHEMAS["dataset"]:
        if field.name in known:
            columns.append(
                pa.array(known[field.name], field.type)
                if not isinstance(known[field.name], pa.Array)
                else known[field.name].cast(field.type)
            )
        elif field.nullable:
            columns.append(pa.nulls(count, field.type))
        elif field.type == pa.string():
            columns.append(pa.array([words.get(field.name, "text-of-some-length")] * count))
        else:
            columns.append(pa.array(rng.random(count) * 10).cast(field.type, safe=False))
    return pa.table(columns, schema=SCHEMAS["dataset"])


def make(results: Path, rows: int) -> None:
    """Write a dataset and the manifest that exporters need."""
    rng = np.random.default_rng(1)
    with TableWriter(
        below(results, "dataset", level="pbe"), "dataset", "s", {"pesatlas.level": "pbe"}
    ) as writer:
        for start in range(0, rows, PIECE):
            writer.write(piece(rng, start, min(PIECE, rows - start)))
    manifest = {
        "campaign": "synthetic",
        "code_version": "0",
        "levels": ["pbe"],
        "label_batches": 0,
        "files": [],
        "references": {"atoms_eV": {"pbe": {symbol_of(z): -1.0 for z in range(1, 90)}}},
    }
    below(results, "manifest").write_text(json.dumps(manifest))


def step(name: str, folder: Path) -> None:
    """Do one step in this process."""
    results = folder / RESULTS
    if name.startswith("import "):
        kind = name.removeprefix("import ")
        path = {"matpes": "matpes/synthetic-PBE.json.gz", "extxyz": "extxyz/synthetic-PBE.extxyz"}[kind]
        import_dataset(folder / path, "pbe", folder / "imported.parquet")
    else:
        export_dataset(results, name, folder / name, verdicts=["accepted"])


def size_of(folder: Path) -> float:
    """Megabytes on the disk; sparse files count what they take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Make the rows, run every step, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--only", nargs="*", help="steps; else all")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        started = time.perf_counter(), time.process_time()
        step(given.step, given.folder)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps([time.perf_counter() - started[0], time.process_time() - started[1], memory]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if not (folder / path_of("manifest")).is_file():
            make(folder / RESULTS, given.rows)
        print(f"{given.rows} rows, {size_of(folder / RESULTS):.0f} MB as Parquet\n")
        print(
            "| step | CPU time (s) | time (s) | rows a CPU second | largest memory (MB) | on the disk (MB) "
            "|\n|---|---|---|---|---|---|",
            flush=True,
        )
        for name in given.only or [*formats(), "import matpes", "import extxyz"]:
            command = [sys.executable, __file__, "--folder", str(folder), "--step", name]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            wall, seconds, memory = json.loads(said.splitlines()[-1])
            disk = f"{size_of(folder / name):.0f}" if (folder / name).is_dir() else ""
            print(
                f"| {name} | {seconds:.0f} | {wall:.0f} | {given.rows / seconds:.0f} | {memory:.0f} | "
                f"{disk} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
