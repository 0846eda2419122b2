"""Check pw.x's outputs: files of this attempt, converged, of the requested structure and level."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.label.backend import Failed, Result
from pesatlas.label.bad_output import BadOutputError, failure_of
from pesatlas.label.qe.inputs import SCHEMA_FILE, Inputs
from pesatlas.label.qe.pw_output import Printed, Run, read_printed, read_run
from pesatlas.label.qe.pw_run import OUTPUT
from pesatlas.label.vasp.vasprun import band_gap
from pesatlas.tables import FailureReason

_SAME_GEOMETRY_A = 1e-6
# pw.x prints 8 decimals of Ry
_SAME_ENERGY_EV = 5e-7


def result(
    inputs: Inputs, folder: Path, *, version: str, changed: dict[str, Any], wall_s: float
) -> Result | Failed:
    """Read and verify the outputs in ``folder``.

    Parameters
    ----------
    version : str
        Version of Quantum ESPRESSO of the level.
    changed : dict
        Keys of the namelist ``electrons`` that remedies changed.
    """
    task = inputs.task
    try:
        printed = read_printed(folder / OUTPUT, len(task.numbers))
        run = read_run(folder / SCHEMA_FILE)
    except (FileNotFoundError, BadOutputError) as error:
        return failure_of(error, "pw.x")
    failed = find_fault(inputs, run, printed, version)
    if failed:
        return failed
    return Result(
        energy_eV=run.energy_eV,
        free_energy_eV=run.free_energy_eV,
        forces_eV_per_A=run.forces.tolist(),
        stress_eV_per_A3=run.stress.tolist(),
        magmoms_muB=printed.moments_muB,
        band_gap_eV=None if task.isolated else band_gap(run.bands),
        scf_steps=run.scf_steps,
        converged=True,
        corrections=[],
        pseudopotentials={element: file.sha256[:16] for element, file in inputs.files.items()},
        settings=inputs.settings(changed),
        wall_s=wall_s,
    )


def find_fault(inputs: Inputs, run: Run, printed: Printed, version: str) -> Failed | None:
    """Return why the outputs of a calculation are not the label that was asked for; None if they are."""
    return (
        _not_asked_for(inputs, run, printed, version)
        or _not_converged(run)
        or _not_own(run, printed)
        or _not_numbers(inputs, run, printed)
    )


def _not_asked_for(inputs: Inputs, run: Run, printed: Printed, version: str) -> Failed | None:
    for found in {run.version, printed.version} - {version}:
        detail = (
            f"this was Quantum ESPRESSO {found or 'of an unknown version'}, the level is {version}: set "
            "label.backend.qe_version to the version that label.backend.command runs, or correct the command"
        )
        return Failed(FailureReason.WRONG_LEVEL, detail)
    task = inputs.task
    if run.symbols != [symbol_of(int(number)) for number in task.numbers] or not _same_geometry(inputs, run):
        return Failed(
            FailureReason.WRONG_STRUCTURE, f"the structure in {SCHEMA_FILE.name} is not the requested one"
        )
    system = inputs.namelists["system"]
    wanted = {
        "calculation": "scf",
        "functional": task.level.functional,
        **{key: system[key] for key in ("ecutwfc", "ecutrho", "smearing", "degauss")},
        "kpoints": inputs.kpoints,
        "kpoint_offset": [0, 0, 0],
        "charge": 0.0,
        "spin_polarised": True,
        "noncollinear": False,
        "pseudopotentials": {element: file.path.name for element, file in inputs.files.items()},
    }
    for key, value in wanted.items():
        used = run.used[key]
        same = math.isclose(used, value, rel_tol=1e-6) if isinstance(value, float) else used == value
        if not same:
            return Failed(FailureReason.WRONG_LEVEL, f"pw.x used {key} = {used}, the level has {value}")
    return None


def _same_geometry(inputs: Inputs, run: Run) -> bool:
    """Whether pw.x calculated the cell and positions of the task, up to lattice vectors."""
    if not np.allclose(run.cell, inputs.cell, rtol=0, atol=_SAME_GEOMETRY_A):
        return False
    apart = (run.positions - inputs.task.positions) @ np.linalg.inv(inputs.cell)
    apart -= np.round(apart)
    return bool(np.abs(apart @ inputs.cell).max() < _SAME_GEOMETRY_A)


def _not_converged(run: Run) -> Failed | None:
    if run.converged:
        return None
    return Failed(FailureReason.NOT_CONVERGED, f"no convergence in {run.scf_steps} SCF steps")


def _not_own(run: Run, printed: Printed) -> Failed | None:
    """Both outputs are of one run, which came to its end."""
    if not printed.finished:
        return Failed(FailureReason.CRASHED, f"{OUTPUT} does not end with JOB DONE: pw.x did not finish")
    if len(printed.energies_eV) != 1:
        count = len(printed.energies_eV)
        return Failed(
            FailureReason.BAD_OUTPUT, f"{OUTPUT} has {count} total energies, a static calculation has one"
        )
    pairs = {
        "total energy": (printed.energies_eV[0], run.free_energy_eV),
        "smearing contribution": (printed.entropy_eV or 0.0, run.entropy_eV),
    }
    for name, (first, second) in pairs.items():
        if not abs(first - second) < _SAME_ENERGY_EV and math.isfinite(first) and math.isfinite(second):
            ours = f"its {name} is {first} eV, that of {SCHEMA_FILE.name} {second}"
            detail = f"{OUTPUT} belongs to another run: {ours}"
            return Failed(FailureReason.CRASHED, detail)
    return None


def _not_numbers(inputs: Inputs, run: Run, printed: Printed) -> Failed | None:
    if not printed.moments_muB:
        detail = f"spin-polarised, but {OUTPUT} has no moments of all atoms: do not set report in pw.x"
        return Failed(FailureReason.BAD_OUTPUT, detail)
    values = [run.free_energy_eV, run.entropy_eV, *run.forces.ravel(), *run.stress, *printed.moments_muB]
    if run.forces.shape != inputs.task.positions.shape or not np.isfinite(values).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces, stress or moments are not finite")
    return None
