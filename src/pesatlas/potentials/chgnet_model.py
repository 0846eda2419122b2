"""CHGNet as a potential: its layers, on graphs built for all structures at once.

The package's own path builds Python objects for each edge and differentiates twice.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from chgnet.model.model import BatchedGraph, CHGNet

from pesatlas.potentials.batched import EdgePotential, freeze, sum_by_structure
from pesatlas.potentials.graph import Graph


def load_model(path: Path, version: str) -> CHGNet:
    """Load weights ``version`` from ``path`` like ``CHGNet.load``, but only tensors and numbers."""
    saved = torch.load(path, map_location="cpu", weights_only=True)["model"]
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        # The output bias is for 0.2.0 alone, as in CHGNet.load.
        return CHGNet.from_dict(saved, mlp_out_bias=version == "0.2.0", version=version)


class ChgnetPotential(EdgePotential):
    """A CHGNet model."""

    both_ways = False

    def __init__(
        self, model: Any, *, name: str, weights_hash: str, elements: frozenset[int], device: torch.device
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.elements = elements
        self.device = device
        self._model = freeze(model, device)
        self.cutoff_A = float(model.graph_converter.atom_graph_cutoff)
        self._offsets = model.composition_model.fc.weight.detach().view(-1).double()

    def energies(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        """Energies (B,) in eV, float64."""
        per_atom = self._model._compute(to_batched_graph(self._model, graph, vectors))["e"]  # noqa: SLF001 - the part without graphs
        n_atoms = torch.bincount(graph.owners, minlength=graph.n_structures)
        return per_atom.double() * n_atoms + sum_by_structure(graph, self._offsets[graph.numbers - 1])


def to_batched_graph(model: Any, graph: Graph, vectors: torch.Tensor) -> BatchedGraph:
    """Assemble CHGNet's batched graph.

    Parameters
    ----------
    model : CHGNet
    graph : Graph
        One edge for each pair of neighbours (``both_ways`` false) within the model's cutoff.
    vectors : (U, 3) float32
        The edge vectors, on the device of the model.
    """
    n_pairs = len(vectors)
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    pairs = torch.arange(n_pairs, device=vectors.device).repeat(2)
    centres = torch.cat([graph.sources, graph.targets])
    neighbours = torch.cat([graph.targets, graph.sources])
    unit = vectors / lengths[:, None]
    # CHGNet's bond vectors point from the neighbour to the centre.
    unit = torch.cat([-unit, unit])
    first, second = _angles(centres, lengths.detach().repeat(2), model.graph_converter.bond_graph_cutoff)
    basis = model.bond_basis_expansion
    empty = vectors.new_zeros(0)
    return BatchedGraph(
        atomic_numbers=graph.numbers,
        bond_bases_ag=basis.rbf_expansion_ag(lengths),
        bond_bases_bg=basis.rbf_expansion_bg(lengths),
        angle_bases=model.angle_basis_expansion(unit.index_select(0, first), unit.index_select(0, second))
        if len(first)
        else empty,
        batched_atom_graph=torch.stack([centres, neighbours], dim=1),
        batched_bond_graph=torch.stack([centres[first], pairs[first], pairs[second]], dim=1),
        atom_owners=graph.owners,
        directed2undirected=pairs,
        atom_positions=[],
        strains=[],
        volumes=[],
    )


def _angles(centres: torch.Tensor, lengths: torch.Tensor, cutoff: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Ordered pairs of directed bonds shorter than ``cutoff`` with a common centre, as bond indices."""
    short = torch.nonzero(lengths < cutoff).squeeze(1)
    short = short[torch.argsort(centres[short], stable=True)]
    counts = torch.bincount(centres[short]) if len(short) else short
    per_bond = counts.repeat_interleave(counts)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    first = torch.arange(len(short), device=short.device).repeat_interleave(per_bond)
    within = torch.arange(len(first), device=short.device) - (per_bond.cumsum(0) - per_bond)[first]
    second = starts[first] + within
    different = first != second
    return short[first[different]], short[second[different]]
