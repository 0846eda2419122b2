"""Run VASP under custodian, record its corrections; every process has a supervisor."""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from custodian.custodian import Custodian, CustodianError, ErrorHandler, Job
from custodian.vasp.handlers import StdErrHandler, UnconvergedErrorHandler, VaspErrorHandler

from pesatlas.label.backend import Failed, Workdir
from pesatlas.label.command import command_line
from pesatlas.label.vasp.strip_outputs import OUTPUT, is_unconverged, trim
from pesatlas.runtime import supervise
from pesatlas.tables import FailureReason

MAX_CORRECTIONS = 5
# A look at the process costs nothing, a look for errors reads INCAR and VASP's printout.
_POLL_S, _POLLS_PER_LOOK = 0.25, 240
STARTED = ".started"
_NO_ROOM = re.compile(rb'(<i type="int" name="[^"]*">)\s*\*+\s*<')
# What VASP writes; none of it may be there from an earlier try. WAVECAR stays: a corrected try starts from
# it.
_OUTPUTS = (
    *("OUTCAR", "vasprun.xml", "OSZICAR", "CONTCAR", "XDATCAR", "EIGENVAL", "DOSCAR", "PROCAR"),
    OUTPUT,
)

# Errors that cannot happen in a static calculation with KSPACING and Gaussian smearing, or whose cure makes
# another structure: an ended run says more than a corrected one that is quarantined.
_NOT_HANDLED = {
    *("tet", "tetirr", "dentet", "incorrect_shift", "algo_tet"),  # tetrahedra, shifted meshes
    *("brions", "fexcf", "spin_polarized_harris"),  # moving ions
    *("dfpt_ncore", "elf_kpar", "elf_ncl"),  # response functions, ELF
    "triple_product",  # swaps axes; the cell is right-handed already
    "auto_nbands",  # only warns
}


class OutOfTimeError(Exception):
    """There is no time left for another try."""


class _Unconverged(UnconvergedErrorHandler):
    """As custodian's, but spares it a large file.

    Counts the steps of the SCF, and drops what is not looked at.
    """

    # It would go round: All, other mixing with Normal, All again, each for NELM steps.
    max_num_corrections = 2

    def check(self, directory: str = "./") -> bool:
        return is_unconverged(Path(directory) / "vasprun.xml")

    def correct(self, directory: str = "./") -> dict[str, Any]:
        path = Path(directory) / "vasprun.xml"
        trimmed = trim(path, path.with_suffix(".trimmed"))
        # pymatgen, which custodian reads it with, stops at an integer that VASP had no room for. The try is
        # over: no label is read from this file.
        path.write_bytes(_NO_ROOM.sub(rb"\1 0 <", trimmed.read_bytes()))
        trimmed.unlink()
        return dict(super().correct(directory))


class _Custodian(Custodian):
    """Custodian for several threads: its handlers share a cache that one thread may clear under another."""

    _checking = Lock()

    def _do_check(self, handlers: Any, terminate_func: Any = None) -> bool:
        with self._checking:
            return bool(super()._do_check(handlers, terminate_func))


@dataclass
class VaspJob(Job):
    """One calculation, tried again after each correction.

    Attributes
    ----------
    deadline : when the attempt's time is up, by ``time.monotonic``
    status : exit status of the latest try
    """

    command: list[str]
    workdir: Workdir
    deadline: float
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def setup(self, directory: str = "./") -> None:
        """Do nothing: the inputs are there."""

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start VASP, alone with its inputs."""
        folder = Path(directory)
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        for name in _OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        (folder / STARTED).write_bytes(b"")
        # The job's own value is all its cores, for each of VASP's ranks. Hybrid: `env OMP_NUM_THREADS=2 srun
        # ...`.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = supervise.start(
            self.command, folder, folder / OUTPUT, left, cpus=self.workdir.cpus, environment=environment
        )
        return self.process

    def terminate(self, directory: str = "./") -> None:  # noqa: ARG002 - custodian's interface
        """End VASP and everything it started."""
        if self.process is not None:
            supervise.stop(self.process)

    def postprocess(self, directory: str = "./") -> None:
        """Do nothing: outputs are read by the backend."""

    def as_dict(self) -> dict[str, Any]:
        """Return the record of the job in custodian.json."""
        return {"@module": __name__, "@class": "VaspJob", "command": self.command}

    @property
    def status(self) -> int | None:
        """Exit status of the latest try."""
        return None if self.process is None else self.process.returncode


def handlers() -> list[ErrorHandler]:
    """Return custodian's handlers for static calculations, in order of trust.

    Left out, each for a reason: LargeSigma, KspacingMetal and IncorrectSmearing change the level (large
    entropies are for the dataset's rule ``entropy``, which flags them by default); PositiveEnergy loops
    without ionic steps and an atom's energy may be positive; NonConverging, Potim, MaxForce and Drift are
    about ionic steps; FrozenJob and Walltime have no cure for a static, whose time is limited by the
    supervisor; MeshSymmetry does nothing with KSPACING; Aliasing does not occur with PREC = Accurate.
    """
    errors = [name for name in VaspErrorHandler.error_msgs if name not in _NOT_HANDLED]
    return [
        VaspErrorHandler(output_filename=OUTPUT, errors_subset_to_catch=errors),
        StdErrHandler(output_filename=OUTPUT),
        _Unconverged(),
    ]


def run(command: str, workdir: Workdir, deadline: float) -> tuple[list[str], Failed | None]:
    """Run VASP in ``place.scratch``; return what was corrected, and what went wrong in the end, if anything.

    Parameters
    ----------
    deadline : float
        When the time is up, by ``time.monotonic``.
    """
    job = VaspJob(command_line(command, workdir.cores, workdir.cpus), workdir, deadline)
    custodian = _Custodian(
        handlers(),
        [job],
        max_errors=MAX_CORRECTIONS,
        polling_time_step=_POLL_S,
        monitor_freq=_POLLS_PER_LOOK,
        skip_over_errors=True,  # a handler that trips over a torn file must not hide how VASP ended
        directory=str(workdir.scratch),
    )
    failed: Failed | None = None
    try:
        custodian.run()
    except OutOfTimeError:
        failed = _timeout(workdir)
    except CustodianError as error:
        failed = _explained(job, custodian, error, workdir)
    finally:
        job.terminate()
    return [_correction_text(correction) for correction in _corrections(custodian)], failed


def _explained(job: VaspJob, custodian: Custodian, error: CustodianError, workdir: Workdir) -> Failed:
    """Return why custodian gave up."""
    if job.status == supervise.TIMED_OUT:
        return _timeout(workdir)
    corrections = _corrections(custodian)
    if job.status in supervise.KILLED or any("out_of_memory" in each["errors"] for each in corrections):
        said = "was killed, as the system does when" if job.status in supervise.KILLED else "says that"
        detail = f"VASP {said} memory is used up: give the job more, or more cores to each calculation"
        return Failed(FailureReason.OUT_OF_MEMORY, detail)
    if custodian.run_log and custodian.run_log[-1].get("nonzero_return_code"):
        return Failed(
            FailureReason.CRASHED, f"VASP ended with status {job.status}: {_last_words(workdir.scratch)}"
        )
    errors = sorted({name for correction in corrections for name in correction["errors"]})
    made = len([correction for correction in corrections if correction["actions"]])
    detail = f"{', '.join(errors) or error.message}: {made} corrections did not help"
    return Failed(FailureReason.NOT_CONVERGED, detail)


def _timeout(workdir: Workdir) -> Failed:
    return Failed(
        FailureReason.TIMEOUT,
        f"ended after {workdir.timeout_s:.0f} s: raise label.timeout_min, and label.attempts to try again",
    )


def _corrections(custodian: Custodian) -> list[dict[str, Any]]:
    log = custodian.run_log[-1] if custodian.run_log else {}
    return [correction for correction in log.get("corrections", []) if not correction.get("skipped")]


def _correction_text(correction: dict[str, Any]) -> str:
    """One correction as text: handler, errors, actions."""
    done = [_action(action) for action in correction["actions"] or []]
    name = type(correction["handler"]).__name__.lstrip("_")
    return f"{name}: {', '.join(sorted(correction['errors']))}: {'; '.join(done) or 'no cure'}"


def _action(action: dict[str, Any]) -> str:
    what = action["action"]
    target = action.get("dict") or action.get("file")
    if "_set" in what:
        values = (
            "..."
            if target == "POSCAR"
            else ", ".join(f"{key} = {value}" for key, value in what["_set"].items())
        )
        return f"{target} {values}"
    if "_unset" in what:
        return f"{target} without {', '.join(what['_unset'])}"
    if "_file_copy" in what:
        return f"{what['_file_copy']['dest']} from {target}"
    return f"{target} deleted"


def _last_words(folder: Path) -> str:
    """Last line that VASP printed."""
    try:
        with (folder / OUTPUT).open("rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - 2000))
            lines = handle.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "it printed nothing"
    return lines[-1].strip()[:200] if lines else "it printed nothing"
