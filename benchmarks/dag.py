"""Cost of Snakemake's DAG at full size: jobs, CPU time and memory of a dry run, without any results.

    python benchmarks/dag.py [--cells 150000] [--labels 500000] [--shrink 100]

Builds the files of a campaign as they would be before its start, half-way and nearly done, with Snakemake's
own records of them, and runs `pesatlas run -n` on it: once with the default batch sizes, once with one job
for each structure, at 1/shrink of the size because that is slow. It stops with an error unless the dry run
finds just the jobs that are left.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import yaml

from pesatlas import __version__
from pesatlas.campaign.layout import groups, path_of
from pesatlas.config.campaign import Campaign
from pesatlas.config.dataset import Dataset
from pesatlas.config.explore import Explore
from pesatlas.config.label import Label
from pesatlas.config.presets import preset
from pesatlas.tables import write_table
from pesatlas.tables.manifest import entry_path

ROOT = Path(__file__).parents[1]
PROFILE, SNAKEFILE = str(ROOT / "profiles/local"), str(ROOT / "Snakefile")
DRY_RUN = [sys.executable, "-m", "pesatlas.cli.main", "run", "--profile", PROFILE, "-s", SNAKEFILE, "-n"]
# `snakemake --touch` sleeps a tenth of a second for each job
TOUCH = "import snakemake.executors.touch as t, snakemake.cli as c; t.Executor.SLEEPING_TIME = 0; c.main()"
# From a small process of its own: what a child is said to have used at most includes what its parent had when
# it started it.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
STATES = ("before", "half-way", "nearly done")


class Size:
    """A campaign of ``cells`` and ``labels``, and how many of each share a job."""

    def __init__(self, cells: int, labels: int, cells_per_job: int, labels_per_job: int) -> None:
        self.cells, self.labels = cells, labels
        self.cells_per_job, self.labels_per_job = cells_per_job, labels_per_job
        self.explore_batches = ceil(cells / cells_per_job)
        self.label_batches = ceil(labels / labels_per_job)


def build(folder: Path, size: Size) -> None:
    """Write the configuration and the table of cells; the rest of the campaign follows from them."""
    campaign, _, _ = preset("matpes")
    values = yaml.safe_load(campaign.model_dump_json())
    values["structures"]["sources"] = [{"kind": "demo"}]
    values["explore"] |= {"potential": {"kind": "chgnet"}, "structures_per_job": size.cells_per_job}
    values["encode"]["encoder"] = {"kind": "chgnet"}
    values["select"]["target"] = size.labels
    values["label"]["backend"] = {"kind": "gpaw"}
    values["label"]["structures_per_job"] = size.labels_per_job
    Campaign.model_validate(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    _write_cells(folder / path_of("structures"), size)


def _write_cells(path: Path, size: Size) -> None:
    """Write ``size.cells`` equal cells of silicon, cut into batches as the stage ``structures`` cuts them."""
    cell = {
        "variant": "unit",
        "domain": "bulk",
        "n_atoms": 2,
        "numbers": [14, 14],
        "cell_A": [0.0, 2.73, 2.73, 2.73, 0.0, 2.73, 2.73, 2.73, 0.0],
        "positions_A": [0.0, 0.0, 0.0, 1.365, 1.365, 1.365],
        "formula": "Si",
        "conditions": [{"condition": "300K", "temperature_K": 300.0, "pressure_GPa": 0.0}],
        "warnings": [],
        "source": "demo",
        "code_version": __version__,
    }
    rows = [cell | {"structure_id": f"mp-{i}", "batch": i // size.cells_per_job} for i in range(size.cells)]
    write_table(path, "structures", rows, "benchmark", {"batches": size.explore_batches})


def targets(size: Size, state: str) -> Iterator[tuple[str, ...]]:
    """Yield the outputs of each job that is done in ``state``, in the order in which they were made."""
    yield (path_of("structures_fetched"),)
    yield (path_of("potential_fetched"),)
    yield (path_of("structures"), path_of("structure_failures"))
    if state == "before":
        return
    yield (path_of("atoms"), path_of("atom_failures"))
    batches = [f"{i:05d}" for i in range(size.explore_batches)]
    yield from ((path_of("snapshots", batch=b), path_of("explore_failures", batch=b)) for b in batches)
    yield from ((path_of("features", batch=b), path_of("moments", batch=b)) for b in batches)
    yield (path_of("pca"),)
    names = groups(size.explore_batches)
    yield from ((path_of("structure_grid", group=g),) for g in names)
    yield (path_of("structure_centres"),)
    yield from ((path_of("atom_grid", group=g),) for g in names)
    yield (path_of("atom_centres"),)
    yield from (
        (
            path_of("clusters", group=g),
            path_of("candidates", group=g),
            path_of("geometries", group=g),
            path_of("drawn", group=g),
        )
        for g in names
    )
    yield (path_of("selection"),)
    yield (path_of("quality"),)
    done = size.label_batches // 2 if state == "half-way" else size.label_batches - 1
    for i in range(done):
        yield (path_of("labels", batch=i), path_of("label_failures", batch=i))


def advance(folder: Path, size: Size, state: str) -> int:
    """Bring the files below ``folder`` to ``state``; return how many jobs are left then."""
    jobs = list(targets(size, state))
    for outputs in jobs:
        for name in outputs:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if path.suffix == ".parquet" and not entry_path(path).exists():
                entry_path(path).write_text("{}")  # without one it counts as not finished
    # Snakemake records what it touches as if it had made it: parameters, inputs and code of every job
    command = ["--profile", PROFILE, "-s", SNAKEFILE, "--touch", "--forceall", "--scheduler", "greedy"]
    call([sys.executable, "-c", TOUCH, *command, *(outputs[0] for outputs in jobs)], folder)
    return jobs_in_all(size) - len(jobs)


def jobs_in_all(size: Size) -> int:
    """Return how many jobs a campaign has, the target `all` included."""
    batches = 2 * size.explore_batches + 3 * len(groups(size.explore_batches)) + size.label_batches
    # fetching twice, preparing; fitting, clustering twice, picking, measuring, isolated atoms, collecting,
    # card, the potential against DFT, report, all
    return batches + 3 + 11 + len(Dataset().exports.formats)


def call(command: list[str], folder: Path) -> tuple[str, float, float]:
    """Run a command in ``folder``.

    Return its output, CPU seconds and peak memory (MB), its children included.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    cpu_s, memory_kb = done.stderr.splitlines()[-1].split()
    return done.stdout + done.stderr, float(cpu_s), float(memory_kb) / 1024


def measure(size: Size) -> Iterator[tuple[str, int, int, float, float]]:
    """Yield, for each state of a campaign.

    Its name, jobs in all, jobs left, CPU seconds and memory (MB) of a dry run.
    """
    with tempfile.TemporaryDirectory(prefix="pesatlas-dag-") as temporary:
        folder = Path(temporary)
        build(folder, size)
        for state in STATES:
            left = advance(folder, size, state)
            output, cpu_s, memory_mb = call(DRY_RUN, folder)
            found = re.search(r"^total\s+(\d+)", output, re.MULTILINE)
            if found is None or int(found.group(1)) != left:
                sys.exit(f"{state}: {left} jobs expected\n{output}")
            yield state, jobs_in_all(size), left, cpu_s, memory_mb


def main() -> None:
    """Measure both ways to cut a campaign into jobs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=150_000)
    parser.add_argument("--labels", type=int, default=500_000)
    parser.add_argument("--shrink", type=int, default=100, help="0: leave the comparison out")
    options = parser.parse_args()
    cells_per_job = Explore.model_fields["structures_per_job"].default
    labels_per_job = Label.model_fields["structures_per_job"].default
    print(f"{options.cells} cells, {cells_per_job} a job; {options.labels} labels, {labels_per_job} a job\n")
    print("| jobs of | state | jobs in all | left | dry run, CPU s | memory, MB |\n|---|---|---|---|---|---|")
    for line in measure(Size(options.cells, options.labels, cells_per_job, labels_per_job)):
        show("default batches", *line)
    if not options.shrink:
        return
    share = options.shrink
    least = next(measure(Size(1, 1, 1, 1)))
    for line in measure(Size(options.cells // share, options.labels // share, 1, 1)):
        show(f"one structure, 1/{share} of the campaign", *line)
        # every job costs the same; starting Snakemake is not a job
        state, *numbers = line
        whole = [max(few, few + (many - few) * share) for few, many in zip(least[1:], numbers, strict=True)]
        show("one structure, all of it (in proportion)", state, *whole)


def show(name: str, state: str, jobs: float, left: float, cpu_s: float, memory_mb: float) -> None:
    """Print a line of the table."""
    print(f"| {name} | {state} | {jobs:,} | {left:,} | {cpu_s:,.1f} | {memory_mb:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
