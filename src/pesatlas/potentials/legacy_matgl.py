"""matgl's earlier message-passing convention, for weights trained under it.

Until version 2.2 matgl summed the messages of edges on their destination, since then on their source. Weights
load under either without an error and are then wrong for compounds. The classes here restore the older sum in
one model, by replacing the class of its layers: other models in the process keep matgl's own.
"""

from typing import Any

import torch
from matgl.layers import M3GNetGraphConv, TensorEmbedding, TensorNetInteraction
from matgl.utils.maths import scatter_add


class OlderM3GNetGraphConv(M3GNetGraphConv):
    """Graph convolution that sums node updates on the destination of each edge."""

    def node_update_(
        self,
        edge_index: torch.Tensor,
        edge_feat: torch.Tensor,
        node_feat: torch.Tensor,
        rbf: torch.Tensor,
        u_per_edge: torch.Tensor | None,
        num_nodes: int,
    ) -> torch.Tensor:
        """Node updates (N, d), as in matgl but for where they are summed."""
        parts = [node_feat[edge_index[0]], node_feat[edge_index[1]], edge_feat]
        if u_per_edge is not None:
            parts.append(u_per_edge)
        messages = self.node_update_func(torch.hstack(parts)) * self.node_weight_func(rbf)
        return scatter_add(messages, edge_index[1], dim_size=num_nodes, dim=0)


class OlderTensorEmbedding(TensorEmbedding):
    """Embedding that sums on the destination."""

    def forward(self, z: torch.Tensor, edge_index: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Note the destinations, which ``aggregate`` is not given, and go on as matgl does."""
        self.receivers = edge_index[1]
        return super().forward(z, edge_index, *args, **kwargs)

    def aggregate(self, msg: Any, index: torch.Tensor, dim_size: int) -> Any:
        """Sum on the destination instead of ``index``."""
        return super().aggregate(msg, self.receivers.to(index.dtype), dim_size)


class OlderTensorNetInteraction(TensorNetInteraction):
    """Interaction that sums on the destination, as only the DGL version of TensorNet did."""

    def forward(self, edge_index: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Note the destinations, which ``aggregate`` is not given, and go on as matgl does."""
        self.receivers = edge_index[1]
        return super().forward(edge_index, *args, **kwargs)

    def aggregate(self, inputs: Any, index: torch.Tensor, dim_size: int) -> Any:
        """Sum on the destination instead of ``index``."""
        return super().aggregate(inputs, self.receivers.to(index.dtype), dim_size)


def restore_older_convention(model: Any, *, from_dgl: bool) -> int:
    """Make every layer of ``model`` sum as matgl did before 2.2.

    Parameters
    ----------
    model : torch.nn.Module
    from_dgl : bool Whether a TensorNet was saved by matgl's DGL version, which summed on the destination in
        its interactions too.

    Returns
    -------
    int
        How many layers changed; 0 for an architecture that has none of them.
    """
    replacements: dict[type, type] = {
        M3GNetGraphConv: OlderM3GNetGraphConv,
        TensorEmbedding: OlderTensorEmbedding,
    }
    if from_dgl:
        replacements[TensorNetInteraction] = OlderTensorNetInteraction
    changed = 0
    for layer in model.modules():
        if type(layer) in replacements:
            layer.__class__ = replacements[type(layer)]
            changed += 1
    return changed
