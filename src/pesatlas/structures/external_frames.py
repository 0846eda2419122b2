"""Frames of external datasets as a table of snapshots: labelled already, or to be thinned."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pesatlas import __version__
from pesatlas.config.section import digest
from pesatlas.dynamics.distance import min_distance
from pesatlas.errors import UserError
from pesatlas.runtime.progress import Progress
from pesatlas.structures import readers
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.crystal_names import sanitised
from pesatlas.structures.sources.files import expand
from pesatlas.tables import TableWriter, write_table
from pesatlas.tables.failures import failure_row

log = logging.getLogger(__name__)


class Origin(NamedTuple):
    """A file, and the place of an entry in it, from 0."""

    path: Path
    place: int


EXTERNAL = "given"
"""Variant and condition of frames that come from files."""


def read_external(paths: list[str], snapshots: Path, failures: Path) -> list[Origin]:
    """Write the frames of files, folders and globs as table ``snapshots``, without predictions.

    A frame is ``NAME:given:given:NUMBER``, numbered through all files. What is no periodic structure becomes
    a row of failures. Returned is where each frame stands.

    Raises
    ------
    UserError
        If a path does not exist, or nothing in them is a periodic structure.
    """
    rejected: list[Rejected] = []
    doubts: Counter[str] = Counter()
    origins: list[Origin] = []
    progress = Progress("frames read")
    with TableWriter(snapshots, "snapshots", digest(*paths)) as writer:
        waiting: list[dict[str, Any]] = []
        for origin, found in _read(paths):
            progress.step()
            if isinstance(found, Rejected):
                rejected.append(found)
                continue
            origins.append(origin)
            doubts.update(warning.removeprefix(f"{found.source}: ") for warning in found.warnings)
            waiting.append(_row(found, writer.rows + len(waiting)))
            if len(waiting) == 1024:
                writer.write(waiting)
                waiting = []
        writer.write(waiting)
        if not writer.rows:
            why = f" The first problem: {rejected[0].detail}" if rejected else ""
            raise UserError(f"{', '.join(paths)}: no periodic structure found.{why}")
        frames = writer.rows
    rows = [failure_row("structures", r.structure_id, r.structure_id, r.reason, r.detail) for r in rejected]
    write_table(failures, "failures", rows, digest(*paths))
    log.info("%d frames read from %s", frames, ", ".join(paths))
    for doubt, times in doubts.items():
        log.warning("%d frames: %s", times, doubt)
    if rejected:
        reasons = Counter(r.reason.value for r in rejected)
        log.warning(
            "%d entries are not usable structures (%s); see %s. The first: %s",
            len(rejected),
            ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())),
            failures,
            rejected[0].detail,
        )
    return origins


def _read(paths: list[str]) -> Iterator[tuple[Origin, Crystal | Rejected]]:
    for path in dict.fromkeys(path for text in paths for path in expand(text)):
        for place, found in enumerate(readers.read_file(path)):
            yield Origin(path, place), found


def _row(crystal: Crystal, number: int) -> dict[str, Any]:
    """One row of table ``snapshots``."""
    name = sanitised(crystal.structure_id) or "unnamed"
    return {
        "snapshot_id": f"{name}:{EXTERNAL}:{EXTERNAL}:{number}",
        "structure_id": name,
        "variant": EXTERNAL,
        "domain": EXTERNAL,
        "condition": EXTERNAL,
        "ensemble": "none",
        "temperature_K": np.nan,
        "pressure_GPa": np.nan,
        "step": number,
        "n_atoms": len(crystal.numbers),
        "numbers": crystal.numbers.tolist(),
        "cell_A": crystal.cell.ravel().tolist(),
        "positions_A": crystal.positions.ravel().tolist(),
        "time_fs": 0.0,
        "instant_temperature_K": None,
        "mlip_energy_eV": None,
        "mlip_stress_eV_per_A3": None,
        "mlip_max_force_eV_per_A": None,
        "min_distance_A": min_distance(crystal.cell, crystal.positions),
        "potential": "none",
        "potential_hash": "none",
        "source": crystal.source,
        "code_version": __version__,
    }
