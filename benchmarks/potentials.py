"""Published potentials on parts of matcalc's sets: errors with bootstrap intervals beside what was published.

    python benchmarks/potentials.py [--data ../shared/data] [--models ../shared/models] [--work
    build/potentials]

chgnet 0.3.0 and TensorNet-MatPES-PBE-v2025.1 (whose older convention is restored) on WBM crystals
(relaxation, formation energy), Materials Project elasticity and Alexandria phonons. Which crystals: those of
at most so many atoms as below, in the order of a hash of their ids, so that nobody chose them and everybody
gets the same. Then three potentials are heated: these two, and the TensorNet as it is loaded without its
convention, which is broken for compounds. It may be stopped and run again: what was measured is kept in
--work.
"""

import argparse
import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pesatlas.benchmark.benchmarked import BenchmarkedPotential, benchmarked_potential
from pesatlas.benchmark.measure import Workspace, measure
from pesatlas.benchmark.score import write_scores
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.config.benchmark import PROPERTIES
from pesatlas.config.plugins import find
from pesatlas.potentials.loading import POTENTIALS, load_potential
from pesatlas.potentials.potential import Potential
from pesatlas.potentials.weights import directory_sha256
from pesatlas.tables import read_table

SHARED = Path(__file__).parents[2] / "shared"
SIZES: dict[str, dict[str, Any]] = {
    "relaxation": {"structures": 64, "max_atoms": 10},
    "formation_energy": {"structures": 64, "max_atoms": 10},
    "elasticity": {"structures": 48, "max_atoms": 6},
    "heat_capacity": {"structures": 12, "max_atoms": 2},
    "speed": {"structures": 2, "max_atoms": 10},
}
HEATED: dict[str, Any] = {"structures": 6, "max_atoms": 4, "length_ps": 0.5, "min_length_A": 0.0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--work", type=Path, default=Path("build/potentials"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("pesatlas").setLevel(logging.INFO)
    warnings.filterwarnings("ignore")
    folder = given.models / "TensorNet-MatPES-PBE-v2025.1-PES"
    matgl = find(POTENTIALS, "matgl").Options
    chgnet = benchmarked_potential("chgnet-0.3.0", find(POTENTIALS, "chgnet").Options())
    tensornet = benchmarked_potential(
        "TensorNet-MatPES-PBE-v2025.1",
        matgl(path=folder, older_convention=True, sha256=directory_sha256(folder)),
    )
    broken = benchmarked_potential("TensorNet-without-its-convention", matgl(path=folder))
    rows = []
    loaded = {
        benchmarked.name: load_potential(benchmarked.options, "cpu") for benchmarked in (chgnet, tensornet)
    }
    for name, size in SIZES.items():
        for benchmarked in (chgnet, tensornet):
            rows += _measured(benchmarked, loaded[benchmarked.name], name, size, given)
    for benchmarked in (broken, chgnet, tensornet):
        # the gate would refuse the broken one: here it is to be caught by its dynamics
        potential = find(POTENTIALS, benchmarked.options.kind).load(benchmarked.options, "cpu")
        rows += _measured(benchmarked, potential, "md_stability", HEATED, given)
    for row in write_scores(rows, given.work / "scores"):
        interval = f"[{_shown(row['low'])}, {_shown(row['high'])}]"
        print(
            f"{row['potential']:34} {row['quantity']:18} {row['statistic']:9} {_shown(row['value']):>7} "
            f"{interval:16} {row['unit']:8} "
            f"n {row['n']} of {row['n'] + row['n_failed']}; published {_shown(row['published'])} "
            f"({row['published_model']})"
        )
    for row in read_table(given.work / "scores" / "differences.parquet", "differences").to_pylist():
        print(
            f"{row['quantity']:18} {row['first']} - {row['second']}: {_shown(row['difference'])} "
            f"[{_shown(row['low'])}, {_shown(row['high'])}], p {row['p_value']:.2g}, n {row['n']}"
        )
    for row in rows:
        if row["property"] == "md_stability" or row["reason"]:
            print(
                row["potential"],
                row["structure_id"],
                row["quantity"],
                row["value"],
                row["outcome"],
                row["reason"],
                row["detail"],
            )


def _measured(
    benchmarked: BenchmarkedPotential,
    potential: Potential,
    name: str,
    size: dict[str, Any],
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    start = time.process_time()
    options = find(PROPERTIES, name).Options(**size)
    place = Workspace.on("cpu", given.work / "store", given.work / "under-way")
    sources = Sources(given.data, corrected=benchmarked.corrected)
    rows = measure(benchmarked, potential, options, sources, place)
    print(f"{benchmarked.name}: {name} in {time.process_time() - start:.0f} CPU s", flush=True)
    return rows


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


if __name__ == "__main__":
    main()
