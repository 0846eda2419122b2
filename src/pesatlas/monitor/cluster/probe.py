"""A test process on a compute node: environment, locks, one label; ``python -m`` with a task file.

The login node reads the file of results as it grows; it is replaced whole at every step.
"""

import fcntl
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from pesatlas import __version__
from pesatlas.campaign.load import read_campaign
from pesatlas.config import plugins
from pesatlas.config.campaign import Campaign
from pesatlas.config.label import MLIP
from pesatlas.config.plugins import EXTENSIONS
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Task, Workdir
from pesatlas.label.isolated_atoms import task_of_atom
from pesatlas.label.scratch import scratch_folder
from pesatlas.levels.lookup import levels_of

_POLL_S = 0.5
_MB = 1_000_000
_CRYSTAL_A = 3.5
"""Edge of the cubic cell of one atom for backends that calculate no isolated atoms."""

Finding = tuple[bool, str, str]
"""All is well, what was found, how to mend it."""


def main(task_file: Path) -> None:
    """Do what ``task_file`` asks for, and write the findings beside it."""
    task = json.loads(task_file.read_text(encoding="utf-8"))
    results = Results(task_file.with_suffix(".result.json"))
    campaign = read_campaign(Path(task["config"]))
    os.environ["OMP_NUM_THREADS"] = str(task["cores"])
    with ExitStack() as stack:
        results.step("environment", lambda: environment(campaign, task))
        results.step("locks", lambda: locks(task, stack))
        if task["gpus"]:
            results.step("GPU", lambda: gpus(task["gpus"]))
        results.step("scratch", lambda: scratch(campaign.label.scratch))
        if task["element"]:
            results.step("label", lambda: label(campaign, task["element"], task["label_s"]))
        results.finish()
        # the job on the other node tries locks that this one holds
        deadline = time.time() + task["hold_s"]
        while not Path(task["until"]).exists() and time.time() < deadline:
            time.sleep(_POLL_S)


class Results:
    """The file of results, step by step."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Any] = {
            "node": platform.node(),
            "slurm_node": os.environ.get("SLURMD_NODENAME", ""),
            "started": time.time(),
            "steps": {},
            "finished": False,
        }
        self._write()

    def step(self, name: str, look: Callable[[], Finding]) -> None:
        """Take one step; an error for people is a finding, any other ends the job, and its log says more."""
        started = time.monotonic()
        try:
            ok, text, remedy = look()
        except (UserError, OSError, ImportError) as error:
            ok, text, remedy = False, str(error), ""
        seconds = round(time.monotonic() - started, 1)
        self.found["steps"][name] = {"ok": ok, "text": text, "remedy": remedy, "seconds": seconds}
        self._write()

    def finish(self) -> None:
        """Write that all steps are taken."""
        self.found["finished"] = True
        self._write()

    def _write(self) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(self.found), encoding="utf-8")
        temporary.replace(self.file)


def environment(campaign: Campaign, task: dict[str, Any]) -> Finding:
    """Find Python, this package, and the program that labels."""
    text = f"Python {platform.python_version()}, pesatlas {__version__}"
    if __version__ != task["version"]:
        return (
            False,
            f"{text}, not {task['version']}",
            f"a job must find the environment of the login node, {task['python']}",
        )
    command = getattr(campaign.label.backend, "command", None)
    if command is None or not task["element"]:
        return True, text, ""
    program = shlex.split(command)[0]
    if shutil.which(program) is None:
        return (
            False,
            f"{text}, no {program}",
            (
                "load its modules before `pesatlas run` (jobs inherit your shell), or name it by its path in "
                "label.backend.command"
            ),
        )
    return True, f"{text}, {Path(program).name}", ""


def locks(task: dict[str, Any], stack: ExitStack) -> Finding:
    """Try locks that another machine holds, and take those that this one is to hold."""
    remedy = (
        "put campaign and store on a file system whose locks hold between nodes (NFS: mounted without nolock "
        "and local_lock; Lustre: with -o flock, not localflock); without, two jobs may write the same file"
    )
    for path in task["held"]:
        with Path(path).open("r+") as handle:
            if _take(handle):
                return (
                    False,
                    f"{platform.node()} was granted the lock {path} that another machine holds",
                    remedy,
                )
    for path in task["hold"]:
        handle = stack.enter_context(Path(path).open("w"))  # noqa: SIM115 - the stack closes it
        if not _take(handle):
            return False, f"the lock {path} could not be taken", remedy
    return True, f"hold, between {' and '.join(task['between'])}", ""


def _take(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def gpus(wanted: int) -> Finding:
    """Find GPUs that torch can use, by a product of matrices on each."""
    import torch  # noqa: PLC0415 - slow to import

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    remedy = (
        "the driver of the nodes and the CUDA of torch must match: `python -c 'import torch; "
        "print(torch.version.cuda)'` and nvidia-smi in a job"
    )
    if seen < wanted:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        return (
            False,
            f"torch {torch.__version__} sees {seen} of {wanted} (CUDA_VISIBLE_DEVICES {visible})",
            remedy,
        )
    for i in range(seen):
        square = torch.ones(64, 64, device=f"cuda:{i}")
        (square @ square).sum().item()
    return True, f"{seen} {torch.cuda.get_device_name(0)}", ""


def scratch(parent: Path | None) -> Finding:
    """Write a file where calculations run."""
    root = parent or Path(tempfile.gettempdir())
    try:
        with scratch_folder(parent) as folder, (folder / "tried").open("wb") as handle:
            handle.write(os.urandom(_MB))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        return (
            False,
            f"{root}: {error.strerror or error}",
            "name a folder of the node in label.scratch that you may write to",
        )
    return True, f"{root}, {shutil.disk_usage(root).free / 1e9:.0f} GB free", ""


def label(campaign: Campaign, number: int, longest_s: float) -> Finding:
    """Calculate one atom at the first level of the campaign, as a label job does."""
    backend: Any = campaign.label.backend
    name, level = next(iter(levels_of(backend, campaign.label.levels).items()))
    if backend.kind == MLIP:
        import numpy as np  # noqa: PLC0415 - only here

        atom = Task(np.array([number]), np.eye(3) * _CRYSTAL_A, np.zeros((1, 3)), level)
    else:
        atom = task_of_atom(number, level)
    with scratch_folder(campaign.label.scratch) as top:
        folders = [top / each for each in ("run", "keep", "shared")]
        for folder in folders:
            folder.mkdir()
        run, keep, shared = folders
        calculate = plugins.find(EXTENSIONS["label.backend"], backend.kind).calculate
        place = Workdir(
            run, keep, shared, min(campaign.label.timeout_min * 60, longest_s), campaign.label.cores
        )
        outcome = calculate(atom, backend, place)
    if isinstance(outcome, Failed):
        return (
            False,
            f"{backend.kind}, {name}: {outcome.reason}: {outcome.detail}",
            "see the job's log, and `pesatlas doctor`",
        )
    return True, f"{backend.kind}, {name}: {outcome.energy_eV:.3f} eV", ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
