"""Encoder ``chgnet``: features of CHGNet 0.3.0, whose weights come inside its package."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.encode.interface import Frame

VERSION = "0.3.0"
_WEIGHTS = f"pretrained/{VERSION}/chgnet_{VERSION}_e29f68s314m37.pth.tar"
_HIGHEST_NUMBER = 94


class Options(Section):
    """Options of the encoder: none, the model is part of the installation."""

    kind: Literal["chgnet"] = Field(
        "chgnet", description="features of CHGNet 0.3.0 (64 numbers each), from its package"
    )


class ChgnetEncoder:
    """Crystal and atom features of CHGNet.

    CHGNet sums atoms to its crystal feature (its readout is a sum of atomic energies), so the sum is divided by the number of
    atoms: a supercell is described by the vector of its unit cell. Atom features are those after the third of four
    convolutions, from which CHGNet predicts magnetic moments.
    """

    name = f"chgnet/{VERSION}"
    structure_dim = 64
    atom_dim = 64
    elements = frozenset(range(1, _HIGHEST_NUMBER + 1))

    def __init__(self, model: Any, weights_hash: str) -> None:
        self.weights_hash = weights_hash
        self._model = model

    def encode(self, frames: list[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the structures (B, 64) and of all their atoms (N, 64)."""
        import torch  # noqa: PLC0415 - heavy

        device = next(self._model.parameters()).device
        with torch.no_grad(), warnings.catch_warnings():
            # pymatgen warns of noble gases without electronegativity, torch of a volume taken as a number; both are of no consequence
            warnings.simplefilter("ignore", UserWarning)
            graphs = [self._graph(frame).to(device) for frame in frames]
            found = self._model(graphs, task="e", return_atom_feas=True, return_crystal_feas=True)
        atoms = torch.cat(list(found["atom_fea"])).cpu().numpy()
        n_atoms = np.array([len(frame.numbers) for frame in frames])
        return found["crystal_fea"].cpu().numpy() / n_atoms[:, None].astype(np.float32), atoms

    def _graph(self, frame: Frame) -> Any:
        from pymatgen.core import Structure  # noqa: PLC0415 - heavy

        # wrapped: the graph is in float32, and atoms that have wandered far would lose digits
        fractional = np.linalg.solve(frame.cell.T, frame.positions.T).T % 1.0
        return self._model.graph_converter(Structure(frame.cell, frame.numbers.tolist(), fractional))


def load(options: Options, device: str) -> ChgnetEncoder:  # noqa: ARG001 - every encoder is loaded this way
    """Load CHGNet from its installed package."""
    import chgnet  # noqa: PLC0415 - heavy
    import torch  # noqa: PLC0415
    from chgnet.model.model import CHGNet  # noqa: PLC0415

    from pesatlas.tables.manifest import sha256_of  # noqa: PLC0415

    path = Path(chgnet.__file__).parent / _WEIGHTS
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    with contextlib.redirect_stdout(io.StringIO()):  # it greets
        # as CHGNet.load does for 0.3.0, which cannot load with weights_only
        model = CHGNet.from_dict(state, mlp_out_bias=False, version=VERSION)
    # an atom without neighbours is a frame as good as any other here; CHGNet's default is to raise
    model.graph_converter.on_isolated_atoms = "ignore"
    return ChgnetEncoder(model.to(device).eval(), sha256_of(path))
