"""CHGNet: its weights are inside its package, so it works without a network."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.errors import UserError
from pesatlas.potentials.identity import Identity, TrainedOn, versions

if TYPE_CHECKING:
    from pesatlas.potentials.potential import Potential


_FILES = {
    "0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
    "r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
_MAX_NUMBER = 94
_NEVER_SEEN = frozenset({84, 85, 86, 87, 88})
"""Po, At, Rn, Fr and Ra have rows in its tables, but were not in its training data."""


class Options(Section):
    """CHGNet, trained on energies of the Materials Project with its corrections; somewhat soft."""

    kind: Literal["chgnet"] = "chgnet"
    version: Literal["0.3.0", "0.2.0", "r2scan"] = Field("0.3.0", description="weights of the package")


def check(options: Options) -> None:  # noqa: ARG001 - every kind is asked in the same way
    """See that the package is there.

    Raises
    ------
    UserError
        If it is not.
    """
    if find_spec("chgnet") is None:
        raise UserError(
            "chgnet is not installed. Install it with `pip install 'pesatlas[chgnet]'`, or choose another "
            "potential."
        )


def elements(options: Options) -> frozenset[int]:  # noqa: ARG001 - as for check
    """Atomic numbers that the potential knows."""
    return frozenset(range(1, _MAX_NUMBER + 1)) - _NEVER_SEEN


def weights_file(options: Options) -> Path:
    """Return the file in the package that holds the weights."""
    check(options)
    spec = find_spec("chgnet")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pretrained" / _FILES[options.version]


def identify(options: Options) -> Identity:
    """Return what the potential is."""
    weights = hashlib.sha256(weights_file(options).read_bytes()).hexdigest()
    return Identity(f"chgnet/{options.version}", weights, versions("chgnet", "torch"))


def trained_on(options: Options) -> TrainedOn:
    """Return what it was trained on: MPtrj, whose energies have the corrections of the Materials Project.

    R2scan was tuned to those without.
    """
    if options.version == "r2scan":
        return TrainedOn("r2scan of the Materials Project", corrected=False)
    return TrainedOn("PBE(+U) of the Materials Project", corrected=True)


def load(options: Options, device: str) -> "Potential":
    """Load the potential onto ``device`` (cpu, cuda, ...); the gate is for the caller."""
    import torch  # noqa: PLC0415 - heavy

    from pesatlas.potentials.chgnet_model import ChgnetPotential, load_model  # noqa: PLC0415 - heavy

    identity = identify(options)
    return ChgnetPotential(
        load_model(weights_file(options), torch.device(device)),
        name=identity.name,
        weights_hash=identity.weights_hash,
        elements=elements(options),
        device=torch.device(device),
    )
