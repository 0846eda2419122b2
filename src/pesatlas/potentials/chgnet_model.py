"""CHGNet as a potential: its weights, on graphs built for all structures at once.

The package's own path builds Python objects for each edge and differentiates twice. It is not imported: it
takes pymatgen, SciPy and Matplotlib along.
"""

from pathlib import Path

import torch

from pesatlas.potentials.batched import EdgePotential, sum_by_structure
from pesatlas.potentials.fast_chgnet import SplitChgnet
from pesatlas.potentials.graph import Graph


def load_model(path: Path, device: torch.device) -> SplitChgnet:
    """Load published weights from ``path``: only tensors and numbers of the file are read."""
    saved = torch.load(path, map_location=device, weights_only=True)["model"]
    return SplitChgnet(saved["state_dict"], saved["model_args"])


class ChgnetPotential(EdgePotential):
    """A CHGNet model on ``device``."""

    both_ways = False

    def __init__(
        self,
        model: SplitChgnet,
        *,
        name: str,
        weights_hash: str,
        elements: frozenset[int],
        device: torch.device,
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.elements = elements
        self.device = device
        self.cutoff_A = model.cutoff_A
        self._model = model
        self._offsets = model.offsets.double()

    def energies(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        """Energies (B,) in eV, float64."""
        _, features = self._model.features(graph, vectors)
        offsets = self._offsets[graph.numbers - 1]
        return sum_by_structure(graph, self._model.energies(features).double() + offsets)
