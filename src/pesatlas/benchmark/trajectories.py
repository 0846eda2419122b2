"""Trajectories of benchmarks: large enough cells, run in groups, with a checkpoint for each group."""

from collections.abc import Iterator, Sequence

import numpy as np

from pesatlas.atoms import geometry
from pesatlas.benchmark.cached_evaluator import CachedEvaluator
from pesatlas.benchmark.md import Ended, Plan, Run, run_batch
from pesatlas.config.section import digest
from pesatlas.dynamics.relax import Start
from pesatlas.potentials.chunks import chunks_by_atoms


def repeated(start: Start, length_A: float) -> Start:  # noqa: N803 - a unit
    """Repeat a cell until each of its edges is at least ``length_A`` long."""
    times = np.maximum(1, np.ceil(length_A / np.linalg.norm(start.cell, axis=1) - 1e-9)).astype(int)
    return Start(*geometry.repeated(start.numbers, start.cell, start.positions, times.tolist()))


def run_all(evaluator: CachedEvaluator, runs: Sequence[Run], plan: Plan) -> Iterator[Ended]:
    """Run groups of trajectories; yield the result of each, in their order."""
    for group in chunks_by_atoms([len(run.start.numbers) for run in runs], evaluator.atoms_per_chunk):
        chunk = [runs[i] for i in group]
        checkpoint = evaluator.work / f"md-{digest([run.key for run in chunk])}.npz"
        yield from run_batch(evaluator.potential, chunk, plan, checkpoint)
        # only now has the caller kept what the group yielded
        checkpoint.unlink(missing_ok=True)
