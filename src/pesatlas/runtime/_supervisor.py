"""The supervisor: ``python -I -S _supervisor.py TIMEOUT GRACE PARENT CPUS COMMAND...``.

It adopts every process that its program's processes leave behind (Linux: child subreaper), so that it finds
them all when it is time to end them, and it is told by the kernel when the process that started it dies.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_TIMED_OUT, _CANNOT_START = 124, 127
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def prctl(option: int, value: int) -> None:
    """Call prctl(2), where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def begin_as_child() -> None:
    """Prepare the program, between fork and exec."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.setsid()
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants() -> list[int]:
    """Process ids of everything that stems from this process (Linux), read from /proc."""
    parents = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as handle:
                    parents[int(name)] = int(handle.read().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended meanwhile
    found = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {os.getpid()})
        found |= more


def send(pid: int, number: int, *, group: bool = False) -> None:
    """Send a signal to a process, or to its group; it may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)


def kill_all(program: int) -> None:
    """Kill what is left, again and again, for a process may fork while it is looked for."""
    send(program, signal.SIGKILL, group=True)
    while True:
        for pid in descendants():
            send(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def reap(program: int) -> int | None:
    """Collect ended children; return the wait status of the program if it is among them."""
    status = None
    try:
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return status
            if pid == program:
                status = ended
    except ChildProcessError:
        return status


def wait(program: int, deadline: float) -> tuple[int | None, bool]:
    """Wait until the program ends, its time is up, or we are told to end.

    Return its wait status, and whether we were told.
    """
    while True:
        status = reap(program)
        if status is not None:
            return status, False
        left = deadline - time.monotonic()
        if left <= 0:
            return None, False
        heard = signal.sigtimedwait(_SIGNALS, min(left, 3600.0))
        if heard is not None and heard.si_signo != signal.SIGCHLD:
            return None, True


def main(timeout_s: float, grace_s: float, parent: int, cpus: list[int], command: list[str]) -> int:
    """Run ``command``; return the exit status for this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        # kept: when this object goes, it collects the program's status itself if it has ended, and nobody
        # else ever hears of it
        process = subprocess.Popen(command, preexec_fn=begin_as_child)  # noqa: PLW1509 - no threads here
    except OSError as error:
        print(f"{command[0]} does not start: {error.strerror}", flush=True)  # noqa: T201 - into the output file
        return _CANNOT_START
    program = process.pid
    status, told = wait(program, time.monotonic() + timeout_s)
    if status is None:
        # launchers such as srun end the processes of other nodes when they are asked to, and cannot when they
        # are killed
        send(program, signal.SIGTERM, group=True)
        wait(program, time.monotonic() + grace_s)
    kill_all(program)
    if status is None:
        return 128 + signal.SIGTERM if told else _TIMED_OUT
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    _, timeout, grace, parent_id, cores, *words = sys.argv
    sys.exit(
        main(float(timeout), float(grace), int(parent_id), [int(c) for c in cores.split(",") if c], words)
    )
