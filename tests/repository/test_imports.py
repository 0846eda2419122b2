"""A job loads the libraries that it needs: torch alone takes seconds, matgl three times as long, in each of
thousands of jobs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from forked import run_in_forks

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "matgl", "pymatgen", "ase", "lightning", "scipy", "duckdb", "sklearn", "numba", "altair"}
HEAVY |= {"pandas", "matplotlib"}
# numba compiles loops over NumPy, and takes scipy along to know its functions.
LOOPS = {"numba", "scipy"}
POTENTIAL = {"torch"}
# vesin comes with ASE, and ASE's units with scipy in places.
DYNAMICS = {"torch", "ase"}
# matgl imports lightning itself, in its own __init__: no module of it can be had without.
TRAINING = {"torch", "matgl", "lightning", "pymatgen", "ase", "scipy", "sklearn", "numba"}
TRAINING |= {"pandas", "matplotlib"}
NEEDED = {
    "advise_round": {"altair"},
    "build_report": {"altair", "pymatgen"},
    "calibrate_disagreement": POTENTIAL,
    "cluster_atoms": LOOPS,
    "cluster_structures": LOOPS,
    "evaluate_potential": POTENTIAL,
    "grid_atoms": LOOPS,
    "grid_structures": LOOPS,
    "measure_disagreement": POTENTIAL,
    "pick_arms": LOOPS,
    "pick_snapshots": LOOPS,
    "prepare_structures": {"pymatgen", "scipy"},
    "reduce_frames": LOOPS,
    "run_benchmark": DYNAMICS,
    "run_md": DYNAMICS,
    "score_benchmark": {"altair"},
    "train_arm": TRAINING,
    "train_potential": TRAINING,
    # pyarrow.dataset imports it where it is installed
    "write_card": {"pandas"},
}
"""Libraries that a script may load before its work begins; scripts not named load none of them."""


def imports_of(script):
    """Return what a script imports of pesatlas, as Python."""
    nodes = ast.walk(ast.parse(script.read_text()))
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.ImportFrom | ast.Import)]


def test_a_job_loads_nothing_heavy_that_it_does_not_need():
    said = ["import json, sys", "print(json.dumps(list(sys.modules)))"]
    scripts = {path.stem: imports_of(path) for path in (ROOT / "scripts").glob("*.py")}
    programs = {name: "\n".join([*lines, *said]) for name, lines in scripts.items()}
    # what every job loads, and which loads nothing heavy: scripts that need nothing would tell
    found = run_in_forks(programs, ["pesatlas.campaign.job"])
    failed = {name: output for name, (status, output) in found.items() if status}
    assert failed == {}
    loaded = {
        name: HEAVY.intersection(json.loads(output.splitlines()[-1])) for name, (_, output) in found.items()
    }
    needless = {name: there - NEEDED.get(name, set()) for name, there in loaded.items()}
    assert {name: there for name, there in needless.items() if there} == {}
    assert len(loaded) > 30


def test_dynamics_with_the_default_potential_load_neither_its_package_nor_a_compiler():
    lines = [
        "from pesatlas.config.explore import Explore",
        "from pesatlas.potentials.loading import load_potential",
        "import pesatlas.explore.explore_batch, json, sys",
        "load_potential(Explore().potential, 'cpu')  # the gate evaluates crystals",
        "print(json.dumps(list(sys.modules)))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=120
    )
    unused = {"chgnet", "matplotlib", "sympy", "torch._dynamo", "torch._inductor"} | HEAVY - DYNAMICS
    assert unused.intersection(json.loads(done.stdout)) == set()


def test_every_script_that_needs_something_is_there():
    assert NEEDED.keys() <= {script.stem for script in (ROOT / "scripts").glob("*.py")}
