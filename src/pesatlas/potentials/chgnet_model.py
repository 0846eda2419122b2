"""CHGNet as a potential: its weights, on graphs built for all structures at once.

The package's own path builds Python objects for each edge and differentiates twice.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from chgnet.model.model import CHGNet

from pesatlas.potentials.batched import EdgePotential, freeze, sum_by_structure
from pesatlas.potentials.fast_chgnet import SplitChgnet
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
        self._split = SplitChgnet(model).to(device)
        self.cutoff_A = float(model.graph_converter.atom_graph_cutoff)
        self._offsets = model.composition_model.fc.weight.detach().view(-1).double()

    def energies(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        """Energies (B,) in eV, float64."""
        _, atoms = self._split(graph, vectors)
        per_atom = self._model.mlp(readout_features(self._model, atoms)).view(-1)
        return sum_by_structure(graph, per_atom) + sum_by_structure(graph, self._offsets[graph.numbers - 1])


def readout_features(model: Any, atoms: torch.Tensor) -> torch.Tensor:
    """Features (N, 64) that ``model`` sums to those of a crystal, of atoms after the last convolution."""
    return atoms if model.readout_norm is None else model.readout_norm(atoms)
