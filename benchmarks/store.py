"""Cost of the label store for a job: reading its index, looking keys up, memory, at two sizes.

    python benchmarks/store.py --folder /tmp --labels 50000 500000

Fills a store with labels at two levels, of 2 to 3 kB each, in ledgers of 500 records (500,000 labels:
1,000,000 records, 2,000 ledgers, 2.6 GB), measures each line in a process of its own, and removes the store.
Times are for files in the page cache: what a network file system adds is its time to list a folder of
ledgers, to read the index, and to open one file a look-up.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pesatlas.storage.records import encode
from pesatlas.storage.store import Store

LEVELS = ("pbe", "r2scan")
PER_LEDGER = 500
JOB = 50
LOOKED_UP = 20_000
NOISE = os.urandom(1 << 20)


def key_of(number: int, level: str) -> str:
    """Return a key as labels have: 32 hex digits."""
    return hashlib.blake2b(f"{number} {level}".encode(), digest_size=16).hexdigest()


def append(path: Path, numbers: range) -> None:
    """Append the records of some labels to one ledger, without waiting for the disk."""
    with path.open("ab") as handle:
        for number in numbers:
            for level in LEVELS:
                start = hash((number, level)) % (len(NOISE) - 3_000)
                payload = NOISE[start : start + 2_000 + number % 1_000]
                handle.write(encode(key_of(number, level), payload, time.time_ns()))


def fill(folder: Path, labels: int) -> None:
    """Make a store of ``labels`` labels."""
    folder.mkdir()
    step = PER_LEDGER // len(LEVELS)
    for first in range(0, labels, step):
        append(folder / f"batch-{first // step:05d}.ledger", range(first, min(first + step, labels)))


def look_up(store: Store, numbers: list[int]) -> None:
    """Get the labels of some numbers at all levels."""
    for number in numbers:
        for level in LEVELS:
            if store.get(key_of(number, level)) is None:
                raise AssertionError(f"label {number} is missing")


def measure(folder: Path, numbers: list[int]) -> tuple[float, float, float, float]:
    """Return CPU and wall s of a refresh, CPU ms per key, and peak memory (MB)."""
    before = peak_mb()
    store = Store(folder)
    cpu, wall = time.process_time(), time.perf_counter()
    store.refresh()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    looking = time.process_time()
    look_up(store, numbers)
    looking = time.process_time() - looking
    return cpu, wall, 1e3 * looking / max(1, len(numbers) * len(LEVELS)), peak_mb() - before


def peak_mb() -> float:
    """Return the peak of this process's resident memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def alone(task: Callable[..., tuple[float, ...]], *arguments: object) -> tuple[float, ...]:
    """Run ``task`` in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def report(name: str, values: tuple[float, ...], keys: int) -> None:
    """Print one line of the table."""
    cpu, wall, per_key, memory = values
    looked = f"{per_key:8.3f}" if keys else f"{'':8}"
    total = cpu + keys * len(LEVELS) * per_key / 1e3
    print(f"  {name:44} {cpu:8.3f} {wall:8.3f} {looked} {total:8.3f} {memory:8.0f}", flush=True)


def main() -> None:
    """Fill, measure, print, remove."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to make the store (5 GB at most)")
    parser.add_argument("--labels", type=int, nargs="+", default=[50_000, 500_000])
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="pesatlas-store-", dir=options.folder))
    dice = random.Random(1)  # noqa: S311 - which labels to look up, not a secret
    try:
        for labels in options.labels:
            folder = root / "labels"
            fill(folder, labels)
            ledgers = sorted(folder.glob("*.ledger"))
            job = dice.sample(range(labels), JOB)
            print(f"{labels} labels, {labels * len(LEVELS)} records, {len(ledgers)} ledgers")
            print(f"  {'':44} {'CPU s':>8} {'wall s':>8} {'ms a key':>8} {'all, CPU':>8} {'peak MB':>8}")
            report("no index: refresh, and write the index", alone(measure, folder, []), 0)
            report("refresh with the index", alone(measure, folder, []), 0)
            many = dice.sample(range(labels), min(labels, LOOKED_UP))
            report(f"refresh, look up {len(many)} labels", alone(measure, folder, many), len(many))
            report(f"one job: refresh, look up {JOB} labels", alone(measure, folder, job), JOB)
            for i, path in enumerate(ledgers[:2_000]):
                append(path, range(labels + i, labels + i + 1))
            name = f"one job, {min(len(ledgers), 2_000) * len(LEVELS)} records not in the index"
            report(name, alone(measure, folder, job), JOB)
            size_mb = (folder / "places.index").stat().st_size / 1e6
            print(f"  index file: {size_mb:.1f} MB\n")
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
