"""Graphs of frames for models, and features of models as arrays."""

import numpy as np
import torch
from numpy.typing import NDArray

from pesatlas.potentials.encoder import Frame
from pesatlas.potentials.graph import Graph, build_graph
from pesatlas.potentials.potential import Batch


def graph_of(frames: list[Frame], cutoff_A: float, device: str, *, both_ways: bool = True) -> Graph:  # noqa: N803 - a unit
    """Neighbours within ``cutoff_A`` (Å) in all of ``frames``; see ``build_graph``."""
    batch = Batch(
        numbers=torch.as_tensor(
            np.concatenate([frame.numbers for frame in frames]), dtype=torch.int64, device=device
        ),
        positions=torch.as_tensor(np.concatenate([frame.positions for frame in frames]), device=device),
        cells=torch.as_tensor(np.stack([frame.cell for frame in frames]), device=device),
        n_atoms=torch.tensor([len(frame.numbers) for frame in frames], device=device),
    )
    return build_graph(batch, cutoff_A, both_ways=both_ways)


def to_arrays(
    graph: Graph, structures: torch.Tensor, atoms: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of structures and atoms as arrays, NaN for a frame whose atoms overlap too much for a graph."""
    structures = structures.masked_fill(graph.lost[:, None], torch.nan)
    atoms = atoms.masked_fill(graph.lost[graph.owners][:, None], torch.nan)
    return structures.cpu().numpy(), atoms.cpu().numpy()
