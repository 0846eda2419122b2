"""Frames of somebody's simulation: read from any file, each with the condition that it was made under."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pesatlas.errors import UserError
from pesatlas.frames import xyz
from pesatlas.frames.comment import parse_comment
from pesatlas.structures import readers
from pesatlas.structures.external_frames import Origin, read_external

_QUANTITIES = {"temperature_K": "K", "pressure_GPa": "GPa"}
_PARTS = ("first third", "second third", "last third")
_FEWEST_FOR_PARTS = 30
"""Frames of a file whose parts are told apart; a shorter one is one condition."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """One frame of a run.

    Attributes
    ----------
    row : snapshot_id, structure_id and n_atoms, as in table ``snapshots``
    step : row of that table
    file : as the user names it
    place : in that file, from 0
    condition : temperature and pressure if its file has them, else the file and which third of it
    """

    row: Row
    step: int
    file: str
    place: int
    condition: str


def read_frames(files: Sequence[str], snapshots: Path) -> list[Frame]:
    """Read the frames of a run, and write them as table ``snapshots``.

    Files of ASE (.traj), XDATCAR and vasprun.xml are read by ASE; all others as by ``pesatlas select``.

    Raises
    ------
    UserError
        If a file does not exist, or nothing in them is a periodic structure.
    """
    given: dict[Path, str] = {}
    read = [_converted(text, snapshots.parent, given) for text in files]
    origins = read_external(read, snapshots, snapshots.with_name("frames-failures.parquet"))
    rows = pq.read_table(snapshots, columns=["snapshot_id", "structure_id", "n_atoms"]).to_pylist()
    conditions = _conditions(origins, given)
    return [
        Frame(row, step, given.get(origin.path, str(origin.path)), origin.place, condition)
        for step, (row, origin, condition) in enumerate(zip(rows, origins, conditions, strict=True))
    ]


def geometries(frames: Sequence[Frame], snapshots: Path) -> list[Row]:
    """Return numbers, cell_A and positions_A of a few frames of ``read_frames``."""
    table = pq.read_table(snapshots, columns=["numbers", "cell_A", "positions_A"])
    return table.take(pa.array([frame.step for frame in frames], pa.int64())).to_pylist()


def _converted(text: str, work: Path, given: dict[Path, str]) -> str:
    """Return a file that our readers know, and note in ``given`` what it was made of."""
    path = Path(text).expanduser()
    name = path.name.lower()
    kind = (
        "traj"
        if name.endswith(".traj")
        else "vasp-xdatcar"
        if name.startswith("xdatcar")
        else "vasp-xml"
        if name.startswith("vasprun") and name.endswith(".xml")
        else None
    )
    if kind is None:
        return text
    if not path.is_file():
        raise UserError(f"{text}: no such file (looked from {Path.cwd()}). Correct the path.")
    from ase import Atoms  # noqa: PLC0415 - ase is slow to import
    from ase.io import iread  # noqa: PLC0415
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415

    made = work / f"{len(given)}-{path.stem}.extxyz"
    count = 0
    try:
        with warnings.catch_warnings(), made.open("w", encoding="utf-8") as file:
            warnings.simplefilter("ignore")
            for count, atoms in enumerate(iread(path, ":", format=kind), 1):
                # without labels: those of another level would be read, too
                plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
                plain.info["structure_id"] = f"{path.stem}-{count - 1:05d}"
                write_extxyz(file, [plain])
    except Exception as error:
        raise UserError(
            f"{text}: ASE cannot read it as {kind} ({type(error).__name__}: {error}). Write it as extended "
            "XYZ."
        ) from error
    if not count:
        raise UserError(f"{text}: no frames in it.")
    given[made] = text
    return str(made)


def _conditions(origins: Sequence[Origin], given: dict[Path, str]) -> list[str]:
    last = {origin.path: origin.place for origin in origins}
    found = {path: _stated(path, last[path] + 1) for path in last}
    texts = []
    for origin in origins:
        stated = found[origin.path].get(origin.place)
        if stated is None:
            name = Path(given.get(origin.path, str(origin.path))).name
            total = last[origin.path] + 1
            part = f", {_PARTS[min(2, 3 * origin.place // total)]}" if total >= _FEWEST_FOR_PARTS else ""
            stated = f"{name}{part}"
        texts.append(stated)
    return texts


def _stated(path: Path, count: int) -> dict[int, str]:
    """Return temperature and pressure of those of the first ``count`` entries of a file that have them."""
    kind = readers.format_of(path)
    rows: list[dict[str, Any]] = []
    if kind == "parquet":
        names = [name for name in _QUANTITIES if name in pq.read_schema(path).names]
        rows = pq.read_table(path, columns=names).to_pylist() if names else []
    elif kind == "xyz":
        for entry in xyz.entries(path):
            rows.append(_of_comment(entry.comment))
            if len(rows) == count:
                break
    return {i: text for i, row in enumerate(rows) if (text := _condition(row))}


def _of_comment(comment: str) -> dict[str, float]:
    try:
        words = parse_comment(comment)
        return {name: float(words[name]) for name in _QUANTITIES if name in words}
    except ValueError:
        return {}


def _condition(row: dict[str, float]) -> str:
    parts = [
        f"{row[name]:g} {unit}"
        for name, unit in _QUANTITIES.items()
        if row.get(name) is not None and np.isfinite(row[name])
    ]
    return ", ".join(parts)
