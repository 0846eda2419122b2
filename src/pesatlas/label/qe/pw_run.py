"""Runs of pw.x, tried again with another route to the same solution where that helps."""

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pesatlas.label.backend import Failed, Workdir
from pesatlas.label.command import command_line
from pesatlas.label.qe.inputs import INPUT, OUT, Inputs, write
from pesatlas.runtime import supervise
from pesatlas.tables import FailureReason

OUTPUT = "pw.out"
_TAIL = 200_000
_ERROR = re.compile(r"Error in routine\s+(\S+)\s*\((-?\d+)\):\s*\n\s*(.+)")
_NOT_CONVERGED = re.compile(r"convergence NOT achieved after\s+(\d+) iterations")
_DIAGONALISATION = re.compile(
    r"Error in routine\s+\w*(?:diaghg|c_bands|egterg)\w*|too many bands are not converged|"
    r"S matrix not positive definite|problems computing cholesky",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(
    r"cannot allocate memory|error allocating|insufficient virtual memory|out of memory|oom-kill|"
    r"on signal 9 \(killed\)",
    re.IGNORECASE,
)
_NO_FILE = re.compile(r"Error in routine\s+read\w*pp\w*.*\n.*not found", re.IGNORECASE)


@dataclass(frozen=True)
class _Trouble:
    """Something that a remedy may cure.

    Attributes
    ----------
    sign : what pw.x prints of it
    remedies : keys of the namelist ``electrons``, one set after the other; each leads to the same solution
    """

    name: str
    sign: re.Pattern[str]
    remedies: tuple[dict[str, Any], ...]


TROUBLES = (
    _Trouble(
        "the SCF did not converge",
        _NOT_CONVERGED,
        ({"mixing_beta": 0.2}, {"mixing_beta": 0.1, "mixing_mode": "local-TF"}),
    ),
    _Trouble("the diagonalisation failed", _DIAGONALISATION, ({"diagonalization": "cg"},)),
)


def run(
    command: str, inputs: Inputs, workdir: Workdir, deadline: float
) -> tuple[dict[str, Any], list[str], Failed | None]:
    """Run pw.x in ``place.scratch`` until it ends well or no remedy is left.

    Parameters
    ----------
    deadline : float
        When the time is up, by ``time.monotonic``.

    Returns
    -------
    changed keys of the namelist ``electrons``; corrections in words; what went wrong in the end, if anything
    """
    changed: dict[str, Any] = {}
    corrections: list[str] = []
    left = {trouble.name: list(trouble.remedies) for trouble in TROUBLES}
    while True:
        write(inputs, workdir.scratch, changed)
        status = _start(command, workdir, deadline)
        if status == supervise.TIMED_OUT:
            return changed, corrections, _timeout(workdir)
        output = tail(workdir.scratch / OUTPUT)
        trouble = next((each for each in TROUBLES if each.sign.search(output)), None)
        if trouble is None:
            return changed, corrections, _failed(status, output)
        if not left[trouble.name]:
            detail = f"{trouble.name}, and no remedy helped: {last_words(output)}"
            return changed, corrections, Failed(FailureReason.NOT_CONVERGED, detail)
        remedy = left[trouble.name].pop(0)
        changed |= remedy
        keys = ", ".join(f"{key} = {value}" for key, value in remedy.items())
        corrections.append(f"{trouble.name}: {keys}")


def _start(command: str, workdir: Workdir, deadline: float) -> int:
    """Run pw.x once, with nothing left of an earlier try; return its status."""
    folder = workdir.scratch
    shutil.rmtree(folder / OUT, ignore_errors=True)
    for name in (OUTPUT, "CRASH"):
        (folder / name).unlink(missing_ok=True)
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        return supervise.TIMED_OUT
    # The job's own value is all its cores, for each rank. Hybrid: `env OMP_NUM_THREADS=2 srun ...`.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [*command_line(command, workdir.cores, workdir.cpus), "-in", INPUT]
    return supervise.start(
        words, folder, folder / OUTPUT, seconds, cpus=workdir.cpus, environment=environment
    ).wait()


def _failed(status: int, output: str) -> Failed | None:
    """Return what went wrong in a run that no remedy is for."""
    if _NO_FILE.search(output):
        return Failed(FailureReason.MISSING_PSEUDOPOTENTIAL, last_words(output))
    if status in supervise.KILLED or (status != 0 and _NO_MEMORY.search(output)):
        detail = "pw.x was killed or says so, as where memory is used up: give the job more, or more cores"
        return Failed(FailureReason.OUT_OF_MEMORY, f"{detail} ({last_words(output)})")
    if status != 0 or _ERROR.search(output):
        return Failed(FailureReason.CRASHED, f"pw.x ended with status {status}: {last_words(output)}")
    return None


def _timeout(workdir: Workdir) -> Failed:
    return Failed(
        FailureReason.TIMEOUT,
        f"ended after {workdir.timeout_s:.0f} s: raise label.timeout_min, and label.attempts to try again",
    )


def tail(path: Path) -> str:
    """Return the end of what pw.x printed."""
    if not path.exists():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - _TAIL))
        return handle.read().decode(errors="replace")


def last_words(output: str) -> str:
    """Return pw.x's error, or the last line it printed."""
    if found := _ERROR.search(output):
        return f"{found[1]}: {found[3].strip()[:200]}"
    if found := _NOT_CONVERGED.search(output):
        return f"no convergence in {found[1]} SCF steps"
    lines = output.strip().splitlines()
    return lines[-1].strip()[:200] if lines else "it printed nothing"
