"""Encoder ``m3gnet_eform``: features of matgl's M3GNet formation-energy model, those of DIRECT and MatPES."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pesatlas.atoms.elements import atomic_number
from pesatlas.config.section import HomePath, Section
from pesatlas.errors import UserError
from pesatlas.potentials.encoder import Encoder, Frame

# Compounds whose formation energy (eV/atom, Materials Project) a sound model gives; weights under the wrong
# convention give -1.87, -2.54 and -0.03. (structure in ASE's words, lattice constant in Å, energy)
_KNOWN = {
    "NaCl": ("rocksalt", 5.69, -2.10),
    "MgO": ("rocksalt", 4.21, -3.07),
    "GaAs": ("zincblende", 5.75, -0.35),
}
_TOLERANCE_EV = 0.15


class Options(Section):
    """Weights of the encoder and their convention."""

    kind: Literal["m3gnet_eform"] = Field(
        "m3gnet_eform",
        description="readout (128 numbers) and first graph convolution (64 an atom) of "
        "M3GNet-MP-2018.6.1-Eform",
    )
    path: HomePath = Field(description="folder of the weights: model.json, model.pt, state.pt")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="checksum of the weights, as `sha256sum model.json model.pt state.pt | sha256sum` "
        "prints it in "
        "their folder; "
        "with older_convention it must be given",
    )
    older_convention: bool = Field(
        default=False,
        description="the weights were trained with matgl before 2.2, which summed messages on the "
        "destination of an edge",
    )

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        if self.older_convention and self.sha256 is None:
            raise ValueError(
                "older_convention applies to specific weights: give their sha256 too (`sha256sum model.json "
                "model.pt state.pt | sha256sum` in their folder)"
            )
        return self


class M3GNetEncoder:
    """Features of an intensive M3GNet.

    Its readout (set2set) is a weighted mean over atoms, so that a supercell has the vector of its unit cell.
    """

    def __init__(self, model: Any, name: str, weights_hash: str, device: str) -> None:
        self.name = name
        self.weights_hash = weights_hash
        from pesatlas.potentials.fast_m3gnet import SplitM3GNet  # noqa: PLC0415 - heavy

        self._whole = model.to(device).eval()
        self._model = getattr(model, "model", model)  # without the scaling of its target
        self._split = SplitM3GNet(self._model).to(device)
        self._device = device
        self._types = {atomic_number(symbol): i for i, symbol in enumerate(self._model.element_types)}
        self.elements = frozenset(self._types)
        self.atom_dim = self._model.embedding.layer_node_embedding.embedding_dim
        self.structure_dim = 2 * self.atom_dim

    def encode(self, frames: list[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the structures (B, 128) and of all their atoms (N, 64)."""
        from pesatlas.encode.graphs import graph_of, to_arrays  # noqa: PLC0415 - heavy

        graph = graph_of(frames, self._model.cutoff, self._device)
        return to_arrays(graph, *self._features(graph))

    def formation_energies(self, frames: list[Frame]) -> NDArray[np.float32]:
        """Return formation energies (B,), eV/atom.

        What the model was trained for, and a check of its weights.
        """
        import torch  # noqa: PLC0415 - heavy

        from pesatlas.encode.graphs import graph_of  # noqa: PLC0415

        structures, _ = self._features(graph_of(frames, self._model.cutoff, self._device))
        with torch.no_grad():
            energies = self._model.final_layer(structures)
            transformer = getattr(self._whole, "transformer", None)
            energies = energies if transformer is None else transformer.inverse_transform(energies)
        return energies.cpu().numpy().ravel()

    def _features(self, graph: Any) -> Any:
        """Features of structures after the last graph convolution, of atoms after the first."""
        import torch  # noqa: PLC0415 - heavy

        types = torch.tensor([self._types[z] for z in graph.numbers.tolist()], device=self._device)
        with torch.no_grad():
            atoms = self._split.after_each(graph, graph.vectors.to(torch.float32), types)
            return self._model.readout(atoms[-1], graph.owners, dim_size=graph.n_structures), atoms[0]


def check(options: Options) -> None:
    """Raise a UserError if the weights are not there."""
    from pesatlas.potentials.weights import missing_files  # noqa: PLC0415 - for those who use it

    missing = missing_files(options.path)
    if missing:
        raise UserError(
            f"path = '{options.path}': no {', no '.join(missing)} there. Give a folder in which matgl saved "
            "a model."
        )


def load(options: Options, device: str) -> Encoder:
    """Load the weights, and see that they give known formation energies.

    Raises
    ------
    UserError
        If they are missing, changed, of another model, or wrong.
    """
    from pesatlas.potentials.fast_m3gnet import can_split  # noqa: PLC0415 - heavy
    from pesatlas.potentials.weights import directory_sha256, load_matgl  # noqa: PLC0415

    loaded = load_matgl(options.path, older_convention=options.older_convention, sha256=options.sha256)
    model = getattr(loaded, "model", loaded)
    if type(model).__name__ != "M3GNet" or not model.is_intensive or model.readout_type != "set2set":
        raise UserError(f"{options.path}: this is not a formation-energy M3GNet with a set2set readout.")
    if not can_split(model):
        raise UserError(
            f"{options.path}: this M3GNet has state features, dihedral angles, dropout or l above 2, which "
            "the encoder does not cover. Take M3GNet-MP-2018.6.1-Eform."
        )
    name = f"m3gnet_eform/{options.path.resolve().name}"
    encoder = M3GNetEncoder(loaded, name, directory_sha256(options.path), device)
    _gate(encoder, options)
    return encoder


def _gate(encoder: M3GNetEncoder, options: Options) -> None:
    """Refuse weights that load without an error and are wrong."""
    from ase.build import bulk  # noqa: PLC0415 - heavy

    crystals = [bulk(name, structure, a=a) for name, (structure, a, _) in _KNOWN.items()]
    unknown = {z for crystal in crystals for z in crystal.numbers.tolist()} - encoder.elements
    if unknown:
        raise UserError(
            f"{options.path}: the model does not know all elements of {', '.join(_KNOWN)}, with which "
            "weights are checked."
        )
    found = encoder.formation_energies([Frame(c.numbers, c.positions, np.array(c.cell)) for c in crystals])
    expected = np.array([energy for *_, energy in _KNOWN.values()])
    if not (np.abs(found - expected) < _TOLERANCE_EV).all():
        values = ", ".join(
            f"{name} {e:.2f} instead of {x:.2f}" for name, e, x in zip(_KNOWN, found, expected, strict=True)
        )
        raise UserError(
            f"{options.path}: these weights give wrong formation energies (eV/atom): {values}. "
            f"older_convention is {str(options.older_convention).lower()}: weights of matgl before 2.2 need "
            "true, later ones false."
        )
