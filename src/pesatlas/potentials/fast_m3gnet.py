"""M3GNet's atoms from edge vectors: matgl's weights in a cheaper order, equal in exact arithmetic.

- The first layer of a graph convolution acts on [source, destination, edge] side by side: its weights split
  into a part for each end, computed once a node, and a part for the edge; branch and gate share one product.
- A three-body term sums Legendre polynomials of the angle over all pairs of neighbours. By the addition
  theorem, P_l(cos) = sum_m C_lm(u) C_lm(u'), moments of each atom replace the pairs. matgl leaves out k = j,
  where P_l(1) = 1: that term is subtracted.
- Bonds beyond the three-body cutoff take no part in three-body terms.
"""

import math
from typing import Any

import torch
from torch.nn.functional import linear

from pesatlas.potentials.buffers import Buffers, silu_in_place
from pesatlas.potentials.graph import Graph
from pesatlas.potentials.legacy_matgl import OlderM3GNetGraphConv

_MAX_L = 3


def can_split(model: Any) -> bool:
    """Whether this covers ``model``, a matgl M3GNet; it covers the published potentials."""
    return (
        not model.include_state
        and model.max_l <= _MAX_L
        and not model.basis_expansion.use_phi
        and all(block.dropout is None for block in model.graph_layers)
    )


class SplitM3GNet(torch.nn.Module):
    """Features of the atoms of a matgl M3GNet.

    Parameters
    ----------
    model : matgl.models.M3GNet
        Such that ``can_split(model)``; under matgl's own convention or the older one.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        work = Buffers()
        self.convolutions = torch.nn.ModuleList(
            _SplitConvolution(layer.conv, work) for layer in model.graph_layers
        )
        self.three_body = _ThreeBody(model)

    def forward(self, graph: Graph, vectors: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Features of atoms (N, d) after the last graph convolution; arguments as of ``after_each``."""
        return self.after_each(graph, vectors, types)[-1]

    def after_each(self, graph: Graph, vectors: torch.Tensor, types: torch.Tensor) -> list[torch.Tensor]:
        """Features of atoms (N, d) after each graph convolution.

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
        nodes = model.embedding.layer_node_embedding(types)
        edges = model.embedding.layer_edge_embedding(radial)
        close = graph.shorter_than(model.threebody_cutoff, distances)
        sources, targets = graph.sources[close], graph.targets[close]
        geometry = self.three_body.geometry(vectors.index_select(0, close), distances.index_select(0, close))
        features = []
        for interaction, convolution in zip(model.three_body_interactions, self.convolutions, strict=True):
            sums = self.three_body(geometry, interaction.update_network_atom(nodes), sources, targets)
            edges = edges.index_add(0, close, interaction.update_network_bond(sums))
            edges, nodes = convolution(graph, edges, nodes, radial)
            features.append(nodes)
        return features


class _ThreeBody(torch.nn.Module):
    """Three-body sums over the bonds of each atom, by moments."""

    spread: torch.Tensor
    orders: torch.Tensor
    prefactors: torch.Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.radial: Any = model.basis_expansion.sbf
        self.cutoff = model.threebody_cutoff
        # Columns of a basis function (l, n) in moments (l, n, m).
        degrees = [degree for degree in range(model.max_l) for _ in range(model.max_n)]
        spread = torch.zeros(len(degrees), sum(2 * degree + 1 for degree in degrees))
        orders: list[int] = []
        for row, degree in enumerate(degrees):
            spread[row, len(orders) : len(orders) + 2 * degree + 1] = 1
            orders += range(degree * degree, (degree + 1) ** 2)
        self.register_buffer("spread", spread)
        self.register_buffer("orders", torch.tensor(orders))
        # Y_l0(theta) = sqrt((2l + 1) / 4 pi) P_l(cos theta)
        prefactors = [math.sqrt((2 * degree + 1) / (4 * math.pi)) for degree in degrees]
        self.register_buffer("prefactors", torch.tensor(prefactors))

    def geometry(self, vectors: torch.Tensor, distances: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what depends on the close bonds alone.

        Cutoff (S, 1), radial basis (S, ln), harmonics (S, lnm).
        """
        cutoff = _polynomial_cutoff(distances / self.cutoff)[:, None]
        radial = self.radial(distances) * self.prefactors * cutoff
        harmonics = _harmonics(vectors / distances[:, None])
        return cutoff, radial, harmonics.index_select(1, self.orders)

    def forward(
        self,
        geometry: tuple[torch.Tensor, ...],
        neighbours: torch.Tensor,
        sources: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Return sums (S, ln) over the other neighbours of each bond's source, of features (N, ln)."""
        cutoff, radial, harmonics = geometry
        own = ((radial * neighbours.index_select(0, targets)) @ self.spread) * harmonics
        moments = own.new_zeros(len(neighbours), own.shape[1]).index_add(0, sources, own)
        others = moments.index_select(0, sources) - own
        return ((others * harmonics) @ self.spread.t()) * cutoff


def _polynomial_cutoff(x: torch.Tensor) -> torch.Tensor:
    """Envelope of matgl with exponent 3 for x = r / cutoff < 1."""
    return 1 - x * x * x * (10 - 15 * x + 6 * x * x)


def _harmonics(unit: torch.Tensor) -> torch.Tensor:
    """Racah-normalised real spherical harmonics (S, 9) for l = 0, 1, 2.

    The products of two sum to P_l of their angle.
    """
    x, y, z = unit.unbind(1)
    root = math.sqrt(3)
    second = [root * x * y, root * y * z, root * x * z, 1.5 * z * z - 0.5, root / 2 * (x * x - y * y)]
    return torch.stack([torch.ones_like(x), x, y, z, *second], dim=1)


class _SplitConvolution(torch.nn.Module):
    """matgl's M3GNetGraphConv with the first layers split by what they act on."""

    def __init__(self, convolution: Any, work: Buffers) -> None:
        super().__init__()
        nodes = convolution.node_weight_func.out_features
        self.edge_update = _SplitGatedMLP(
            convolution.edge_update_func, convolution.edge_weight_func, nodes, work
        )
        self.node_update = _SplitGatedMLP(
            convolution.node_update_func, convolution.node_weight_func, nodes, work
        )
        self.to_destination = isinstance(convolution, OlderM3GNetGraphConv)

    def forward(
        self, graph: Graph, edges: torch.Tensor, nodes: torch.Tensor, radial: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        receivers = graph.targets if self.to_destination else graph.sources
        edges = edges + self.edge_update(graph, edges, nodes, radial)
        return edges, nodes.index_add(0, receivers, self.node_update(graph, edges, nodes, radial))


class _SplitGatedMLP(torch.nn.Module):
    """A gated MLP of three layers on [source, destination, edge], times a linear map of the radial basis.

    Hidden layers hold the columns of the branch before those of the gate: both have the same activation
    there.
    """

    source: torch.Tensor
    destination: torch.Tensor
    edge: torch.Tensor
    bias: torch.Tensor

    def __init__(self, gated: Any, weight: Any, nodes: int, work: Buffers) -> None:
        super().__init__()
        layers = [layer for layer in gated.layers if isinstance(layer, torch.nn.Linear)]
        gates = [layer for layer in gated.gates if isinstance(layer, torch.nn.Linear)]
        first = torch.cat([layers[0].weight, gates[0].weight]).detach()
        self.register_buffer("source", first[:, :nodes].contiguous())
        self.register_buffer("destination", first[:, nodes : 2 * nodes].contiguous())
        self.register_buffer("edge", first[:, 2 * nodes :].contiguous())
        self.register_buffer("bias", torch.cat([layers[0].bias, gates[0].bias]).detach())
        self.branch, self.gate = torch.nn.ModuleList(layers[1:]), torch.nn.ModuleList(gates[1:])
        self.weight = weight
        self.work = work
        self.kept = Buffers()

    def forward(
        self, graph: Graph, edges: torch.Tensor, nodes: torch.Tensor, radial: torch.Tensor
    ) -> torch.Tensor:
        source, destination = linear(nodes, self.source, self.bias), linear(nodes, self.destination)
        return _Message.apply(edges, source, destination, radial, graph, self)


class _Message(torch.autograd.Function):
    """Messages of all edges, with a backward pass that reuses what the forward pass knows of the slopes.

    Autograd would evaluate exponentials twice, copy the halves of each layer, and keep twice as many arrays.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        edges: torch.Tensor,
        source: torch.Tensor,
        destination: torch.Tensor,
        radial: torch.Tensor,
        graph: Graph,
        mlp: Any,
    ) -> torch.Tensor:
        rows, width, outputs = len(edges), source.shape[1], len(mlp.weight.weight)
        half, keep = width // 2, any(ctx.needs_input_grad)
        memory = mlp.kept if keep else mlp.work
        first, second = (mlp.work.get(name, edges, rows, width) for name in ("first", "second"))
        slope_1, slope_2 = (memory.get(name, edges, rows, width) for name in ("slope_1", "slope_2"))
        gated, gate, slope_branch, weight = (
            memory.get(name, edges, rows, outputs) for name in ("gated", "gate", "slope_branch", "weight")
        )
        torch.index_select(source, 0, graph.sources, out=first)
        first += torch.index_select(destination, 0, graph.targets, out=second)
        first.addmm_(edges, mlp.edge.t())
        silu_in_place(first, slope_1)
        _affine(mlp.branch[0], first[:, :half], second[:, :half])
        _affine(mlp.gate[0], first[:, half:], second[:, half:])
        silu_in_place(second, slope_2)
        silu_in_place(_affine(mlp.branch[1], second[:, :half], gated), slope_branch)
        _affine(mlp.gate[1], second[:, half:], gate).sigmoid_()
        gated *= gate
        torch.mm(radial, mlp.weight.weight.t(), out=weight)
        if keep:
            slope_branch *= gate
            slope_gate = gate.neg_().add_(1).mul_(gated)
            ctx.save_for_backward(slope_1, slope_2, slope_branch, slope_gate, gated, weight)
            ctx.graph, ctx.mlp = graph, mlp
        return gated * weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        slope_1, slope_2, slope_branch, slope_gate, gated, weight = ctx.saved_tensors
        graph, mlp = ctx.graph, ctx.mlp
        half = slope_1.shape[1] // 2
        # The narrow product runs several times faster this way round.
        to_radial = (mlp.weight.weight.t() @ (gradient * gated).t()).t()
        gradient = gradient * weight
        second, first = (
            mlp.work.get("second", gradient, *slope_2.shape),
            mlp.work.get("first", gradient, *slope_1.shape),
        )
        torch.mm(slope_branch.mul_(gradient), mlp.branch[1].weight, out=second[:, :half])
        torch.mm(slope_gate.mul_(gradient), mlp.gate[1].weight, out=second[:, half:])
        second *= slope_2
        torch.mm(second[:, :half], mlp.branch[0].weight, out=first[:, :half])
        torch.mm(second[:, half:], mlp.gate[0].weight, out=first[:, half:])
        first *= slope_1
        to_source = to_destination = None
        if ctx.needs_input_grad[1]:
            zeros = first.new_zeros(len(graph.numbers), first.shape[1])
            to_source = zeros.index_add(0, graph.sources, first)
            to_destination = zeros.index_add_(0, graph.targets, first)
        return first @ mlp.edge, to_source, to_destination, to_radial, None, None


def _affine(layer: Any, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.addmm(layer.bias, x, layer.weight.t(), out=out)
