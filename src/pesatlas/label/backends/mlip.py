"""A machine-learning potential in place of DFT: fast labels for demonstrations and tests.

They are labels of the level ``mlip`` alone, which the dataset never calls DFT.
"""

import time
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pesatlas.atoms.elements import symbol_of
from pesatlas.config import plugins
from pesatlas.config.section import Runtime, Section
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Outcome, Result, Task, Workdir
from pesatlas.potentials.loading import POTENTIALS, load_potential
from pesatlas.tables import FailureReason

if TYPE_CHECKING:
    # the union is built at run time from the modules that are there
    Potential = Any
else:
    Potential = plugins.options_of(POTENTIALS)

_EVALUATING = Lock()
"""Lock for one evaluation at a time: each uses all threads and process-wide switches of torch."""


class Options(Section):
    """Options of the backend ``mlip``."""

    kind: Literal["mlip"] = Field(
        "mlip",
        description="a machine-learning potential in place of DFT, for demonstrations and tests; needs "
        "levels: "
        "[mlip]",
    )
    potential: Potential = Field(
        description="potential whose energies, forces and stresses are the labels; not the one that explores"
    )
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device of the potential: cpu, cuda, cuda:1"
    )


def check(options: Options) -> None:
    """Raise a UserError if what the potential needs is not there."""
    look = getattr(plugins.find(POTENTIALS, options.potential.kind), "check", None)
    if look is not None:
        look(options.potential)


def calculate(task: Task, options: Options, workdir: Workdir) -> Outcome:  # noqa: ARG001 - it needs no place to run in
    """Evaluate the potential. There is no gap, there are no moments; energy and free energy are the same.

    Raises
    ------
    UserError
        If the potential cannot be loaded, is wrong about known crystals, or has other weights than the level
        says.
    """
    if task.isolated:
        return Failed(
            FailureReason.MISSING_REFERENCE_ATOM,
            "not calculated: predictions for isolated atoms are meaningless; cohesive energies stay empty",
        )
    potential = _load(options.potential, options.device)
    if potential.weights_hash != task.level.pseudopotentials:
        raise UserError(
            f"the weights of {potential.name} were changed while the job ran: they are "
            f"{potential.weights_hash[:12]}, its level {task.level.fingerprint} has "
            f"{task.level.pseudopotentials[:12]}. Run again."
        )
    unknown = {int(number) for number in task.numbers} - potential.elements
    if unknown:
        symbols = " ".join(symbol_of(number) for number in sorted(unknown))
        return Failed(FailureReason.UNSUPPORTED_ELEMENT, f"{potential.name} does not know {symbols}")
    started = time.monotonic()
    try:
        energy, forces, stress = evaluate(potential, task.numbers, task.cell, task.positions)
    except (RuntimeError, MemoryError) as error:  # torch's, or a worker's
        full = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
        reason = FailureReason.OUT_OF_MEMORY if full else FailureReason.CRASHED
        return Failed(reason, f"{type(error).__name__}: {str(error)[:300]}")
    if not np.isfinite([energy, *forces.ravel(), *stress]).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces or stress are not finite")
    return Result(
        energy_eV=energy,
        free_energy_eV=energy,
        forces_eV_per_A=forces.tolist(),
        stress_eV_per_A3=stress.tolist(),
        magmoms_muB=None,
        band_gap_eV=None,
        scf_steps=0,
        converged=True,
        corrections=[],
        pseudopotentials={"weights": potential.weights_hash},
        settings={"functional": task.level.functional, **task.level.settings},
        wall_s=time.monotonic() - started,
    )


def evaluate(
    potential: Any, numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy (eV), forces (n, 3) (eV/Å), stress (6,) (eV/Å³, tension positive, Voigt).

    Parameters
    ----------
    potential : as ``pesatlas.potentials.loading.load_potential`` returns it
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å
    """
    import torch  # noqa: PLC0415 - slow to import

    from pesatlas.potentials.potential import VOIGT, Batch  # noqa: PLC0415 - imports torch

    batch = Batch(
        numbers=torch.as_tensor(np.asarray(numbers, dtype=np.int64)),
        positions=torch.as_tensor(np.asarray(positions, dtype=np.float64)),
        cells=torch.as_tensor(np.asarray(cell, dtype=np.float64))[None],
        n_atoms=torch.tensor([len(numbers)]),
    )
    with _EVALUATING:
        found = potential.evaluate(batch)
    stress = found.stresses[0].cpu().numpy()[VOIGT]
    return float(found.energies[0]), found.forces.cpu().numpy(), stress


@cache
def _loaded(potential: Any, device: str) -> Any:
    return load_potential(potential, device)


def _load(potential: Any, device: str) -> Any:
    """Return the potential, loaded once in a process for each device.

    The first of several threads loads it.
    """
    with _EVALUATING:
        return _loaded(potential, device)
