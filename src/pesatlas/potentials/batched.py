"""Batched evaluation, common to all potentials.

Edges, energies by the model, the rest by differentiation along edges.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pesatlas.potentials import device as devices
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.graph import Graph, build_graph, build_padded_graph, to_evaluation
from pesatlas.potentials.potential import Batch, Evaluation, Layout


class EdgePotential:
    """A potential that sees structures through the vectors between neighbours.

    The model runs in float32. Edge vectors, sums of energies, forces and stresses are float64. Nothing is
    kept between evaluations, neighbour lists included: their order decides the last bits of a sum, so that a
    trajectory that restarted could tell.

    Attributes
    ----------
    cutoff_A : float, Å
    both_ways : bool
        Whether each pair of neighbours is two edges, one from each end.
    atoms_per_pass_cpu : int
        On a CPU the arrays of one pass should stay near the caches; a GPU does everything at once.
    """

    name: str
    weights_hash: str
    elements: frozenset[int]
    device: torch.device
    cutoff_A: float
    both_ways: bool = True
    atoms_per_pass_cpu: int = 192

    def energies(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        """Energies (B,) in eV, float64, differentiable along ``vectors`` (E, 3) of ``graph``."""
        raise NotImplementedError

    def evaluate(self, batch: Batch) -> Evaluation:
        """Energies, forces and stresses of all structures of ``batch``.

        NaN for a structure that is wreckage.
        """
        positions = batch.positions.to(self.device)
        batch = Batch(
            numbers=batch.numbers.to(self.device),
            positions=positions,
            cells=batch.cells.to(self.device),
            n_atoms=batch.n_atoms.to(self.device),
            known=batch.layout if batch.positions.device == positions.device else None,
        )
        with reproducible(self.device):
            done = [self._evaluate(part) for part in self.passes(batch)]
        if len(done) == 1:
            return done[0]
        return Evaluation(
            energies=torch.cat([part.energies for part in done]),
            forces=torch.cat([part.forces for part in done]),
            stresses=torch.cat([part.stresses for part in done]),
        )

    def passes(self, batch: Batch) -> Iterator[Batch]:
        """Yield the parts of ``batch`` that are evaluated one after the other."""
        if devices.runs_ahead(self.device):
            yield batch
        else:
            yield from _split(batch, self.atoms_per_pass_cpu)

    def _evaluate(self, batch: Batch) -> Evaluation:
        ahead = batch.layout.steady and devices.runs_ahead(self.device)
        graph = (build_padded_graph if ahead else build_graph)(batch, self.cutoff_A, both_ways=self.both_ways)
        vectors = graph.vectors.to(torch.float32).requires_grad_()
        energies = self.energies(graph, vectors)[: len(batch.cells)]
        (gradient,) = torch.autograd.grad(energies.sum(), vectors)
        return to_evaluation(graph, batch.cells, energies, gradient)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make what is computed on a CPU inside the same to the last bit each time, for any number of threads.

    Left alone, torch differentiates an indexed read by threads that add into the same places in whatever
    order they come. A GPU is left as it is: there, trajectories agree within rounding only.
    """
    if device.type != "cpu":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    # not use_deterministic_algorithms, which imports torch's compiler: more than a second
    torch.set_deterministic_debug_mode("error")
    memory.fill_uninitialized_memory = False  # it would also write NaN into all new memory
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        memory.fill_uninitialized_memory = before[1]


def sum_by_structure(graph: Graph, values: torch.Tensor) -> torch.Tensor:
    """Sum values of atoms (N,) over each structure (B,), in float64."""
    sums = torch.zeros(graph.n_structures, dtype=torch.float64, device=values.device)
    return sums.index_add(0, graph.owners, values.to(torch.float64))


def freeze(model: Any, device: torch.device) -> Any:
    """Return ``model`` ready for inference on ``device``: no training mode, no derivatives of weights."""
    return model.to(device).eval().requires_grad_(False)


def _split(batch: Batch, max_atoms: int) -> Iterator[Batch]:
    """Yield runs of whole structures of up to ``max_atoms`` atoms; a larger structure goes alone."""
    counts, starts = batch.layout.counts, batch.layout.starts
    for run in chunks_by_atoms(counts.tolist(), max_atoms):
        first = int(starts[run.start])
        own = Layout(counts[run.start : run.stop], batch.layout.device)
        atoms, structures = slice(first, first + own.atoms), slice(run.start, run.stop)
        yield Batch(
            batch.numbers[atoms],
            batch.positions[atoms],
            batch.cells[structures],
            batch.n_atoms[structures],
            own,
        )
