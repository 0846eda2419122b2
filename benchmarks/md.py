"""Throughput of batched molecular dynamics against matgl's own loop: one structure at a time through ASE.

    python benchmarks/md.py [--potential FOLDER] [--device cuda] [--structures 32] [--steps 50]

Both run NpT at 300 K and 2 fs on the same crystals with the same weights, in turns of a few steps, so that
what else the machine does falls on both. matgl's loop is its ``MolecularDynamics`` with ``npt_nose_hoover``
(ASE's NPT, one evaluation a step). On a CPU the measure is CPU seconds on one thread; on a GPU, wall seconds.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from matgl.apps.pes import Potential as MatglSaved
from matgl.ext.ase import MolecularDynamics
from matgl.models import M3GNet

from pesatlas.dynamics.md_state import State, initial_state, join
from pesatlas.dynamics.noise import Noise
from pesatlas.dynamics.npt import NpT
from pesatlas.potentials.graph import build_graph, to_evaluation
from pesatlas.potentials.matgl_models import MatglPotential
from pesatlas.potentials.weights import directory_sha256, load_matgl
from pesatlas.structures.sources.demo import CRYSTALS

DEFAULT = Path(__file__).parents[2] / "shared" / "models" / "M3GNet-MP-2021.2.8-PES"
TEMPERATURE_K, TIMESTEP_FS, TURNS = 300.0, 2.0, 5


def crystals(count: int) -> list[Atoms]:
    """Return the built-in crystals as supercells of 8 to 24 atoms, slightly displaced, with velocities."""
    rng = np.random.default_rng(7)
    chosen: list[Atoms] = []
    for most in (24, 12, 16):
        for recipe in CRYSTALS.values():
            cell = np.array(recipe.vectors)
            crystal = Atoms(recipe.species, scaled_positions=recipe.fractional, cell=cell, pbc=True)
            while len(crystal) * 2 <= most:
                crystal = crystal.repeat([2 if k == crystal.cell.lengths().argmin() else 1 for k in range(3)])
            crystal.rattle(0.03, rng=rng)
            MaxwellBoltzmannDistribution(crystal, temperature_K=TEMPERATURE_K, rng=rng)
            chosen.append(crystal)
    return [chosen[k % len(chosen)] for k in range(count)]


def random_weights(folder: Path) -> Path:
    """Save random weights of M3GNet's architecture: slower or faster than real ones they are not."""
    torch.manual_seed(0)
    MatglSaved(M3GNet(is_intensive=False)).save(folder)
    return folder


def batched_loop(
    potential: MatglPotential, atoms: list[Atoms]
) -> tuple[Callable[[int], None], Callable[[], State]]:
    """Return a function that advances all structures by some steps, and one that returns their state."""
    states = [
        initial_state(
            a.numbers,
            a.cell[:],
            a.positions,
            a.get_velocities() * units.fs,
            temperature=TEMPERATURE_K,
            pressure=0.0,
            device=potential.device,
        )
        for a in atoms
    ]
    state = join(states)
    state = state.evaluated(potential.evaluate(state.batch))
    noise = Noise(range(len(atoms)), [3 * len(a) - 3 for a in atoms])
    integrator = NpT(
        TIMESTEP_FS, thermostat_tau_fs=100.0, barostat_tau_fs=1000.0, compressibility_per_GPa=0.01
    )
    step = 0

    def advance(steps: int) -> None:
        nonlocal state, step
        for _ in range(steps):
            numbers = torch.as_tensor(noise.at([step] * len(atoms)), device=potential.device)
            moved = integrator.move(state, numbers)
            state = integrator.complete(moved, potential.evaluate(moved.batch))
            step += 1

    return advance, lambda: state


def ase_loop(saved: MatglSaved, atoms: list[Atoms]) -> tuple[Callable[[int], None], list[int]]:
    """Return a function that advances the structures one after the other, and a count of evaluations."""
    evaluations = [0]
    runs = []
    with redirect_stderr(StringIO()):
        for a in atoms:
            run = MolecularDynamics(
                a.copy(),
                saved,
                ensemble="npt_nose_hoover",
                temperature=TEMPERATURE_K,
                timestep=TIMESTEP_FS,
                ttime=100.0,
                pfactor=75.0**2,
            )
            original = run.atoms.calc.calculate

            def counted(*args: object, original: Callable = original, **kwargs: object) -> None:
                evaluations[0] += 1
                original(*args, **kwargs)

            run.atoms.calc.calculate = counted
            runs.append(run)

    def advance(steps: int) -> None:
        with redirect_stderr(StringIO()):  # ASE's NPT comments on the centre of mass
            for run in runs:
                run.run(steps)

    return advance, evaluations


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """CPU seconds of ``work``; wall seconds on a GPU."""
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu else time.process_time
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - start


def where_it_goes(potential: MatglPotential, state: State, repeats: int) -> dict[str, float]:
    """Seconds of the parts of one evaluation, averaged over ``repeats``."""
    parts = dict.fromkeys(("neighbours", "energy (forward)", "slopes (backward)", "forces and stress"), 0.0)
    for _ in range(repeats):
        for batch in potential.passes(state.batch):
            found: dict[str, object] = {}
            work = {
                "neighbours": lambda batch=batch, found=found: found.update(
                    graph=build_graph(batch, potential.cutoff_A)
                ),
                "energy (forward)": lambda found=found: found.update(
                    vectors=(vectors := found["graph"].vectors.float().requires_grad_()),
                    energies=potential.energies(found["graph"], vectors),
                ),
                "slopes (backward)": lambda found=found: found.update(
                    gradient=torch.autograd.grad(found["energies"].sum(), found["vectors"])[0]
                ),
                "forces and stress": lambda batch=batch, found=found: to_evaluation(
                    found["graph"], batch.cells, found["energies"], found["gradient"]
                ),
            }
            for name, part in work.items():
                parts[name] += seconds(part, potential.device) / repeats
    return parts


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--potential", type=Path, default=None, help="folder of matgl weights")
    parser.add_argument("--newer-convention", action="store_true", help="the weights were made for matgl 4")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--structures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.potential or (
            DEFAULT if DEFAULT.is_dir() else random_weights(Path(scratch) / "random")
        )
        older = not arguments.newer_convention and folder.name != "random"
        potential = MatglPotential(
            load_matgl(folder, older_convention=older),
            f"matgl/{folder.name}",
            directory_sha256(folder),
            device,
        )
        saved = load_matgl(folder, older_convention=older).to(device)
    atoms = crystals(arguments.structures)
    ours, state = batched_loop(potential, atoms)
    theirs, evaluations = ase_loop(saved, atoms)
    ours(2)
    theirs(2)
    evaluations[0] = 0
    per_turn = -(-arguments.steps // TURNS)
    spent = np.array(
        [[seconds(lambda loop=loop: loop(per_turn), device) for loop in (theirs, ours)] for _ in range(TURNS)]
    )
    report(potential, atoms, state(), spent, per_turn, evaluations[0])


def report(
    potential: MatglPotential,
    atoms: list[Atoms],
    state: State,
    spent: np.ndarray,
    per_turn: int,
    evaluations: int,
) -> None:
    """Print what was measured; ``spent`` is (turns, 2): matgl's loop, ours."""
    n_atoms, steps = sum(map(len, atoms)), per_turn * len(spent)
    unit = "wall s" if potential.device.type == "cuda" else "CPU s"
    print(
        f"{potential.name} on {potential.device}, torch {torch.__version__}, {torch.get_num_threads()} "
        "thread(s)"
    )
    print(
        f"{len(atoms)} structures of {min(map(len, atoms))}-{max(map(len, atoms))} atoms, {n_atoms} in all; "
        f"{steps} steps of NpT in {len(spent)} turns\n"
    )
    total = spent.sum(0)
    print(f"| loop | {unit} | steps·atoms per {unit} | evaluations per structure and step |")
    print("|---|---|---|---|")
    for name, time_s, calls in zip(
        ("matgl, ASE NPT, one by one", "pesatlas, batched NpT"),
        total,
        (evaluations / len(atoms) / steps, 1.0),
        strict=True,
    ):
        print(f"| {name} | {time_s:.1f} | {steps * n_atoms / time_s:.0f} | {calls:.2f} |")
    ratios = spent[:, 0] / spent[:, 1]
    print(f"\nratio {total[0] / total[1]:.2f} (turns: {', '.join(f'{r:.2f}' for r in ratios)})")
    print(f"mean temperature at the end {state.kinetic_temperature().mean():.0f} K\n")
    parts = where_it_goes(potential, state, repeats=5)
    step_s = total[1] / steps
    parts["integrator and the rest"] = max(step_s - sum(parts.values()), 0.0)
    print(f"| part of a batched step | ms ({unit}) | share |")
    print("|---|---|---|")
    for name, time_s in parts.items():
        print(f"| {name} | {1000 * time_s:.1f} | {time_s / sum(parts.values()):.1%} |")


if __name__ == "__main__":
    main()
