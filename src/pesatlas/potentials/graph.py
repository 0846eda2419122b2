"""Neighbour lists of a batch of periodic structures, and forces and stresses from edge derivatives.

Every potential here sees a structure through the vectors between neighbours alone. So the derivatives along
these vectors give forces and stress at once, in float64, with forces that sum to zero whatever the precision
of the model.
"""

from dataclasses import dataclass

import numpy as np
import torch
import vesin

from pesatlas.potentials.potential import Batch, Evaluation

_MAX_DENSITY = 1.0
"""Atoms/Å³, six times diamond: denser cells are wreckage whose neighbours would fill the memory."""


@dataclass
class Graph:
    """Pairs of neighbours within a cutoff, periodic images included.

    Attributes
    ----------
    numbers : (N,) int64, atomic numbers
    owners : (N,) int64, structure of each atom
    n_structures : int
    sources, targets : (E,) int64, atom at each end; sorted by source
    vectors : (E, 3) float64, Å, from source to target
    lost : (B,) bool, structures without edges because their coordinates are not finite or their atoms overlap
    """

    numbers: torch.Tensor
    owners: torch.Tensor
    n_structures: int
    sources: torch.Tensor
    targets: torch.Tensor
    vectors: torch.Tensor
    lost: torch.Tensor


def build_graph(batch: Batch, cutoff_A: float, *, both_ways: bool = True) -> Graph:  # noqa: N803 - a unit
    """Find the neighbours within ``cutoff_A`` of every atom of ``batch``; the search itself runs on the CPU.

    With ``both_ways`` false, a pair of neighbours is one edge, from either end.
    """
    device = batch.positions.device
    cells = batch.cells.detach().cpu().numpy().astype(np.float64)
    positions = batch.positions.detach().cpu().numpy().astype(np.float64)
    counts = batch.n_atoms.detach().cpu().numpy()
    starts = np.concatenate([[0], np.cumsum(counts)])
    lost = np.zeros(len(counts), dtype=bool)
    # One thread: the order of the pairs, and so the last bits of every sum, must not depend on the machine.
    search = vesin.NeighborList(cutoff=cutoff_A, full_list=both_ways, sorted=True, n_threads=1)
    parts = []
    for k, cell in enumerate(cells):
        points = positions[starts[k] : starts[k + 1]]
        if not _searchable(points, cell):
            lost[k] = True
            continue
        fractional = points @ np.linalg.inv(cell)
        wrapped = points - np.floor(fractional) @ cell
        i, j, vectors = search.compute(wrapped, cell, periodic=True, quantities="ijD", copy=True)
        parts.append((i.astype(np.int64) + starts[k], j.astype(np.int64) + starts[k], vectors))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    sources, targets, vectors = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    return Graph(
        numbers=batch.numbers,
        owners=torch.repeat_interleave(torch.arange(len(counts), device=device), batch.n_atoms.to(device)),
        n_structures=len(counts),
        sources=torch.from_numpy(sources).to(device),
        targets=torch.from_numpy(targets).to(device),
        vectors=torch.from_numpy(vectors).to(device),
        lost=torch.from_numpy(lost).to(device),
    )


def _searchable(points: np.ndarray, cell: np.ndarray) -> bool:
    volume = abs(np.linalg.det(cell)) if np.isfinite(cell).all() else 0.0
    return bool(np.isfinite(points).all() and len(points) < _MAX_DENSITY * volume)


def to_evaluation(
    graph: Graph, cells: torch.Tensor, energies: torch.Tensor, gradient: torch.Tensor
) -> Evaluation:
    """Turn dE/dr of every edge into forces and stress; what is lost gets NaN.

    Parameters
    ----------
    graph : Graph
    cells : (B, 3, 3) float64, Å
    energies : (B,) float64, eV
    gradient : (E, 3), eV/Å, derivative of the total energy along the vector of each edge
    """
    gradient = gradient.to(torch.float64)
    forces = torch.zeros(len(graph.numbers), 3, dtype=torch.float64, device=gradient.device)
    forces.index_add_(0, graph.sources, gradient).index_add_(0, graph.targets, -gradient)
    virials = torch.zeros(graph.n_structures, 9, dtype=torch.float64, device=gradient.device)
    outer = graph.vectors[:, :, None] * gradient[:, None, :]
    virials.index_add_(0, graph.owners[graph.sources], outer.reshape(-1, 9))
    virials = virials.view(-1, 3, 3)
    stresses = 0.5 * (virials + virials.transpose(1, 2)) / torch.linalg.det(cells).abs()[:, None, None]
    energies = energies.detach().to(torch.float64).masked_fill(graph.lost, torch.nan)
    forces[graph.lost[graph.owners]] = torch.nan
    stresses[graph.lost] = torch.nan
    return Evaluation(energies=energies, forces=forces, stresses=stresses)
