"""Check that the process of a recorded number still runs."""

import os
import socket
import sys
from pathlib import Path

_CLOCK_S = 5.0
"""Correction of the system's clock that is possible since the process started."""


def is_alive(pid: int, host: str, since: float) -> bool | None:
    """Return whether process ``pid`` of ``host``, which ran at ``since`` (s since 1970), still runs.

    None: not to be told from here.
    """
    if host != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    if sys.platform != "linux":
        return True
    try:
        state, begun = _state_and_start(pid)
    except (OSError, ValueError):
        return False
    # a process that began later got the number of one that is gone
    return state != "Z" and begun <= since + _CLOCK_S


def is_suspended(pid: int) -> bool:
    """Return whether process ``pid`` of this machine is stopped (Ctrl-Z, SIGSTOP).

    Where that cannot be seen: no.
    """
    try:
        return _state_and_start(pid)[0] == "T"
    except (OSError, ValueError):
        return False


def _state_and_start(pid: int) -> tuple[str, float]:
    """Return the state of a process and when it began (s since 1970)."""
    # the name, in parentheses, may hold anything; 20 fields from its end to the start time
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    )
    boot = next(
        float(line.split()[1])
        for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines()
        if line.startswith("btime ")
    )
    return fields[0], boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
