"""A campaign of thousands of labelled rows, run for real: what its stages take, and its report.

    python benchmarks/report.py --rows 5000 --folder DIR

Every built-in crystal, cells of up to eight atoms, hot and cold, free and compressed, explored with chgnet
0.3.0; labels are those of chgnet 0.2.0 (level ``mlip``), so that potential and label differ as they do in
earnest. 5,000 rows take a quarter of an hour of two cores. The same command carries on where it was stopped,
and measures again if all is there.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import yaml

from pesatlas.config.presets import preset
from pesatlas.structures.sources.demo import CRYSTALS
from pesatlas.tables import read_entry

ROOT = Path(__file__).parents[1]
PRESSURES_GPA = [0.000101325, 10.0]
TEMPERATURES_K = [300.0, 1000.0]
STEPS = 5
"""Between two frames: enough for them to differ."""
POOL = 1.6
"""Frames for each row, to select from."""
JOBS = 8
"""Of labels: each loads the potential once."""


def configuration(rows: int) -> dict[str, object]:
    """Return a campaign that labels ``rows`` frames."""
    campaign = preset("demo")[0].model_dump(mode="json")
    # most crystals have a unit cell and a supercell
    trajectories = 2 * len(CRYSTALS) * len(PRESSURES_GPA) * len(TEMPERATURES_K)
    interval_ps = STEPS * preset("demo")[0].explore.longest_timestep_fs / 1000
    frames = round(POOL * rows / trajectories)
    campaign["campaign"]["name"] = "thousands"
    campaign["structures"]["sources"] = [{"kind": "demo", "names": list(CRYSTALS)}]
    campaign["structures"]["domains"][0] |= {
        "supercell": {"min_length_A": 5.0, "max_atoms": 8},
        "temperatures_K": TEMPERATURES_K,
        "pressures_GPa": PRESSURES_GPA,
    }
    campaign["explore"] |= {"frame_interval_ps": interval_ps, "length_ps": round(frames * interval_ps, 6)}
    # as fine as frames of one trajectory differ, so that the target decides how many are picked
    campaign["select"] |= {
        "target": rows,
        "structure": {"threshold": 0.02},
        "atoms": {"threshold": 0.002},
        "policy": {"kind": "cover"},
    }
    campaign["label"] = {
        "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
        "levels": ["mlip"],
        "structures_per_job": -(-rows // JOBS),
    }
    return campaign


def times(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return what Snakemake measured of the jobs of each rule, in the order in which the rules ended."""
    files = sorted((folder / "logs").glob("**/*.benchmark.tsv"), key=lambda path: path.stat().st_mtime)
    found: dict[str, list[dict[str, str]]] = {}
    for path in files:
        rule = path.relative_to(folder / "logs").parts[0].removesuffix(".benchmark.tsv")
        with path.open(encoding="utf-8", newline="") as handle:
            found.setdefault(rule, []).extend(csv.DictReader(handle, delimiter="\t"))
    return found


def main() -> None:
    """Write the configuration, run the campaign, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--folder", type=Path, required=True, help="where to work; kept")
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(given.rows), sort_keys=False))
    command = [sys.executable, "-m", "pesatlas.cli.main", "run"]
    places = ["--profile", str(ROOT / "profiles/local"), "-s", str(ROOT / "Snakefile")]
    subprocess.run([*command, *places], cwd=folder, check=True)
    print("| rule | jobs | time (s) | CPU time (s) | largest memory (MB) |\n|---|---|---|---|---|")
    for rule, jobs in times(folder).items():
        wall, cpu = (sum(float(job[name]) for job in jobs) for name in ("s", "cpu_time"))
        memory = max(float(job["max_rss"]) for job in jobs)
        print(f"| {rule} | {len(jobs)} | {wall:.0f} | {cpu:.0f} | {memory:.0f} |")
    rows = read_entry(folder / "results/dataset/mlip/part-00000.parquet").rows
    size = (folder / "results/report.html").stat().st_size
    print(f"\n{rows} rows in the dataset; report.html has {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
