"""M3GNet, TensorNet and CHGNet of matgl as potentials."""

from types import SimpleNamespace
from typing import Any

import torch
from matgl.apps.pes import Potential as Saved
from matgl.models import CHGNet, M3GNet, TensorNet

from pesatlas.atoms.elements import atomic_number
from pesatlas.errors import UserError
from pesatlas.potentials.batched import EdgePotential, freeze, sum_by_structure
from pesatlas.potentials.fast_m3gnet import SplitM3GNet, can_split
from pesatlas.potentials.fast_tensornet import SplitTensorNet, can_split_tensornet
from pesatlas.potentials.graph import Graph


class MatglPotential(EdgePotential):
    """A matgl ``Potential``.

    Parameters
    ----------
    saved : matgl.apps.pes.Potential
        As loaded; changed to inference mode.
    name, weights_hash : str
        As written into every row.
    device : torch.device

    Raises
    ------
    UserError
        If it is something else, or an architecture that is not covered.
    """

    def __init__(self, saved: Any, name: str, weights_hash: str, device: torch.device) -> None:
        _refuse_others(saved, name)
        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self._saved = freeze(saved, device)
        model = saved.model
        self.cutoff_A = float(model.cutoff)
        numbers = [atomic_number(symbol) for symbol in model.element_types]
        self.elements = frozenset(numbers)
        self._types = torch.full((max(numbers) + 1,), -1, dtype=torch.int64)
        self._types[numbers] = torch.arange(len(numbers))
        self._types = self._types.to(device)
        self._split: Any = None
        if isinstance(model, M3GNet) and can_split(model):
            self._split = SplitM3GNet(model).to(device)
        elif isinstance(model, TensorNet) and can_split_tensornet(model):
            self._split = SplitTensorNet(model).to(device)
        offsets = (
            torch.zeros(len(numbers)) if saved.element_refs is None else saved.element_refs.property_offset
        )
        self._offsets = offsets.to(device=device, dtype=torch.float64)

    def energies(self, graph: Graph, vectors: torch.Tensor) -> torch.Tensor:
        """Energies (B,) in eV, float64."""
        types = self._types[graph.numbers]
        if self._split is not None:
            atoms = self._split(graph, vectors, types)
            raw = sum_by_structure(graph, self._saved.model.final_layer(atoms).view(-1))
        else:
            raw = self._original(graph, vectors, types)
        scaled = raw * self._saved.data_std.double() + self._saved.data_mean.double()
        return scaled + sum_by_structure(graph, self._offsets[types])

    def _original(self, graph: Graph, vectors: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Energies by matgl's own model, with atoms at the origin and images at the edge vectors."""
        batch = SimpleNamespace(
            node_type=types,
            pos=vectors.new_zeros(len(types), 3),
            # 32 bit, as matgl has them: torch sums over 64-bit indices four times slower on a CPU
            edge_index=torch.stack([graph.sources, graph.targets]).to(torch.int32),
            pbc_offshift=vectors,
            # CHGNet tells by it which bond is another's way back: that of the opposite vector
            pbc_offset=vectors.detach(),
            batch=graph.owners,
            num_graphs=graph.n_structures,
        )
        return self._saved.model(g=batch).double().view(-1)


def _refuse_others(saved: Any, name: str) -> None:
    if not isinstance(saved, Saved):
        raise UserError(
            f"{name} is not a potential but a {type(saved).__name__}, which predicts properties. Choose a "
            "potential (PES)."
        )
    model = saved.model
    if not isinstance(model, M3GNet | TensorNet | CHGNet):
        raise UserError(
            f"{name} is a {type(model).__name__}; of matgl's potentials, M3GNet, TensorNet and CHGNet are "
            "supported."
        )
    unsupported = {
        "state features": getattr(model, "include_state", False) or getattr(model, "include_states", False),
        "repulsion added by matgl (calc_repuls)": saved.calc_repuls,
        "an intensive energy": model.is_intensive,
        "several sets of element references": saved.element_refs is not None
        and saved.element_refs.property_offset.ndim > 1,
    }
    reasons = [what for what, present in unsupported.items() if present]
    if reasons:
        raise UserError(
            f"{name} has {' and '.join(reasons)}, which batched evaluation does not support. Choose a plain "
            "potential."
        )
