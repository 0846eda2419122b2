"""Encoder ``chgnet``: features of CHGNet 0.3.0; its weights come with its package."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.potentials.encoder import Encoder, Frame
from pesatlas.potentials.kinds import chgnet as potential

VERSION: Literal["0.3.0"] = "0.3.0"


class Options(Section):
    """Options of the encoder: none, the model is part of the installation."""

    kind: Literal["chgnet"] = Field(
        "chgnet", description="features of CHGNet 0.3.0 (64 numbers each), from its package"
    )


class ChgnetEncoder:
    """Crystal and atom features of CHGNet.

    CHGNet sums atoms to its crystal feature (its readout is a sum of atomic energies), so the sum is divided
    by the number of atoms: a supercell is described by the vector of its unit cell. Atom features are those
    after the third of four convolutions, from which CHGNet predicts magnetic moments.
    """

    name = f"chgnet/{VERSION}"
    structure_dim = 64
    atom_dim = 64

    def __init__(self, model: Any, weights_hash: str, elements: frozenset[int], device: str) -> None:
        self.weights_hash = weights_hash
        self.elements = elements
        self._model = model
        self._device = device

    def encode(self, frames: list[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the structures (B, 64) and of all their atoms (N, 64)."""
        import torch  # noqa: PLC0415 - heavy

        from pesatlas.encode.graphs import graph_of, to_arrays  # noqa: PLC0415

        graph = graph_of(frames, self._model.cutoff_A, self._device, both_ways=False)
        with torch.no_grad():
            atoms, last = self._model.features(graph, graph.vectors.to(torch.float32))
        sums = last.new_zeros(graph.n_structures, last.shape[1]).index_add_(0, graph.owners, last)
        n_atoms = torch.bincount(graph.owners, minlength=graph.n_structures)
        return to_arrays(graph, sums / n_atoms[:, None], atoms)


def check(options: Options) -> None:  # noqa: ARG001 - every encoder is asked this way
    """Raise a UserError if the package is not installed."""
    potential.check(potential.Options(version=VERSION))


def load(options: Options, device: str) -> Encoder:  # noqa: ARG001 - every encoder is loaded this way
    """Load CHGNet from its installed package."""
    import torch  # noqa: PLC0415 - heavy

    from pesatlas.potentials.chgnet_model import load_model  # noqa: PLC0415
    from pesatlas.tables.manifest import sha256_of  # noqa: PLC0415

    known = potential.Options(version=VERSION)
    path = potential.weights_file(known)
    model = load_model(path, torch.device(device))
    return ChgnetEncoder(model, sha256_of(path), potential.elements(known), device)
