"""CHGNet from edge vectors: its weights in a cheaper order, equal in exact arithmetic.

- The first layer of a gated MLP acts on features of an atom, of bonds and of an angle side by side: its
  weights split into a part for each, multiplied once for each atom, bond or angle instead of once for each
  message. Branch and gate share one product.
- A bond and an angle count twice, once for each direction, and mostly with the same features: they are
  evaluated once.
- A layer norm first subtracts the mean, a linear map: the layer before it does so with changed weights.
- Bonds beyond the cutoff of angles take no part in them. The last update of angles is not evaluated: nothing
  depends on it.
- Slopes are computed on the way forward, from the same exponentials.
"""

import math
import re
from typing import Any, NamedTuple

import torch
from torch.nn.functional import layer_norm, linear, silu

from pesatlas.potentials.buffers import Buffers, silu_in_place
from pesatlas.potentials.graph import Graph


class Angles(NamedTuple):
    """Pairs of short bonds with a common centre; each pair once.

    Attributes
    ----------
    close : (C,) int64, edges shorter than the cutoff, the short bonds
    bonds : (2C,) int64, for each end of each short bond, its index in ``close``; sorted by ``centres``
    centres : (2C,) int64, the atom at that end
    signs : (2C, 1), 1 where the edge starts at that end, -1 where it stops there
    first, second : (A,) int64, ends that form an angle
    """

    close: torch.Tensor
    bonds: torch.Tensor
    centres: torch.Tensor
    signs: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class SplitChgnet:
    """A CHGNet of the architecture of its published weights, without its package.

    Parameters
    ----------
    weights : dict
        As ``CHGNet.state_dict`` gives them, on one device.
    arguments : dict
        As ``CHGNet.model_args``: cutoffs (Å) and the exponent of the envelope are taken.

    Attributes
    ----------
    cutoff_A : float, Å
    offsets : (94,) eV, energies of the elements, added to those of atoms
    """

    def __init__(self, weights: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
        self.cutoff_A = float(arguments["atom_graph_cutoff"])
        self.offsets = weights["composition_model.fc.weight"].view(-1)
        self._weights = weights
        self._short_A = float(arguments["bond_graph_cutoff"])
        self._exponent = int(arguments["cutoff_coeff"])
        layers, work = int(arguments["n_conv"]), Buffers()

        def gated(name: str, *parts: str) -> _SplitGatedMLP:
            own = {
                key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(name)
            }
            return _SplitGatedMLP(own, parts, work)

        order = ("receiver", "sender", "features", "centre")
        self._atom_layers = [
            gated(f"atom_conv_layers.{k}.twoBody_atom", "receiver", "features", "sender")
            for k in range(layers)
        ]
        self._bond_layers = [gated(f"bond_conv_layers.{k}.twoBody_bond", *order) for k in range(layers - 1)]
        self._angle_layers = [gated(f"angle_layers.{k}.twoBody_bond", *order) for k in range(layers - 2)]

    def features(self, graph: Graph, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of atoms before the last convolution, and those that are read out (N, 64 each).

        Parameters
        ----------
        graph : Graph
            One edge for each pair of neighbours (``both_ways`` false) within the model's cutoff.
        vectors : (E, 3)
            The edge vectors, differentiable.
        """
        weights = self._weights
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        radial = self._radial_basis(lengths, "ag", self.cutoff_A)
        atoms = weights["atom_embedding.embedding.weight"].index_select(0, graph.numbers - 1)
        bonds = linear(radial, weights["bond_embedding.weight"])
        bond_weights = linear(radial, weights["bond_weights_ag.weight"])
        angles = find_angles(graph, lengths.detach(), self._short_A)
        short = lengths.index_select(0, angles.close)
        ends = linear(self._radial_basis(short, "bg", self._short_A), weights["bond_weights_bg.weight"])
        ends = ends.index_select(0, angles.bonds)
        angle_weights = ends.index_select(0, angles.first) * ends.index_select(0, angles.second)
        directions = (vectors.index_select(0, angles.close) / short[:, None]).index_select(0, angles.bonds)
        between = self._embed_angles(directions * angles.signs, angles)
        for k, bond_layer in enumerate(self._bond_layers):
            atoms = self._convolve_atoms(k, graph, atoms, bonds, bond_weights)
            close = bonds.index_select(0, angles.close)
            sums = self._messages(bond_layer, atoms, close, between, angles, angle_weights)
            sums = close.new_zeros(close.shape).index_add(0, angles.bonds, sums)
            out = f"bond_conv_layers.{k}.mlp_out.layers.1"
            bonds = bonds.index_add(0, angles.close, linear(sums, weights[f"{out}.weight"]))
            if f"{out}.bias" in weights:
                bonds = bonds + weights[f"{out}.bias"] * _structures_with_angles(graph, angles)
            if k < len(self._angle_layers):
                close = bonds.index_select(0, angles.close)
                update = self._messages(self._angle_layers[k], atoms, close, between, angles, None)
                if len(between) == len(angles.first):
                    between = between.repeat(2, 1)
                between = between + update
        last = self._convolve_atoms(len(self._bond_layers), graph, atoms, bonds, bond_weights)
        if "readout_norm.weight" in weights:
            norm = weights["readout_norm.weight"], weights["readout_norm.bias"]
            last = layer_norm(last, last.shape[1:], *norm)
        return atoms, last

    def energies(self, features: torch.Tensor) -> torch.Tensor:
        """Energies of atoms (N,) in eV, without ``offsets``, of features that are read out."""
        layers = _linear_layers(self._weights, "mlp")
        for weight, bias in layers[:-1]:
            features = silu(linear(features, weight, bias))
        return linear(features, *layers[-1]).view(-1)

    def _radial_basis(self, lengths: torch.Tensor, name: str, cutoff_A: float) -> torch.Tensor:  # noqa: N803 - a unit
        """Bessel functions with the envelope of GemNet, (E, n); chgnet.model.basis.RadialBessel."""
        frequencies = self._weights[f"bond_basis_expansion.rbf_expansion_{name}.frequencies"]
        p, scaled = self._exponent, (lengths / cutoff_A)[:, None]
        power = scaled**p
        inner = -(p + 1) * (p + 2) / 2 + scaled * (p * (p + 2) - scaled * (p * (p + 1) / 2))
        envelope = torch.where(scaled < 1, 1 + power * inner, 0)
        return (2 / cutoff_A) ** 0.5 * envelope / lengths[:, None] * torch.sin(frequencies * scaled)

    def _convolve_atoms(
        self, k: int, graph: Graph, atoms: torch.Tensor, bonds: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        layer = self._atom_layers[k]
        sums = _Message.apply(
            linear(atoms, layer.receiver, layer.bias_1),
            linear(atoms, layer.sender),
            bonds,
            weights,
            torch.cat([graph.sources, graph.targets]),
            torch.cat([graph.targets, graph.sources]),
            layer,
        )
        out = f"atom_conv_layers.{k}.mlp_out.layers.1"
        return atoms + linear(sums, self._weights[f"{out}.weight"], self._weights.get(f"{out}.bias"))

    def _embed_angles(self, directions: torch.Tensor, angles: Angles) -> torch.Tensor:
        """Embed the angles, (A, 64); the basis is that of chgnet.model.basis.Fourier."""
        frequencies = self._weights["angle_basis_expansion.fourier_expansion.frequencies"]
        weight = self._weights["angle_embedding.weight"] / math.sqrt(math.pi)
        first, second = (directions.index_select(0, ends) for ends in (angles.first, angles.second))
        # chgnet's way to keep off the poles of the arc cosine
        multiples = torch.outer(torch.acos((first * second).sum(1) * (1 - 1e-6)), frequencies)
        waves = torch.cat([multiples.sin(), multiples.cos()], dim=1)
        return torch.addmm(weight[:, 0] / math.sqrt(2), waves, weight[:, 1:].t())

    @staticmethod
    def _messages(
        layer: Any,
        atoms: torch.Tensor,
        close: torch.Tensor,
        between: torch.Tensor,
        angles: Angles,
        weights: "torch.Tensor | None",
    ) -> torch.Tensor:
        centre = linear(atoms, layer.centre, layer.bias_1).index_select(0, angles.centres)
        return _Message.apply(
            linear(close, layer.receiver).index_select(0, angles.bonds) + centre,
            linear(close, layer.sender).index_select(0, angles.bonds),
            between,
            weights,
            torch.cat([angles.first, angles.second]),
            torch.cat([angles.second, angles.first]),
            layer,
        )


def find_angles(graph: Graph, lengths: torch.Tensor, cutoff_A: float) -> Angles:  # noqa: N803 - a unit
    """Find all pairs of edges shorter than ``cutoff_A`` (Å) that have an atom in common.

    In a padded graph there are some more, all of the last edge with itself, which is padding.
    """
    close = graph.shorter_than(cutoff_A, lengths)
    n_close = len(close)
    centres = torch.cat([graph.sources.index_select(0, close), graph.targets.index_select(0, close)])
    order = torch.argsort(centres, stable=True)
    centres = centres[order]
    # not bincount, for which a GPU stops
    counts = torch.zeros_like(graph.numbers).index_add_(0, centres, torch.ones_like(centres))
    ends = counts.cumsum(0).index_select(0, centres)
    places = torch.arange(2 * n_close, device=close.device)
    later = ends - places - 1
    if graph.sound is not None:
        later = later.masked_fill(graph.owners[centres] == graph.n_structures - 1, 0)
    totals = later.cumsum(0)
    room = graph.room_for(("angles", cutoff_A), lambda: totals[-1])
    if room is None:
        first = torch.repeat_interleave(places, later)
    else:
        ranks = torch.arange(room, device=close.device)
        first = torch.searchsorted(totals, ranks, right=True).clamp(max=2 * n_close - 1)
    starts = totals - later
    second = first + 1 + torch.arange(len(first), device=close.device) - starts.index_select(0, first)
    second = second if room is None else second.clamp(max=2 * n_close - 1)
    signs = torch.where(order < n_close, 1.0, -1.0).to(lengths.dtype)[:, None]
    return Angles(close, order % max(n_close, 1), centres, signs, first, second)


def _structures_with_angles(graph: Graph, angles: Angles) -> torch.Tensor:
    """Return 1 for the edges of structures that have angles, 0 for others, (E, 1).

    Chgnet updates no bonds of a structure without any.
    """
    found = torch.zeros(graph.n_structures, device=graph.owners.device)
    found = found.index_fill(0, graph.owners[angles.centres[angles.first]], 1)
    return found[graph.owners[graph.sources]][:, None]


def _linear_layers(weights: dict[str, torch.Tensor], name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of the linear layers of ``name``, a chgnet.model.functions.MLP, in their order."""
    names = [
        key.removesuffix(".weight") for key in weights if re.fullmatch(rf"{name}\.layers\.\d+\.weight", key)
    ]
    names.sort(key=lambda layer: int(layer.rpartition(".")[2]))
    return [(weights[f"{layer}.weight"], weights[f"{layer}.bias"]) for layer in names]


class _SplitGatedMLP:
    """A gated MLP of one or two layers, with or without a layer norm, its first layer split by ``parts``.

    Columns of the branch come before those of the gate.
    """

    epsilon = 1e-5
    receiver: torch.Tensor
    sender: torch.Tensor
    features: torch.Tensor
    centre: torch.Tensor

    def __init__(self, weights: dict[str, torch.Tensor], parts: tuple[str, ...], work: Buffers) -> None:
        both = [_linear_layers(weights, name) for name in ("mlp_core", "mlp_gate")]
        last = [layers[-1] for layers in both]
        self.has_norm = "bn1.weight" in weights
        if self.has_norm:
            last = [(weight - weight.mean(0), bias - bias.mean()) for weight, bias in last]
            self.scale, self.shift = (
                torch.cat([weights[f"{norm}.{name}"] for norm in ("bn1", "bn2")])
                for name in ("weight", "bias")
            )
        self.two_layers = len(both[0]) > 1
        (self.branch, self.branch_bias), (self.gate, self.gate_bias) = last
        first = [layers[0] for layers in both] if self.two_layers else last
        self.bias_1 = torch.cat([bias for _, bias in first])
        columns = torch.cat([weight for weight, _ in first]).chunk(len(parts), dim=1)
        for name, weight in zip(parts, columns, strict=True):
            setattr(self, name, weight.contiguous())
        self.work = work
        self.kept = Buffers()

    def buffer(self, name: str, like: torch.Tensor, rows: int, columns: int, *, keep: bool) -> torch.Tensor:
        """Return an array of the layer's own if it must be kept for the backward pass, else a common one."""
        return (self.kept if keep else self.work).get(name, like, rows, columns)

    def second_layer(self, hidden: torch.Tensor, slope: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Put the layer after ``hidden``, activated in place, into ``out``; derivatives into ``slope``."""
        if not self.two_layers:
            return out.copy_(hidden)
        half = hidden.shape[1] // 2
        silu_in_place(hidden, slope)
        torch.addmm(self.branch_bias, hidden[:, :half], self.branch.t(), out=out[:, :half])
        torch.addmm(self.gate_bias, hidden[:, half:], self.gate.t(), out=out[:, half:])
        return out

    def through_second_layer(
        self, gradient: torch.Tensor, slope: torch.Tensor, out: torch.Tensor
    ) -> torch.Tensor:
        """Return the gradient before ``second_layer``; memory of ``out`` may be used."""
        if not self.two_layers:
            return gradient
        half = gradient.shape[1] // 2
        torch.mm(gradient[:, :half], self.branch, out=out[:, :half])
        torch.mm(gradient[:, half:], self.gate, out=out[:, half:])
        return out.mul_(slope)


class _Message(torch.autograd.Function):
    """Gated messages along pairs, in both directions, with their own backward pass.

    Inputs: tables (R, 2h) whose rows are added for the receiver and the sender of each message; features of
    pairs, (P, d) if both directions share them, else (2P, d); weights of pairs (P, h), or None; receivers and
    senders (2P,), one direction before the other. Returned are sums over messages of each receiver (R, h), or
    without weights the messages (2P, h).
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        receiver_table: torch.Tensor,
        sender_table: torch.Tensor,
        features: torch.Tensor,
        weights: "torch.Tensor | None",
        receivers: torch.Tensor,
        senders: torch.Tensor,
        mlp: Any,
    ) -> torch.Tensor:
        rows, width = len(receivers), receiver_table.shape[1]
        pairs, half, keep = rows // 2, width // 2, any(ctx.needs_input_grad)
        first, second = (mlp.work.get(name, features, rows, width) for name in ("first", "second"))
        torch.index_select(receiver_table, 0, receivers, out=first)
        first += torch.index_select(sender_table, 0, senders, out=second)
        if len(features) == pairs:
            first.view(2, pairs, width).add_(torch.mm(features, mlp.features.t(), out=second[:pairs]))
        else:
            first.addmm_(features, mlp.features.t())
        slope_1 = mlp.buffer("slope_1", features, rows, width, keep=keep)
        normal = mlp.second_layer(first, slope_1, mlp.buffer("normal", features, rows, width, keep=keep))
        inverse, output = None, normal
        if mlp.has_norm:
            norms = torch.linalg.vector_norm(normal.view(rows, 2, half), dim=2, keepdim=True)
            inverse = norms.square_().mul_(1 / half).add_(mlp.epsilon).rsqrt_()
            normal.view(rows, 2, half).mul_(inverse)
            output = torch.addcmul(mlp.shift, normal, mlp.scale, out=second)
        sigmoid = torch.sigmoid(output, out=first)
        branch, gate = sigmoid[:, :half], sigmoid[:, half:]
        slope = mlp.buffer("slope", features, rows, width, keep=keep)
        core = torch.mul(output[:, :half], branch, out=slope[:, :half])
        message = torch.mul(core, gate, out=mlp.buffer("message", features, rows, half, keep=keep))
        if keep:
            # gate (s + core (1 - s)) along the branch, message (1 - gate) along the gate
            torch.addcmul(message, message, gate, value=-1, out=slope[:, half:])
            core.addcmul_(core, branch, value=-1).add_(branch).mul_(gate)
            if inverse is not None:
                slope *= mlp.scale
                slope.view(rows, 2, half).mul_(inverse)
            ctx.save_for_backward(slope_1, normal, slope, message, weights, receivers, senders)
            ctx.mlp, ctx.sizes = mlp, (len(receiver_table), len(features))
        if weights is None:
            return message.clone()
        weighted = mlp.work.get("second", features, rows, half)
        torch.mul(message.view(2, pairs, half), weights, out=weighted.view(2, pairs, half))
        return weighted.new_zeros(len(receiver_table), half).index_add_(0, receivers, weighted)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        slope_1, normal, slope, message, weights, receivers, senders = ctx.saved_tensors
        mlp, (table_rows, feature_rows) = ctx.mlp, ctx.sizes
        rows, half = message.shape
        pairs, width = rows // 2, 2 * half
        first, second = (mlp.work.get(name, slope, rows, width) for name in ("first", "second"))
        to_weights = None
        if weights is not None:
            gradient = gradient.index_select(0, receivers)
            both = message.mul_(gradient).view(2, pairs, half)
            to_weights = both[0] + both[1]
            gradient.view(2, pairs, half).mul_(weights)
        slope.view(rows, 2, half).mul_(gradient[:, None, :])
        if mlp.has_norm:
            along = torch.mul(slope, normal, out=second).view(rows, 2, half).sum(2, keepdim=True)
            slope.view(rows, 2, half).addcmul_(normal.view(rows, 2, half), along, value=-1 / half)
        to_rows = mlp.through_second_layer(slope, slope_1, first)
        to_receiver = slope.new_zeros(table_rows, width).index_add_(0, receivers, to_rows)
        to_sender = slope.new_zeros(table_rows, width).index_add_(0, senders, to_rows)
        if feature_rows == pairs:
            to_rows = torch.add(to_rows[:pairs], to_rows[pairs:], out=second[:pairs])
        return to_receiver, to_sender, to_rows @ mlp.features, to_weights, None, None, None
