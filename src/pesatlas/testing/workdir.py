"""A work folder for one calculation, as a label job makes it, and processes left in it."""

from pathlib import Path
from typing import Any

from pesatlas.label.backend import Workdir


def make_workdir(folder: Path, timeout_s: float = 120.0, **about: Any) -> Workdir:
    """Return a ``Workdir`` with its three folders below ``folder``, which are made."""
    scratch, keep, handover = (folder / name for name in ("scratch", "keep", "handover"))
    for path in (scratch, keep, handover):
        path.mkdir(parents=True, exist_ok=True)
    return Workdir(scratch, keep, handover, timeout_s, **about)


def alive(folder: Path) -> list[str]:
    """Return the processes that work in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if (process / "cwd").readlink().is_relative_to(folder) else []
        except OSError:
            continue
    return found
