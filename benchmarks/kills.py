"""Kill a campaign again and again; the dataset has to equal that of a quiet run, row for row.

    python benchmarks/kills.py --kills 10 [--config config.yaml]
    python benchmarks/kills.py --points [--only release]

With ``--kills``: runs the campaign twice in a temporary folder, once undisturbed, once with `kill -9` of its
whole process group at random moments, started again each time. Prints a table of what was under way at each
kill, and whether the datasets are equal.

With ``--points``: kills a tiny campaign, and commands on it, at moments chosen by what the process is doing,
each in a copy of its own, and gives the same command again. Prints a line for each moment.
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
from typing import Any

import pyarrow.parquet as pq

from pesatlas.campaign.layout import RESULTS, folder_of, numbered

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kill_points import COMMANDS, RUN, KilledCampaign, Point, copy_to, end, prepare  # noqa: E402 - parts that tests share


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
    return ", ".join(f"{len(numbered(folder / RESULTS, name))} {name}" for name in names)


def dataset(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Rows of every level, without the time that they took."""
    paths = sorted((folder / RESULTS / folder_of("dataset")).glob("*/*.parquet"))
    return {p.parent.name: pq.read_table(p).drop_columns(["wall_s"]).to_pylist() for p in paths}


def kill_at_random(root: Path, kills_wanted: int, config: Path, seed: int) -> bool:
    """Run a campaign undisturbed, and killed at random moments; return whether the datasets are equal."""
    quiet, harsh = root / "quiet", root / "harsh"
    for folder in (quiet, harsh):
        folder.mkdir()
        shutil.copy(config, folder / "config.yaml")
    begun = time.monotonic()
    if start(quiet).wait() != 0:
        sys.exit((quiet / "output.txt").read_text())
    duration = time.monotonic() - begun
    print(f"undisturbed: {duration:.0f} s")
    dice = random.Random(seed)  # noqa: S311 - when to kill, not a secret
    kills = 0
    while kills < kills_wanted:
        process = start(harsh)
        # Shares of the whole run, so that kills fall into every stage as work accumulates.
        wait = dice.uniform(5, max(10, 2 * duration / kills_wanted))
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"kill {kills:2d} after {wait:5.1f} s: {finished(harsh)}", flush=True)
            continue
        print(f"finished after {kills} kills; starting over from the stores")
        shutil.rmtree(harsh / RESULTS)
    if start(harsh).wait() != 0:
        sys.exit((harsh / "output.txt").read_text())
    equal = dataset(quiet) == dataset(harsh)
    rows = {level: len(table) for level, table in dataset(harsh).items()}
    print(f"rows: {rows}; equal to the undisturbed run: {equal}")
    return equal


def kill_at_points(root: Path, only: str) -> bool:
    """Kill at every moment whose words begin with ``only``, each in a copy of one finished campaign.

    Return whether all is equal.
    """
    campaign = KilledCampaign(root / "finished")
    campaign.do("run")
    quiet: dict[tuple[str, ...], Any] = {}
    points = [point for point in (*RUN, *COMMANDS) if point.what.startswith(only)]
    print("| killed | afterwards | s |\n|---|---|---|", flush=True)
    equal = 0
    for point in points:
        begun = time.monotonic()
        if point.command not in quiet:
            quiet[point.command] = _ended(copy_to(campaign, root / f"quiet-{len(quiet)}"), point.command)
        problem = _kill(copy_to(campaign, root / "killed"), point, quiet[point.command])
        shutil.rmtree(root / "killed")
        equal += not problem
        print(f"| {point.what} | {problem or 'equal'} | {time.monotonic() - begun:.0f} |", flush=True)
    print(f"{equal} of {len(points)} equal")
    return equal == len(points)


def _ended(campaign: KilledCampaign, command: tuple[str, ...]) -> Any:
    prepare(campaign, command)
    return end(campaign, command)


def _kill(campaign: KilledCampaign, point: Point, quiet: Any) -> str:
    """Kill one campaign at one moment, give the command again, and return what is not as in the quiet one."""
    campaign.take_away(point.gone)
    prepare(campaign, point.command)
    try:
        campaign.kill_at(point)
        found = end(campaign, point.command)
    except RuntimeError as error:
        return str(error).replace("\n", " ")
    names = {name for name in {*found, *quiet} if found.get(name) != quiet.get(name)}
    left = campaign.left_behind()
    told = [f"{len(names)} differ: {', '.join(sorted(names)[:3])}"] if names else []
    return "; ".join([*told, *(f"left: {name}" for name in left)])


def main() -> None:
    """Run, kill, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", action="store_true", help="kill at chosen moments instead")
    parser.add_argument("--only", default="", help="only moments whose words begin so, e.g. release")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pesatlas-kills-", ignore_cleanup_errors=True) as temporary:
        if options.points:
            equal = kill_at_points(Path(temporary), options.only)
        else:
            equal = kill_at_random(Path(temporary), options.kills, options.config, options.seed)
    sys.exit(not equal)


if __name__ == "__main__":
    main()
