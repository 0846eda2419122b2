"""Throughput of batched molecular dynamics against matgl's own loop: one structure at a time through ASE.

    python benchmarks/md.py [--potential FOLDER] [--device cuda] [--structures 32] [--steps 50]
    python benchmarks/md.py --device cuda --atoms 512 1024 4096 16384 [--potential FOLDER or "{kind: chgnet}"]
    python benchmarks/md.py --members

The first runs NpT at 300 K and 2 fs on the same crystals with the same weights, in turns of a few steps, so
that what else the machine does falls on both. matgl's loop is its ``MolecularDynamics`` with
``npt_nose_hoover`` (ASE's NPT, one evaluation a step). On a CPU the measure is CPU seconds on one thread;
on a GPU, wall seconds.

With ``--atoms``, batches of so many atoms, within 8 minutes in all: rate, share of the neighbours, operations
and waits of a step, memory; for a potential of any kind, given as ``explore.potential`` of a configuration.
``--as-on-a-gpu`` takes the way of a GPU on a CPU, to count. With ``--members``, what it costs the host that
members of a group of 2,000 structures come and go, and have frames.
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
import yaml
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from matgl.apps.pes import Potential as MatglSaved
from matgl.ext.ase import MolecularDynamics
from matgl.models import M3GNet

from pesatlas.config.explore import Abort
from pesatlas.config.plugins import find
from pesatlas.dynamics.driver import Driver
from pesatlas.dynamics.group import start_group
from pesatlas.dynamics.md_state import State, initial_state, join
from pesatlas.dynamics.noise import Noise
from pesatlas.dynamics.npt import NpT
from pesatlas.errors import UserError
from pesatlas.explore.stored_frames import take_frames
from pesatlas.explore.trajectory import Trajectory
from pesatlas.potentials import device as devices
from pesatlas.potentials.batched import EdgePotential
from pesatlas.potentials.graph import Graph, build_graph, build_padded_graph, to_evaluation
from pesatlas.potentials.loading import POTENTIALS, load_potential
from pesatlas.potentials.matgl_models import MatglPotential
from pesatlas.potentials.potential import Batch, Potential
from pesatlas.potentials.weights import directory_sha256, load_matgl
from pesatlas.structures.sources.demo import CRYSTALS
from pesatlas.testing.device_waits import watched

DEFAULT = Path(__file__).parents[2] / "shared" / "models" / "M3GNet-MP-2021.2.8-PES"
TEMPERATURE_K, TIMESTEP_FS, TURNS = 300.0, 2.0, 5
LIMIT_S = 8 * 60
NAMES = ("Al", "AlP", "CsCl", "GaAs", "Li2O", "Li2S", "Li3N", "LiF", "Mg2Si", "MgO", "MoS2", "NaCl", "NiAl")
NAMES += ("Si", "Si-BC8", "SiC", "TiO2", "WS2", "ZnO")
"""Built-in crystals without hydrogen, for which the time step would be too long."""


def crystals(count: int) -> list[Atoms]:
    """Return built-in crystals as supercells of 8 to 24 atoms, slightly displaced, with velocities."""
    rng = np.random.default_rng(7)
    chosen: list[Atoms] = []
    for most in (24, 12, 16):
        for recipe in (CRYSTALS[name] for name in NAMES):
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


def seconds(work: Callable[[], None], device: torch.device, *, wall: bool = False) -> float:
    """CPU seconds of ``work``; wall seconds on a GPU, or of what works in another process."""
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu or wall else time.process_time
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - start


def neighbours(potential: EdgePotential, batch: Batch) -> Graph:
    """Neighbours as the dynamics find them."""
    ahead = batch.layout.steady and devices.runs_ahead(potential.device)
    return (build_padded_graph if ahead else build_graph)(
        batch, potential.cutoff_A, both_ways=potential.both_ways
    )


def where_it_goes(potential: EdgePotential, state: State, repeats: int) -> dict[str, float]:
    """Seconds of the parts of one evaluation, averaged over ``repeats``."""
    parts = dict.fromkeys(("neighbours", "energy (forward)", "slopes (backward)", "forces and stress"), 0.0)
    for _ in range(repeats):
        for batch in potential.passes(state.batch):
            found: dict[str, object] = {}
            work = {
                "neighbours": lambda batch=batch, found=found: found.update(
                    graph=neighbours(potential, batch)
                ),
                "energy (forward)": lambda batch=batch, found=found: found.update(
                    vectors=(vectors := found["graph"].vectors.float().requires_grad_()),
                    energies=potential.energies(found["graph"], vectors)[: len(batch.cells)],
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


def trajectory(index: int, atoms: Atoms) -> Trajectory:
    """Return 100 ps of a crystal with a frame each 0.1 ps, which does not end for being hot."""
    return Trajectory(
        f"{index:032x}",
        noise=f"{index:032x}",
        structure_id=f"crystal-{index}",
        variant="unit",
        domain="bulk",
        condition="300K",
        source="benchmark",
        numbers=atoms.numbers.astype(np.uint8),
        cell=atoms.cell[:],
        positions=atoms.positions,
        temperature_K=TEMPERATURE_K,
        pressure_GPa=0.0,
        static=False,
        path_end=None,
        images=0,
        timestep_fs=TIMESTEP_FS,
        frame_steps=50,
        steps=50_000,
        ramp=(),
        cell_motion="all",
        compressibility_per_GPa=0.01,
        same_compressibility=True,
        abort=Abort(max_volume_ratio=50.0, max_temperature_factor=500.0),
    )


def full_batches(
    potential: Potential, saved: MatglSaved | None, sizes: list[int], most_steps: int, started: float
) -> None:
    """Print a row for each size of a batch, and one for matgl's own loop of its models; stop in time."""
    device, wall = potential.device, not isinstance(potential, EdgePotential)
    unit = "wall s" if wall or device.type == "cuda" else "CPU s"
    print(f"{potential.name} on {device}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)\n")
    print(
        f"| atoms | structures | steps | steps·atoms per {unit} | ms a step | neighbours | "
        "operations a step | waits in 10 steps | MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n, size in enumerate(sizes):
        share = (LIMIT_S - (time.perf_counter() - started)) / (len(sizes) - n + 1)
        pool = [each for each in crystals(24) if potential.elements.issuperset(each.numbers.tolist())]
        if not pool:
            raise UserError(f"{potential.name} knows none of the built-in crystals: {', '.join(NAMES)}.")
        chosen: list[Atoms] = []
        while sum(map(len, chosen)) < size:
            chosen.append(pool[len(chosen) % len(pool)])
        _full_batch(potential, chosen, most_steps, share)
    if saved is None:
        return
    atoms = crystals(8)
    loop, _ = ase_loop(saved, atoms)
    loop(1)
    steps = 5
    own_s = seconds(lambda: loop(steps), device)
    rate = steps * sum(map(len, atoms)) / own_s
    print(f"\nmatgl's own loop, one structure after the other: {rate:.0f} steps·atoms per {unit}")


def _full_batch(potential: Potential, atoms: list[Atoms], most_steps: int, limit_s: float) -> None:
    npt = NpT(TIMESTEP_FS, 100.0, 1000.0, 0.01)
    driver = Driver[Trajectory](
        npt, potential, lambda run, why: print(f"{run.trajectory.name}: {why.detail}")
    )
    if potential.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    group = driver.start([trajectory(i, each) for i, each in enumerate(atoms)])
    group = driver.advance(group, driver.stride)
    stride_s = (time.perf_counter() - begun) * driver.stride / (driver.stride + 1)
    with watched() as counts:
        group = driver.advance(group, 10)
    count = group.atoms
    rounds = max(1, min(most_steps // 10, int(0.5 * limit_s / max(stride_s * 10 / driver.stride, 1e-3))))

    def advance() -> None:
        nonlocal group
        for _ in range(rounds):
            group = driver.advance(group, 10)

    spent = seconds(advance, potential.device, wall=not isinstance(potential, EdgePotential))
    step_s = spent / rounds / 10
    # others find their neighbours within the model, or in another process
    share = "-"
    if isinstance(potential, EdgePotential):
        share = f"{where_it_goes(potential, group.state, repeats=2)['neighbours'] / step_s:.1%}"
    memory = torch.cuda.max_memory_allocated() / 1e6 if potential.device.type == "cuda" else float("nan")
    print(
        f"| {count} | {len(group.runs)} | {10 * rounds} | {count / step_s:.0f} | {1000 * step_s:.1f} | "
        f"{share} | {counts.launches / 10:.0f} | {sum(counts.waits.values())} | "
        f"{memory:.0f} |",
        flush=True,
    )


def members() -> None:
    """Print what the host spends on 2,000 structures beside the potential."""
    rng, cpu = np.random.default_rng(0), torch.device("cpu")
    made = []
    for i in range(2000):
        n = int(rng.integers(4, 24))
        edge = (15.0 * n) ** (1 / 3)
        atoms = Atoms(f"O{n}", positions=edge * rng.random((n, 3)), cell=np.eye(3) * edge, pbc=True)
        made.append(trajectory(i, atoms))
    group, blocks = start_group(made, cpu), iter(range(1, 100))
    one = start_group(made[:1], cpu)
    work = {
        "one structure leaves": lambda: group.split([1000])[1],
        "one structure joins": lambda: group + one,
        "random numbers, each 64th step": lambda: group.noise.at([64 * next(blocks)] * 2000),
        "random numbers, other steps": lambda: group.noise.at([64 * 90 + 1] * 2000),
        "frames of all": lambda: take_frames(group.state, dict.fromkeys(range(2000), 50)),
    }
    print(f"{len(made)} structures, {group.atoms} atoms\n\n| what | CPU ms |\n|---|---|")
    group.noise.at([64 * 90] * 2000)
    for name, part in work.items():
        print(f"| {name} | {1000 * min(seconds(part, cpu) for _ in range(3)):.2f} |")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--potential", help="folder of matgl weights; with --atoms also '{kind: ..., ...}', as in explore"
    )
    parser.add_argument("--newer-convention", action="store_true", help="the weights were made for matgl 4")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--structures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--atoms", type=int, nargs="+", help="batches of about so many atoms")
    parser.add_argument("--as-on-a-gpu", action="store_true", help="take the way of a GPU on a CPU")
    parser.add_argument("--members", action="store_true", help="what members cost that come and go")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    if arguments.as_on_a_gpu:
        devices.runs_ahead = lambda _: True
    if arguments.members:
        members()
        return
    options = yaml.safe_load(arguments.potential or "")
    if isinstance(options, dict):
        if not arguments.atoms:
            parser.error("beside matgl's own loop only folders of its weights can be measured: give --atoms")
        kind = find(POTENTIALS, options.get("kind", ""))
        any_kind = load_potential(kind.Options(**options), arguments.device, gate=False)
        full_batches(any_kind, None, arguments.atoms, arguments.steps, started)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(arguments.potential) if arguments.potential else DEFAULT
        if not (arguments.potential or folder.is_dir()):
            folder = random_weights(Path(scratch) / "random")
        older = not arguments.newer_convention and folder.name != "random"
        potential = MatglPotential(
            load_matgl(folder, older_convention=older),
            f"matgl/{folder.name}",
            directory_sha256(folder),
            device,
        )
        saved = load_matgl(folder, older_convention=older).to(device)
    if arguments.atoms:
        full_batches(potential, saved, arguments.atoms, arguments.steps, started)
        return
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
