"""Trajectories of benchmarks: cells large enough, run in groups, with a checkpoint for each group."""

from collections.abc import Iterator, Sequence

import numpy as np

from pesatlas.benchmark.bench import Bench, groups
from pesatlas.benchmark.md import Ended, Plan, Run, run_together
from pesatlas.config.section import digest
from pesatlas.dynamics.relax import Start


def repeated(start: Start, length_A: float) -> Start:  # noqa: N803 - a unit
    """Repeat a cell until each of its edges is at least ``length_A`` long."""
    times = np.maximum(1, np.ceil(length_A / np.linalg.norm(start.cell, axis=1) - 1e-9)).astype(int)
    shifts = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), -1).reshape(-1, 3) @ start.cell
    positions = (shifts[:, None] + start.positions[None]).reshape(-1, 3)
    return Start(np.tile(start.numbers, len(shifts)), start.cell * times[:, None], positions)


def run_all(bench: Bench, runs: Sequence[Run], plan: Plan) -> Iterator[Ended]:
    """Run groups of trajectories; yield what became of each, in their order."""
    for group in groups([len(run.start.numbers) for run in runs], bench.atoms_together):
        together = [runs[i] for i in group]
        checkpoint = bench.work / f"md-{digest([run.key for run in together])}.npz"
        yield from run_together(bench.potential, together, plan, checkpoint)
        # only now has the caller kept what the group yielded
        checkpoint.unlink(missing_ok=True)
