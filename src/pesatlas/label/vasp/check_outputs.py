"""Check VASP's output: files of this attempt, converged, of the requested structure and level."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.units import KBAR_TO_EV_PER_A3
from pesatlas.label.backend import Failed, Result
from pesatlas.label.bad_output import BadOutputError, failure_of
from pesatlas.label.vasp.corrections import HARMLESS, changes, same_structure
from pesatlas.label.vasp.inputs import Inputs, read_incar
from pesatlas.label.vasp.strip_outputs import Outcar, Run, read_outcar, read_run
from pesatlas.tables import FailureReason

SAME_ENERGY_EV = 1e-5
# OUTCAR has 6 decimals of forces, and 5 of stress; VASP 4 has 2.
_SAME_FORCE_EV_PER_A = 1e-5
_SAME_STRESS_KBAR = 1e-3
# What the INCAR asks to be written, and where moments start: not what the level is.
_NOT_COMPARED = HARMLESS | {"MAGMOM", "LWAVE", "LCHARG", "LAECHG", "LORBIT"}


def result(
    inputs: Inputs, folder: Path, *, run_file: Path, version: str, wall_s: float, isolated: bool
) -> Result | Failed:
    """Read and verify the outputs in ``folder``.

    Parameters
    ----------
    run_file : Path
        ``vasprun.xml`` of this attempt, trimmed.
    version : str
        VASP version of the level.
    """
    try:
        run, outcar = read_run(run_file), read_outcar(folder / "OUTCAR")
    except (FileNotFoundError, BadOutputError) as error:
        return failure_of(error, "VASP")
    final = read_incar((folder / "INCAR").read_text(encoding="utf-8"))
    failed = find_fault(inputs, final, run, outcar, version)
    if failed:
        return failed
    moments = outcar.moments_muB
    return Result(
        energy_eV=run.energy_eV,
        free_energy_eV=run.free_energy_eV,
        forces_eV_per_A=inputs.in_order_of_task(run.forces).tolist(),
        stress_eV_per_A3=stress(run.stress),
        magmoms_muB=None if moments is None else inputs.in_order_of_task(np.array(moments)).tolist(),
        band_gap_eV=None if isolated else run.band_gap_eV,
        scf_steps=run.scf_steps,
        converged=True,
        corrections=[],
        pseudopotentials={file.title.split()[1].split("_")[0]: file.sha256 for file in inputs.potcars},
        settings={
            "incar": final,
            "kpoints": run.kpoints,
            "potcars": [file.title for file in inputs.potcars],
        },
        wall_s=wall_s,
        quarantine_reasons=[
            f"custodian changed {change}: another level" for change in changes(inputs.incar, final)
        ],
    )


def find_fault(
    inputs: Inputs, final: dict[str, Any], run: Run, outcar: Outcar, version: str
) -> Failed | None:
    """Return why the outputs of a calculation are not the label that was asked for; None if they are."""
    return (
        _not_own(run, outcar)
        or _not_asked_for(inputs, final, run, version)
        or _not_converged(run, outcar)
        or _not_spin(final, outcar)
        or _not_numbers(inputs, run, outcar)
    )


def stress(kbar: np.ndarray) -> list[float]:
    """Return VASP's (3, 3) stress in kbar, which is positive under compression, as ASE's.

    EV/Å³, Voigt xx yy zz yz xz xy.
    """
    sigma = -KBAR_TO_EV_PER_A3 * (kbar + kbar.T) / 2
    return [float(sigma[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]


def difference(run: Run, outcar: Outcar) -> str | None:
    """Return in what two files are of different runs; None if they are of one."""
    for name in ("energy_eV", "free_energy_eV"):
        first, second = getattr(run, name), getattr(outcar, name)
        if not abs(first - second) < SAME_ENERGY_EV and math.isfinite(first):
            return f"its {name} is {second}, that of vasprun.xml {first}"
    if outcar.scf_steps is not None and outcar.scf_steps != run.scf_steps:
        return f"it has {outcar.scf_steps} SCF steps, vasprun.xml {run.scf_steps}"
    same_stress = max(_SAME_STRESS_KBAR, 0.6 * 10.0**-outcar.stress_decimals)
    for name, tolerance in (("forces", _SAME_FORCE_EV_PER_A), ("stress", same_stress)):
        first, second = getattr(run, name), getattr(outcar, name)
        if second is None:
            continue
        if first.shape != second.shape or not np.allclose(
            first, second, rtol=1e-6, atol=tolerance, equal_nan=True
        ):
            return f"its {name} are not those of vasprun.xml"
    return None


def _not_own(run: Run, outcar: Outcar) -> Failed | None:
    """Two files of one run agree, and the run came to its end."""
    if not outcar.finished:
        return Failed(FailureReason.CRASHED, "OUTCAR has no timings at its end: VASP did not finish")
    if outcar.ionic_steps != 1:
        return Failed(
            FailureReason.BAD_OUTPUT,
            f"OUTCAR has {outcar.ionic_steps} ionic steps, a static calculation has one",
        )
    differs = difference(run, outcar)
    return Failed(FailureReason.CRASHED, f"OUTCAR belongs to another run: {differs}") if differs else None


def _not_converged(run: Run, outcar: Outcar) -> Failed | None:
    if run.converged_electronic and outcar.converged:
        return None
    return Failed(
        FailureReason.NOT_CONVERGED, outcar.stopped or f"no convergence in {run.scf_steps} SCF steps"
    )


def _not_spin(final: dict[str, Any], outcar: Outcar) -> Failed | None:
    """Spin is collinear, and where there is spin there are moments: r2SCAN starts from them."""
    if outcar.spin == "noncollinear":
        detail = "the calculation was non-collinear (LNONCOLLINEAR or LSORBIT), the level is collinear"
        return Failed(FailureReason.WRONG_LEVEL, detail)
    if outcar.moments_muB is None and (outcar.spin == "collinear" or final.get("ISPIN") == 2):
        detail = (
            "spin-polarised, but OUTCAR has no moments of the ions: VASP writes them with LORBIT = 10 or 11"
        )
        return Failed(FailureReason.BAD_OUTPUT, detail)
    return None


def _not_numbers(inputs: Inputs, run: Run, outcar: Outcar) -> Failed | None:
    if run.forces.shape != inputs.structure.cart_coords.shape or run.stress.shape != (3, 3):
        shapes = f"forces of shape {run.forces.shape}, stress of shape {run.stress.shape}"
        return Failed(FailureReason.BAD_OUTPUT, shapes)
    if outcar.moments_muB is not None and len(outcar.moments_muB) != len(inputs.order):
        counts = f"{len(outcar.moments_muB)} moments of {len(inputs.order)} atoms"
        return Failed(FailureReason.BAD_OUTPUT, counts)
    values = [run.energy_eV, run.free_energy_eV, *run.forces.ravel(), *run.stress.ravel()]
    if not np.isfinite([*values, *(outcar.moments_muB or [])]).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces, stress or moments are not finite")
    return None


def _not_asked_for(inputs: Inputs, final: dict[str, Any], run: Run, version: str) -> Failed | None:
    if run.version.casefold() != version.casefold():
        detail = (
            f"this was VASP {run.version}, the level is VASP {version}: set label.backend.vasp_version to "
            "the version that label.backend.command runs, or correct the command"
        )
        return Failed(FailureReason.WRONG_LEVEL, detail)
    if not same_structure(run.structure, inputs.structure):
        return Failed(FailureReason.WRONG_STRUCTURE, "the structure in vasprun.xml is not the requested one")
    metagga = str(run.incar.get("METAGGA", "--")).upper()
    wanted = inputs.functional if inputs.functional != "PBE" else "--"
    if metagga.replace("NONE", "--") != wanted:
        detail = f"the calculation had METAGGA = {metagga}, the level {inputs.functional} has {wanted}"
        return Failed(FailureReason.WRONG_LEVEL, detail)
    for key in sorted(final.keys() - _NOT_COMPARED):
        used = run.incar.get(key, run.parameters.get(key))
        if used is not None and not same_value(used, final[key]):
            return Failed(FailureReason.WRONG_LEVEL, f"VASP used {key} = {used}, its INCAR says {final[key]}")
    return None


def same_value(used: Any, wanted: Any) -> bool:
    """Whether a value in vasprun.xml, in any of VASP's spellings, is that of the INCAR."""
    if isinstance(wanted, bool):
        if isinstance(used, int | float):
            return bool(used) == wanted
        # a word may be neither: LREAL = Auto
        return str(used).upper().strip(". ")[:1] == str(wanted).upper()[0]
    if isinstance(wanted, int | float):
        return isinstance(used, int | float) and math.isclose(used, wanted, rel_tol=1e-6, abs_tol=1e-8)
    # VASP may cut a word short
    first, second = str(used).strip().upper(), str(wanted).strip().upper()
    return bool(first) and (second.startswith(first) or first.startswith(second))
