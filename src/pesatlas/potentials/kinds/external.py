"""Potentials of other environments: any calculator of ASE or model of torch-sim, in a worker process."""

from typing import TYPE_CHECKING, Literal

from pesatlas.potentials.external.options import WorkerOptions, check_worker
from pesatlas.potentials.identity import Identity

if TYPE_CHECKING:
    from pesatlas.potentials.potential import Potential


class Options(WorkerOptions):
    """A calculator of ASE, or a model of torch-sim, in an environment of its own.

    The first evaluates one structure at a time, the second batches. Configuring one runs code of the
    configured name in that environment.
    """

    kind: Literal["external"] = "external"


def check(options: Options) -> None:
    """See that python and weights are there; nothing is run.

    Raises
    ------
    UserError
        If not.
    """
    check_worker(options)


def must_load_for_elements(options: Options) -> bool:
    """Whether its elements are known only when the worker has loaded it."""
    return options.elements is None


def elements(options: Options) -> frozenset[int]:
    """Atomic numbers that the potential knows: as stated, else as the loaded calculator says."""
    from pesatlas.potentials.external.identify import known_elements  # noqa: PLC0415 - heavy

    return known_elements(options)


def identify(options: Options) -> Identity:
    """Return what the potential is, asked from its environment without loading it."""
    from pesatlas.potentials.external.identify import identity_of  # noqa: PLC0415 - heavy

    return identity_of(options)


def licence(options: Options) -> str:
    """Return the licence of its weights."""
    from pesatlas.potentials.external.identify import licence_of  # noqa: PLC0415 - heavy

    return licence_of(options)


def load(options: Options, device: str) -> "Potential":
    """Start the worker and load the potential there.

    Raises
    ------
    UserError
        If its environment or its weights are not there, or the loader does not give a potential.
    """
    import torch  # noqa: PLC0415 - heavy

    from pesatlas.potentials.external.external_potential import ExternalPotential  # noqa: PLC0415 - heavy

    return ExternalPotential(options, identify(options), torch.device(device))
