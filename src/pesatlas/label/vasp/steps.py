"""The calculations of one geometry: PBE, and r2SCAN from its wavefunction and final moments."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pesatlas.label.backend import Failed, Outcome, Result, Task, Workdir
from pesatlas.label.vasp import inputs as vasp_inputs
from pesatlas.label.vasp.check_outputs import result
from pesatlas.label.vasp.custodian_run import STARTED, run
from pesatlas.label.vasp.densities import bader_charges
from pesatlas.label.vasp.strip_outputs import trim
from pesatlas.levels import potcars
from pesatlas.levels.vasp import Functional
from pesatlas.tables import FailureReason

# Worth keeping of every attempt, beside a trimmed vasprun.xml; never POTCAR, which is licensed, nor
# wavefunctions and densities.
_KEPT = ("INCAR", "POSCAR", "KPOINTS", "POTCAR.spec", "OUTCAR", "custodian.json")
_HANDED = "pbe.json"
_WAVECAR = "WAVECAR"


def calculate(task: Task, options: Any, workdir: Workdir) -> Outcome:
    """Calculate a task at its level; what goes wrong is returned.

    Raises
    ------
    UserError
        If a POTCAR is not the one of the level: no label can be made until it is.
    """
    deadline = time.monotonic() + workdir.timeout_s
    try:
        if task.level.functional == "PBE":
            return _pbe(task, options, workdir, deadline)
        return _r2scan(task, options, workdir, deadline)
    except potcars.MissingPotcarError as error:
        return Failed(FailureReason.MISSING_PSEUDOPOTENTIAL, f"{error}. {potcars.SET_UP}")
    except OSError as error:
        where = f" ({Path(error.filename).name})" if error.filename else ""
        return Failed(FailureReason.CRASHED, f"on this machine: {error.strerror or error}{where}")


def _pbe(task: Task, options: Any, workdir: Workdir, deadline: float) -> Outcome:
    """Calculate at PBE, and hand over what r2SCAN starts from, or why there is nothing."""
    outcome = _run(task, "PBE", options, workdir, deadline)
    handed: dict[str, Any]
    if isinstance(outcome, Result):
        handed = {
            "energy_eV": outcome.energy_eV,
            "moments_muB": outcome.magmoms_muB,
            "corrections": outcome.corrections,
        }
        if _has_wavefunction(workdir.scratch):
            shutil.move(workdir.scratch / _WAVECAR, workdir.handover / _WAVECAR)
    else:
        handed = {"reason": outcome.reason, "detail": outcome.detail}
    (workdir.handover / _HANDED).write_text(json.dumps(handed), encoding="utf-8")
    return outcome


def _r2scan(task: Task, options: Any, workdir: Workdir, deadline: float) -> Outcome:
    """Calculate at r2SCAN, from what PBE handed over.

    PBE is calculated first if its label came from the store.
    """
    handed = _handed(workdir)
    if handed is None:
        before = replace(workdir, scratch=workdir.scratch / "pbe")
        before.scratch.mkdir()
        _pbe(replace(task, charges=False), options, before, deadline)
        shutil.rmtree(before.scratch)
        handed = json.loads((workdir.handover / _HANDED).read_text(encoding="utf-8"))
    if "reason" in handed:
        return Failed(
            FailureReason(handed["reason"]),
            f"the PBE calculation that it starts from failed: {handed['detail']}",
        )
    if not _has_wavefunction(workdir.handover):
        detail = "the PBE calculation that it starts from wrote no WAVECAR"
        return Failed(FailureReason.CRASHED, detail)
    # Moved, not copied: it may have gigabytes. Another attempt makes a new one.
    shutil.move(workdir.handover / _WAVECAR, workdir.scratch / _WAVECAR)
    outcome = _run(task, "R2SCAN", options, workdir, deadline, handed["moments_muB"])
    if isinstance(outcome, Failed):
        return outcome
    if outcome.energy_eV == handed["energy_eV"]:
        detail = (
            f"the energy is PBE's to the last digit ({outcome.energy_eV} eV): this is not an r2SCAN "
            "calculation"
        )
        return Failed(FailureReason.WRONG_LEVEL, detail)
    start = {"start": "PBE wavefunction and moments", "start_corrections": handed["corrections"]}
    return replace(outcome, settings={**outcome.settings, **start})


def _handed(workdir: Workdir) -> dict[str, Any] | None:
    """Read what PBE handed over: its result with a wavefunction, or its failure.

    None if it has to be calculated.
    """
    path = workdir.handover / _HANDED
    if not path.exists():
        return None
    handed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return handed if "reason" in handed or _has_wavefunction(workdir.handover) else None


def _has_wavefunction(folder: Path) -> bool:
    """Whether there is a WAVECAR.

    VASP makes an empty one if it is asked for none, and starts anew from one.
    """
    path = folder / _WAVECAR
    return path.exists() and path.stat().st_size > 0


def _run(
    task: Task,
    functional: Functional,
    options: Any,
    workdir: Workdir,
    deadline: float,
    moments: Sequence[float] | None = None,
) -> Outcome:
    """Prepare, run, keep, verify one calculation in ``place.scratch``."""
    started = time.monotonic()
    folder = workdir.scratch
    inputs = vasp_inputs.write(
        folder, task, functional, moments, allow_unknown_potcars=options.allow_unknown_potcars
    )
    try:
        corrections, failed = run(options.command, workdir, deadline)
    finally:
        _keep(folder, workdir.keep)
    outcome = (
        failed
        or _stale(folder)
        or result(
            inputs,
            folder,
            run_file=workdir.keep / "vasprun.xml",
            version=options.vasp_version,
            wall_s=time.monotonic() - started,
            isolated=task.isolated,
        )
    )
    if isinstance(outcome, Result):
        charges = bader_charges(task, inputs, folder) if task.charges else None
        return replace(outcome, corrections=corrections, charges=charges)
    done = f" (after {'; '.join(corrections)})" if corrections else ""
    return replace(outcome, detail=f"{outcome.detail}{done}")


def _keep(folder: Path, keep: Path) -> None:
    """Copy what is worth keeping of an attempt, however it ended."""
    for name in _KEPT:
        if (folder / name).exists():
            shutil.copyfile(folder / name, keep / name)
    if (folder / "vasprun.xml").exists():
        trim(folder / "vasprun.xml", keep / "vasprun.xml")


def _stale(folder: Path) -> Failed | None:
    """Find outputs that are missing, or older than this try."""
    began = (folder / STARTED).stat().st_mtime_ns
    for name in ("vasprun.xml", "OUTCAR"):
        if not (folder / name).exists():
            return Failed(FailureReason.CRASHED, f"VASP wrote no {name}")
        if (folder / name).stat().st_mtime_ns < began:
            return Failed(
                FailureReason.CRASHED, f"{name} is older than the calculation: it belongs to another run"
            )
    return None
