"""Kill a campaign again and again; the dataset has to equal that of a quiet run, row for row.

    python benchmarks/kills.py --kills 10 [--config config.yaml]

Runs the campaign twice in a temporary folder: once undisturbed, once with `kill -9` of its whole process group at random moments,
started again each time. Prints a table of what was under way at each kill, and whether the datasets are equal.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start `pesatlas run` in ``folder``, as the leader of a process group."""
    command = [
        sys.executable,
        "-m",
        "pesatlas.cli.main",
        "run",
        "--profile",
        str(ROOT / "profiles/local"),
        "-s",
        str(ROOT / "Snakefile"),
    ]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)


def finished(folder: Path) -> str:
    """Count outputs by stage, to show where a kill hit."""
    names = ("snapshots", "features", "labels")
    return ", ".join(
        f"{len(list((folder / 'results' / name).glob('[0-9]*.parquet')))} {name}" for name in names
    )


def dataset(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Rows of every level, without the time that they took."""
    paths = sorted((folder / "results" / "dataset").glob("*/*.parquet"))
    return {p.parent.name: pq.read_table(p).drop_columns(["wall_s"]).to_pylist() for p in paths}


def main() -> None:
    """Run, kill, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="pesatlas-kills-"))
    quiet, harsh = root / "quiet", root / "harsh"
    for folder in (quiet, harsh):
        folder.mkdir()
        shutil.copy(options.config, folder / "config.yaml")
    begun = time.monotonic()
    if start(quiet).wait() != 0:
        sys.exit((quiet / "output.txt").read_text())
    duration = time.monotonic() - begun
    print(f"undisturbed: {duration:.0f} s")
    dice = random.Random(options.seed)  # noqa: S311 - when to kill, not a secret
    kills = 0
    while kills < options.kills:
        process = start(harsh)
        # Shares of the whole run, so that kills fall into every stage as work accumulates.
        wait = dice.uniform(5, max(10, 2 * duration / options.kills))
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"kill {kills:2d} after {wait:5.1f} s: {finished(harsh)}", flush=True)
            continue
        print(f"finished after {kills} kills; starting over from the stores")
        shutil.rmtree(harsh / "results")
    if start(harsh).wait() != 0:
        sys.exit((harsh / "output.txt").read_text())
    equal = dataset(quiet) == dataset(harsh)
    rows = {level: len(table) for level, table in dataset(harsh).items()}
    print(f"rows: {rows}; equal to the undisturbed run: {equal}")
    shutil.rmtree(root)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
