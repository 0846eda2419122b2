"""Neighbour lists of a batch of periodic structures, and forces and stresses from edge derivatives.

Every potential here sees a structure through the vectors between neighbours alone. So the derivatives along
these vectors give forces and stress at once, in float64, with forces that sum to zero whatever the precision
of the model.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import vesin

from pesatlas.potentials import device as devices
from pesatlas.potentials.neighbours import Found, Search, searchable, volumes_of
from pesatlas.potentials.potential import Batch, Evaluation


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
    sound : () bool, false if there are more edges than there was room for; None where all have room
    kept : of a padded graph, what is kept for others of the same layout
    """

    numbers: torch.Tensor
    owners: torch.Tensor
    n_structures: int
    sources: torch.Tensor
    targets: torch.Tensor
    vectors: torch.Tensor
    lost: torch.Tensor
    sound: "torch.Tensor | None" = None
    kept: dict[Any, Any] | None = None

    def shorter_than(self, length_A: float, lengths: torch.Tensor) -> torch.Tensor:  # noqa: N803 - a unit
        """Return the places of the edges shorter than ``length_A``, of their ``lengths`` (E,).

        In a padded graph there are some more places, all of the last edge, which is padding.
        """
        short = lengths.detach() < length_A
        room = self.room_for(("shorter", length_A), short.sum)
        if room is None:
            return torch.nonzero(short).squeeze(1)
        return torch.nonzero_static(short, size=room, fill_value=len(lengths) - 1).squeeze(1)

    def room_for(self, what: Hashable, count: Callable[[], torch.Tensor]) -> int | None:
        """Return for how many things of a kind there is to be room, and find out whether it is enough.

        None where the graph is not padded, and there is to be room for what there is. ``count`` counts them.
        """
        if self.kept is None or self.sound is None:
            return None
        found = count()
        if what not in self.kept:
            self.kept[what] = _room(int(found))
        room: int = self.kept[what]
        self.sound = self.sound & (found < room)
        return room


def _room(now: int) -> int:
    """Return the room for so many edges or the like, and for what comes as atoms vibrate."""
    return int(1.03 * now + 8 * now**0.5) + 64


def build_graph(batch: Batch, cutoff_A: float, *, both_ways: bool = True) -> Graph:  # noqa: N803 - a unit
    """Find the neighbours within ``cutoff_A`` of every atom of ``batch``.

    With ``both_ways`` false, a pair of neighbours is one edge, from either end. On a CPU the search is
    vesin's; elsewhere it runs where the structures are, and the host waits for the number of edges.
    """
    batch = _detached(batch)
    if devices.runs_ahead(batch.positions.device):
        search = Search.of(batch, cutoff_A, both_ways=both_ways)
        if search is not None:
            found = search.find(batch, cutoff_A)
            return _graph(batch, search, found, torch.nonzero(found.within).squeeze(1))
    return _by_vesin(batch, cutoff_A, both_ways=both_ways)


def build_padded_graph(batch: Batch, cutoff_A: float, *, both_ways: bool = True) -> Graph:  # noqa: N803 - a unit
    """As ``build_graph`` for structures that stay together: the host waits for the first one alone.

    There is a structure more than in the batch, of one atom, which is its own neighbour as often as edges are
    wanting to a number that stays the same. It has nothing to do with the others, and whoever takes the
    energies leaves it out.
    """
    batch, kept = _detached(batch), batch.layout.kept
    known = kept.get((cutoff_A, both_ways))
    if known is None:
        search = Search.of(batch, cutoff_A, both_ways=both_ways)
        if search is None:
            return _with_padding(_by_vesin(batch, cutoff_A, both_ways=both_ways), cutoff_A, None)
        first = int(search.find(batch, cutoff_A).within.sum())
        known = kept[cutoff_A, both_ways] = search, _room(first)
    search, room = known
    found = search.find(batch, cutoff_A)
    chosen = torch.nonzero_static(found.within, size=room).squeeze(1)
    edges = found.within.sum()
    graph = _graph(batch, search, found, chosen.clamp(min=0))
    graph.sound = found.enough & (edges < room)
    graph.kept = kept
    return _with_padding(graph, cutoff_A, torch.arange(room, device=edges.device) >= edges)


def _detached(batch: Batch) -> Batch:
    layout = batch.layout
    return Batch(batch.numbers, batch.positions.detach(), batch.cells.detach(), batch.n_atoms, layout)


def _graph(batch: Batch, search: Search, found: Found, chosen: torch.Tensor) -> Graph:
    pairs = search.pair[chosen]
    return Graph(
        numbers=batch.numbers,
        owners=batch.layout.owner,
        n_structures=len(batch.n_atoms),
        sources=search.i[pairs],
        targets=search.j[pairs],
        vectors=found.between[pairs] + found.shifts[search.image[chosen]],
        lost=found.lost,
    )


def _with_padding(graph: Graph, cutoff_A: float, spare: "torch.Tensor | None") -> Graph:  # noqa: N803 - a unit
    """Return a graph with one structure more, of one atom, to which the ``spare`` edges (E,) go."""
    n = len(graph.numbers)
    sources, targets, vectors = graph.sources, graph.targets, graph.vectors
    if spare is not None:
        sources, targets = sources.masked_fill(spare, n), targets.masked_fill(spare, n)
        # as long as an edge can be, where models have gone to zero smoothly
        vectors = vectors.masked_fill(spare[:, None], cutoff_A / 3**0.5)
    one = torch.zeros_like(graph.lost[:1])
    return Graph(
        numbers=torch.cat([graph.numbers, graph.numbers[:1]]),
        owners=torch.cat([graph.owners, torch.full_like(graph.owners[:1], graph.n_structures)]),
        n_structures=graph.n_structures + 1,
        sources=sources,
        targets=targets,
        vectors=vectors,
        lost=torch.cat([graph.lost, one]),
        sound=graph.sound,
        kept=graph.kept,
    )


def _by_vesin(batch: Batch, cutoff_A: float, *, both_ways: bool) -> Graph:  # noqa: N803 - a unit
    device = batch.positions.device
    cells = batch.cells.cpu().numpy().astype(np.float64)
    positions = batch.positions.cpu().numpy().astype(np.float64)
    counts, starts = batch.layout.counts, batch.layout.starts
    lost = ~searchable(counts, positions, cells)
    # One thread: the order of the pairs, and so the last bits of every sum, must not depend on the machine.
    search = vesin.NeighborList(cutoff=cutoff_A, full_list=both_ways, sorted=True, n_threads=1)
    parts = []
    for k in np.flatnonzero(~lost):
        cell, points = cells[k], positions[starts[k] : starts[k] + counts[k]]
        fractional = points @ np.linalg.inv(cell)
        wrapped = points - np.floor(fractional) @ cell
        i, j, vectors = search.compute(wrapped, cell, periodic=True, quantities="ijD", copy=True)
        parts.append((i.astype(np.int64) + starts[k], j.astype(np.int64) + starts[k], vectors))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    sources, targets, vectors = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    return Graph(
        numbers=batch.numbers,
        owners=batch.layout.owner,
        n_structures=len(counts),
        sources=torch.from_numpy(sources).to(device),
        targets=torch.from_numpy(targets).to(device),
        vectors=torch.from_numpy(vectors).to(device),
        lost=torch.from_numpy(lost).to(device),
    )


def to_evaluation(
    graph: Graph, cells: torch.Tensor, energies: torch.Tensor, gradient: torch.Tensor
) -> Evaluation:
    """Turn dE/dr of every edge into forces and stress; what is lost gets NaN.

    Parameters
    ----------
    graph : Graph
        Of a padded one, the structure that is no part of the batch is left out.
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
    many = len(cells)
    atoms = len(forces) - (graph.n_structures - many)
    volumes = (volumes_of if devices.runs_ahead(cells.device) else torch.linalg.det)(cells).abs()
    virials, lost = virials[:many], graph.lost[:many]
    stresses = 0.5 * (virials + virials.transpose(1, 2)) / volumes[:, None, None]
    return Evaluation(
        energies=energies.detach().to(torch.float64).masked_fill(lost, torch.nan),
        forces=forces[:atoms].masked_fill(lost[graph.owners[:atoms], None], torch.nan),
        stresses=stresses.masked_fill(lost[:, None, None], torch.nan),
        sound=graph.sound,
    )
