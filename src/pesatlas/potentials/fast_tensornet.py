"""TensorNet's atoms from edge vectors: matgl's weights on irreducible components, equal in exact arithmetic.

matgl keeps three matrices (3, 3) of an atom or an edge, a multiple of the unit matrix, a skew and a symmetric
traceless one: 27 numbers. Here they are their components, 1 + 3 + 6, each an array of its own (10, N, units),
so that what is done for each edge reads and writes a third, in pieces that fit the caches of a CPU.
"""

from typing import Any

import torch
from torch.nn.functional import linear

from pesatlas.potentials.graph import Graph
from pesatlas.potentials.legacy_matgl import OlderTensorEmbedding, OlderTensorNetInteraction

_PARTS = (slice(0, 1), slice(1, 4), slice(4, 10))
"""Components of the unit matrix, of the skew matrix, of the symmetric one (xx yy zz xy xz yz)."""
_PART_OF = (0, 1, 1, 1, 2, 2, 2, 2, 2, 2)
_SQUARES = (3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0)
"""Of each component in the squared Frobenius norm."""


def can_split_tensornet(model: Any) -> bool:
    """Whether this covers ``model``, a matgl TensorNet; it covers the published potentials."""
    return not model.is_intensive and not model._use_warp and not model.include_state  # noqa: SLF001 - which layers matgl took


class SplitTensorNet(torch.nn.Module):
    """Features of the atoms of a matgl TensorNet, those that it reads out.

    Parameters
    ----------
    model : matgl.models.TensorNet
        Such that ``can_split_tensornet(model)``; under matgl's own convention or an older one.
    """

    to_matrix: torch.Tensor
    to_parts: torch.Tensor
    squares: torch.Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        to_matrix = torch.zeros(3, 3, 10)
        for axis in range(3):
            to_matrix[axis, axis, [0, 4 + axis]] = 1
        for component, (row, column) in enumerate(((0, 1), (0, 2), (1, 2)), start=7):
            to_matrix[row, column, component] = to_matrix[column, row, component] = 1
        for component, (row, column) in enumerate(((2, 1), (0, 2), (1, 0)), start=1):
            to_matrix[row, column, component], to_matrix[column, row, component] = 1, -1
        to_matrix = to_matrix.view(9, 10)
        to_parts = to_matrix.t() / torch.tensor(_SQUARES)[:, None]
        to_parts[4:7] -= to_parts[0]  # traceless
        self.register_buffer("to_matrix", to_matrix)
        self.register_buffer("to_parts", to_parts)
        self.register_buffer("squares", torch.tensor(_SQUARES)[:, None, None])
        self.to_destination = isinstance(model.tensor_embedding, OlderTensorEmbedding)

    def forward(self, graph: Graph, vectors: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Features of atoms (N, units).

        Parameters
        ----------
        graph : Graph
            Both directions of each pair of neighbours (``both_ways``) within the model's cutoff.
        vectors : (E, 3)
            The edge vectors, differentiable.
        types : (N,) int64
            Indices of elements in ``model.element_types``.
        """
        model = self.model
        distances = torch.linalg.vector_norm(vectors, dim=1)
        radial = model.bond_expansion(distances)
        smooth = 0.5 * (torch.cos(torch.pi * distances / model.cutoff) + 1)
        smooth = torch.where(distances <= model.cutoff, smooth, 0)[:, None]
        parts = self._embed(graph, vectors / distances.clamp(min=1e-6)[:, None], radial, smooth, types)
        for layer in model.layers:
            parts = self._interact(layer, graph, radial, smooth, parts)
        squares = parts.square() * self.squares
        norms = torch.cat([squares[part].sum(0) for part in _PARTS], dim=1)
        return model.linear(model.out_norm(norms))

    def _embed(
        self,
        graph: Graph,
        unit: torch.Tensor,
        radial: torch.Tensor,
        smooth: torch.Tensor,
        types: torch.Tensor,
    ) -> torch.Tensor:
        layer = self.model.tensor_embedding
        x, y, z = unit.unbind(1)
        diagonal = [c * c - 1 / 3 * (x * x + y * y + z * z) for c in (x, y, z)]
        shape = torch.stack([torch.ones_like(x), x, y, z, *diagonal, x * y, x * z, y * z])
        atoms = layer.emb.weight.index_select(0, types)
        of_source, of_target = layer.emb2.weight.chunk(2, dim=1)
        pairs = linear(atoms, of_source, layer.emb2.bias).index_select(0, graph.sources)
        pairs = (pairs + linear(atoms, of_target).index_select(0, graph.targets)) * smooth
        weights = [
            pairs * projection(radial)
            for projection in (layer.distance_proj1, layer.distance_proj2, layer.distance_proj3)
        ]
        receivers = graph.targets if self.to_destination else graph.sources
        parts = _Sums.apply(shape, *weights, receivers, len(types))
        norm = layer.init_norm(self._norm(parts))
        for scalar in layer.linears_scalar:
            norm = layer.act(scalar(norm))
        factors = norm.view(len(types), -1, 3).unbind(2)
        mixed = self._mix(layer.linears_tensor, parts)
        return torch.cat([mixed[part] * factor for part, factor in zip(_PARTS, factors, strict=True)])

    def _interact(
        self, layer: Any, graph: Graph, radial: torch.Tensor, smooth: torch.Tensor, parts: torch.Tensor
    ) -> torch.Tensor:
        factors = radial
        for scalar in layer.linears_scalar[:2]:
            factors = layer.act(scalar(factors))
        last = layer.linears_scalar[2]
        # its rows are unit by unit, three factors each
        weights = [
            layer.act(linear(factors, last.weight[part::3], last.bias[part::3])) * smooth for part in range(3)
        ]
        parts = parts / (self._norm(parts) + 1)
        mixed = self._mix(layer.linears_tensor[:3], parts)
        older = isinstance(layer, OlderTensorNetInteraction)
        message = _Gather.apply(mixed, *weights, graph.targets, graph.targets if older else graph.sources)
        own, others = self._matrices(mixed), self._matrices(message)
        product = _matmul(own, others)
        if layer.equivariance_invariance_group == "O(3)":
            product = product + _matmul(others, own)
        else:
            product = 2 * product
        found = self._parts(product)
        change = self._mix(layer.linears_tensor[3:], found / (self._norm(found) + 1))
        matrices = self._matrices(change)
        return parts + change + self._parts(_matmul(matrices, matrices))

    def _norm(self, parts: torch.Tensor) -> torch.Tensor:
        """Squared Frobenius norms (N, units), which matgl takes for norms."""
        return (parts.square() * self.squares).sum(0)

    @staticmethod
    def _mix(layers: Any, parts: torch.Tensor) -> torch.Tensor:
        return torch.cat([mix(parts[part]) for mix, part in zip(layers, _PARTS, strict=True)])

    def _matrices(self, parts: torch.Tensor) -> torch.Tensor:
        return (self.to_matrix @ parts.flatten(1)).view(3, 3, *parts.shape[1:])

    def _parts(self, matrices: torch.Tensor) -> torch.Tensor:
        return (self.to_parts @ matrices.flatten(2).flatten(0, 1)).view(10, *matrices.shape[2:])


def _matmul(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Products of matrices (3, 3, ...) over their first two dimensions."""
    return (first[:, :, None] * second[None]).sum(1)


class _Sums(torch.autograd.Function):
    """Sums over the edges of each receiver of components (10, E) times weights (E, units) of their part."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        shape: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
        third: torch.Tensor,
        receivers: torch.Tensor,
        atoms: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(shape, first, second, third, receivers)
        weights = first, second, third
        sums = first.new_zeros(10, atoms, first.shape[1])
        product = torch.empty_like(first)
        for k, part in enumerate(_PART_OF):
            sums[k].index_add_(0, receivers, torch.mul(weights[part], shape[k][:, None], out=product))
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        shape, *weights, receivers = ctx.saved_tensors
        to_weights = [torch.zeros_like(weight) for weight in weights]
        to_shape = torch.empty_like(shape)
        gathered, product = torch.empty_like(weights[0]), torch.empty_like(weights[0])
        for k, part in enumerate(_PART_OF):
            torch.index_select(gradient[k], 0, receivers, out=gathered)
            torch.sum(torch.mul(gathered, weights[part], out=product), dim=1, out=to_shape[k])
            to_weights[part].addcmul_(gathered, shape[k][:, None])
        return to_shape, *to_weights, None, None


class _Gather(torch.autograd.Function):
    """Sums over the edges of each receiver of senders' components (10, N, units) times weights (E, units)."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        parts: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
        third: torch.Tensor,
        senders: torch.Tensor,
        receivers: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(parts, first, second, third, senders, receivers)
        weights = first, second, third
        sums = torch.zeros_like(parts)
        gathered = torch.empty_like(first)
        for k, part in enumerate(_PART_OF):
            torch.index_select(parts[k], 0, senders, out=gathered)
            sums[k].index_add_(0, receivers, gathered.mul_(weights[part]))
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        parts, *weights, senders, receivers = ctx.saved_tensors
        to_weights = [torch.zeros_like(weight) for weight in weights]
        to_parts = torch.zeros_like(parts)
        gathered, sent = torch.empty_like(weights[0]), torch.empty_like(weights[0])
        for k, part in enumerate(_PART_OF):
            torch.index_select(gradient[k], 0, receivers, out=gathered)
            torch.index_select(parts[k], 0, senders, out=sent)
            to_weights[part].addcmul_(gathered, sent)
            to_parts[k].index_add_(0, senders, gathered.mul_(weights[part]))
        return to_parts, *to_weights, None, None
