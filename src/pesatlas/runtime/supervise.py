"""External programs under a supervisor; none of their processes outlives the job."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from weakref import WeakSet

from pesatlas.runtime._supervisor import PR_SET_CHILD_SUBREAPER, prctl

TIMED_OUT = 124
"""Exit status of a program that was ended because its time was up, as of the command ``timeout``."""

KILLED = frozenset({128 + signal.SIGKILL, -signal.SIGKILL})
"""Exit statuses of a program that got SIGKILL, or whose supervisor did, without its time being up.

So the system ends what uses too
much memory.
"""

_PROGRAM = Path(__file__).with_name("_supervisor.py")
_PATIENCE_S = 30.0
_started: WeakSet[subprocess.Popen[bytes]] = WeakSet()


def start(
    command: Sequence[str],
    folder: Path,
    output: Path,
    timeout_s: float,
    *,
    cpus: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    grace_s: float = 5.0,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``folder`` under a supervisor, and return the supervisor's process.

    The supervisor ends when the program does, with its status (128 + signal if a signal ended it,
    ``TIMED_OUT`` after ``timeout_s``). Before it ends it kills whatever the program left behind, in whatever
    session or process group. If this process dies, however suddenly, it does the same. Starting a supervisor
    costs 20 ms.

    Parameters
    ----------
    output : Path
        File for what the program prints.
    cpus : sequence of int
        Cores the program may use; empty: all that this process may.
    grace_s : float
        Time between SIGTERM and SIGKILL when the program has to end.
    """
    arguments = [repr(timeout_s), repr(grace_s), str(os.getpid()), ",".join(map(str, cpus))]
    with output.open("ab") as handle:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM), *arguments, *command],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    _started.add(process)
    return process


def is_supervisor(command: Sequence[str]) -> bool:
    """Tell whether a process with this command line is a supervisor."""
    return str(_PROGRAM) in command


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a supervised program and everything it started; return when all of it is gone."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_all() -> None:
    """End every program that this process started and that still runs."""
    running = [process for process in _started if process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        stop(process)


def share_cores(parallel: int, cores: int) -> list[tuple[int, ...]]:
    """Cores for each of ``parallel`` programs of ``cores`` cores out of those this job may use.

    Empty tuples if there are too few.
    """
    if sys.platform != "linux":
        return [()] * parallel
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < parallel * cores:
        return [()] * parallel
    return [tuple(mine[k * cores : (k + 1) * cores]) for k in range(parallel)]


def adopt_orphans() -> None:
    """Adopt orphaned processes below this one (Linux), so that they can be found and ended."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
