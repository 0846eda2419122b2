"""GPAW: real DFT without a licence, run as a program of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.label.interface import Failed, Outcome, Result, Task
from pesatlas.levels.gpaw import atom_settings, crystal_settings, paw_folder, pseudopotential_hashes
from pesatlas.tables import FailureReason

SAME_GEOMETRY_A = 1e-6


class Options(Section):
    """Options of the backend ``gpaw``."""

    kind: Literal["gpaw"] = Field("gpaw", description="GPAW: plane waves, PAW; open")
    quality: Literal["demo", "standard"] = Field(
        "standard", description="standard: tight settings; demo: coarse, a level of its own, not for training"
    )


def check(_: Options) -> None:
    """Raise a UserError if GPAW is not installed."""
    paw_folder()


def calculate(task: Task, _: Options, scratch: Path, timeout_s: float) -> Outcome:
    """Prepare, run, parse and verify one calculation in ``scratch``."""
    try:
        settings = prepare(task, scratch)
    except FileNotFoundError as error:
        return Failed(FailureReason.MISSING_PSEUDOPOTENTIAL, f"no PAW dataset {Path(error.filename).name}")
    started = time.monotonic()
    failure = run(scratch, timeout_s)
    if failure is not None:
        return failure
    return parse(task, settings, scratch, time.monotonic() - started)


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
    }
    (scratch / "in.json").write_text(json.dumps(job), encoding="utf-8")
    return settings


def run(scratch: Path, timeout_s: float) -> Failed | None:
    """Run the program to its end; return what went wrong, if anything.

    It leads a process group of its own, which is killed as a whole when time is up; it dies by itself when we do.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pesatlas.label.backends._gpaw_static",
        "in.json",
        "out.json",
        str(os.getpid()),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (scratch / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=scratch, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return Failed(
                FailureReason.TIMEOUT,
                f"killed after {timeout_s:.0f} s: raise label.timeout_min, and label.attempts to try again",
            )
        finally:
            _kill_group(process)
    if status != 0:
        last = (scratch / "out.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return Failed(FailureReason.CRASHED, f"GPAW ended with status {status}: {' '.join(last)[:300]}")
    return None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def parse(task: Task, settings: dict[str, Any], scratch: Path, wall_s: float) -> Outcome:
    """Read and verify the program's output: this attempt's own, of the structure that was asked for, converged and finite."""
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
            return Failed(FailureReason.WRONG_STRUCTURE, f"{name} of the calculation are not those asked for")
    forces = np.asarray(raw["forces"], dtype=float)
    if forces.shape != np.shape(task.positions) or np.shape(raw["stress"]) != (6,):
        raise ValueError(f"forces of shape {forces.shape}, stress of shape {np.shape(raw['stress'])}")
    values = [raw["energy"], raw["free_energy"], *forces.ravel(), *raw["stress"]]
    if not np.isfinite(values).all():
        return Failed(FailureReason.NOT_FINITE, "energy, forces or stress are not finite")
    if not raw["converged"]:
        return Failed(FailureReason.NOT_CONVERGED, "the output does not say that it converged")
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
