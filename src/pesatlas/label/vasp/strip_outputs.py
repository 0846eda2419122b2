"""Strip orbital projections and densities of states, most of the bytes, from VASP's outputs."""

import mmap
import os
import re
from pathlib import Path

from pesatlas.label.bad_output import BadOutputError, TornError
from pesatlas.label.vasp.outcar import Outcar, read_outcar
from pesatlas.label.vasp.vasprun import Run, band_gap, read_run

__all__ = [
    "OUTPUT",
    "BadOutputError",
    "Outcar",
    "Run",
    "TornError",
    "band_gap",
    "is_unconverged",
    "read_outcar",
    "read_run",
    "trim",
]

OUTPUT = "vasp.out"
_SKIPPED = ("dos", "projected")


def is_unconverged(path: Path) -> bool:
    """Whether a whole ``vasprun.xml`` ran into NELM; a torn or missing one says nothing and gives False."""
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            whole = data.rfind(b"</modeling>") >= 0
            limit = re.search(rb'name="NELM">\s*(\d+)', data)
            return bool(whole and limit and len(re.findall(rb"<scstep>", data)) >= int(limit[1]))
    except (OSError, ValueError):
        return False


def trim(source: Path, target: Path) -> Path:
    """Copy ``vasprun.xml`` without densities of states and orbital projections; return the copy."""
    with source.open("rb") as handle, target.open("wb") as out:
        if os.fstat(handle.fileno()).st_size == 0:
            return target
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            position = 0
            while (found := _next_skipped(data, position)) is not None:
                start, end = found
                out.write(data[position:start])
                position = end
            out.write(data[position:])
    return target


def _next_skipped(data: mmap.mmap, position: int) -> tuple[int, int] | None:
    """Return start and end of the next element that is skipped; one that is torn is not."""
    spans = []
    for name in _SKIPPED:
        start = data.find(f"<{name}>".encode(), position)
        end = data.find(f"</{name}>".encode(), start) if start >= 0 else -1
        if end >= 0:
            spans.append((start, end + len(name) + 3))
    return min(spans, default=None)
