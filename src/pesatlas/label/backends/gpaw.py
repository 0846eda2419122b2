"""GPAW: real DFT without a licence, run as a separate program."""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.label.backend import Charges, Failed, Outcome, Result, Task, Workdir
from pesatlas.levels.gpaw import atom_settings, crystal_settings, paw_folder, pseudopotential_hashes
from pesatlas.runtime import supervise
from pesatlas.tables import FailureReason

SAME_GEOMETRY_A = 1e-6
CHARGES = ("bader",)
"""Charges that ``label.charges`` may ask for."""
_DENSITY = "density.npz"
_GRID = "all-electron density of GPAW on a grid twice as fine as that of the calculation"


class Options(Section):
    """Options of the backend ``gpaw``."""

    kind: Literal["gpaw"] = Field("gpaw", description="GPAW: plane waves, PAW; open")
    quality: Literal["coarse", "demo", "standard"] = Field(
        "standard",
        description="standard: tight settings; coarse: a separate level for demonstrations, not for "
        "training; demo: "
        "coarser still",
    )


def check(_: Options) -> None:
    """Raise a UserError if GPAW is not installed."""
    paw_folder()


def calculate(task: Task, _: Options, workdir: Workdir) -> Outcome:
    """Prepare, run, parse and verify one calculation. GPAW runs on one core."""
    try:
        settings = prepare(task, workdir.scratch)
    except FileNotFoundError as error:
        return Failed(FailureReason.MISSING_PSEUDOPOTENTIAL, f"no PAW dataset {Path(error.filename).name}")
    started = time.monotonic()
    failure = run(workdir)
    for name in ("in.json", "gpaw.txt", "out.txt"):
        if (workdir.scratch / name).exists():
            shutil.copy(workdir.scratch / name, workdir.keep)
    if failure and not (task.charges and (workdir.scratch / "out.json").exists()):
        return failure
    outcome = parse(task, settings, workdir.scratch, time.monotonic() - started)
    if task.charges and isinstance(outcome, Result):
        # the label was whole before the program went on to the density
        missing = f"after the label was calculated: {failure.detail}" if failure else None
        charges = Charges(missing=missing) if missing else bader_charges(task, workdir.scratch)
        return replace(outcome, charges=charges)
    return outcome


def bader_charges(task: Task, scratch: Path) -> Charges:
    """Return the charges from the densities that the program wrote."""
    from pesatlas.label.charges import Valence, charges_of  # noqa: PLC0415 - numba and scipy are slow to import

    try:
        with np.load(scratch / _DENSITY) as found:
            spins, valence, core = found["spins"], found["valence"], found["core"]
    except (OSError, ValueError, KeyError) as error:
        return Charges(missing=f"GPAW's density can't be read: {type(error).__name__}: {error}")
    total = spins.sum(axis=0)
    return charges_of(
        task,
        reference=total,
        charge=total,
        magnetisation=spins[0] - spins[1] if len(spins) == 2 else None,
        valence=Valence(valence, core),
        source=_GRID,
    )


def prepare(task: Task, scratch: Path) -> dict[str, Any]:
    """Write the input of the program; return the settings of this calculation in full."""
    numbers = [int(number) for number in task.numbers]
    settings = (
        atom_settings(task.level, numbers[0])
        if task.isolated
        else crystal_settings(task.level, numbers, task.cell)
    )
    pseudopotential_hashes(numbers)  # all are there
    job = {
        "numbers": numbers,
        "cell": task.cell.tolist(),
        "positions": task.positions.tolist(),
        "settings": {**settings, "paw_folder": str(paw_folder())},
        **({"density": _DENSITY} if task.charges else {}),
    }
    (scratch / "in.json").write_text(json.dumps(job), encoding="utf-8")
    return settings


def run(workdir: Workdir) -> Failed | None:
    """Run the program to its end; return what went wrong, if anything."""
    output = workdir.scratch / "out.txt"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pesatlas.label.backends._gpaw_static",
        "in.json",
        "out.json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    status = supervise.start(
        command, workdir.scratch, output, workdir.timeout_s, cpus=workdir.cpus, environment=environment
    ).wait()
    if status == supervise.TIMED_OUT:
        return Failed(
            FailureReason.TIMEOUT,
            f"ended after {workdir.timeout_s:.0f} s: raise label.timeout_min, and label.attempts to try "
            "again",
        )
    if status in supervise.KILLED:
        detail = "GPAW was killed, as the system does when memory is used up: give the job more"
        return Failed(FailureReason.OUT_OF_MEMORY, detail)
    if status != 0:
        last = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return Failed(FailureReason.CRASHED, f"GPAW ended with status {status}: {' '.join(last)[:300]}")
    return None


def parse(task: Task, settings: dict[str, Any], scratch: Path, wall_s: float) -> Outcome:
    """Read and verify the program's output.

    This attempt's own, of the structure that was asked for, converged and finite.
    """
    try:
        raw = json.loads((scratch / "out.json").read_text(encoding="utf-8"))
        if "failed" in raw:
            return Failed(FailureReason(raw["failed"]), raw["detail"])
        return _verified(raw, task, settings, wall_s)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Failed(
            FailureReason.BAD_OUTPUT, f"the output cannot be understood: {type(error).__name__}: {error}"
        )


def _verified(raw: dict[str, Any], task: Task, settings: dict[str, Any], wall_s: float) -> Outcome:
    for name, wanted in (("numbers", task.numbers), ("cell", task.cell), ("positions", task.positions)):
        if np.shape(raw[name]) != np.shape(wanted) or not np.allclose(
            raw[name], wanted, rtol=0, atol=SAME_GEOMETRY_A
        ):
            return Failed(
                FailureReason.WRONG_STRUCTURE, f"{name} of the calculation are not the requested ones"
            )
    forces = np.asarray(raw["forces"], dtype=float)
    if forces.shape != np.shape(task.positions) or np.shape(raw["stress"]) != (6,):
        raise ValueError(f"forces of shape {forces.shape}, stress of shape {np.shape(raw['stress'])}")
    values = [raw["energy"], raw["free_energy"], *forces.ravel(), *raw["stress"]]
    if not np.isfinite(values).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces or stress are not finite")
    if not raw["converged"]:
        return Failed(FailureReason.NOT_CONVERGED, "the output does not report convergence")
    return Result(
        energy_eV=raw["energy"],
        free_energy_eV=raw["free_energy"],
        forces_eV_per_A=raw["forces"],
        stress_eV_per_A3=raw["stress"],
        magmoms_muB=raw["magmoms"],
        band_gap_eV=raw["band_gap"],
        scf_steps=raw["scf_steps"],
        converged=True,
        corrections=[],
        pseudopotentials=pseudopotential_hashes([int(number) for number in task.numbers]),
        settings=settings,
        wall_s=wall_s,
    )
