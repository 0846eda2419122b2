"""Gallery of crystals: a row for each, with its picture, counts, errors, gaps, moments and flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup, escape

from pesatlas.report.cell_picture import cell_picture
from pesatlas.report.crystal_summary import Crystal
from pesatlas.report.figure import Data
from pesatlas.report.figure_rows import Reader, elements_of
from pesatlas.tables import iter_table

SHOWN = 100
"""Crystals in the gallery at most: those with flags first, then those with the largest errors."""
_NOISE_EV_PER_A = 1e-3
_CELL = ["structure_id", "variant", "n_atoms", "numbers", "cell_A", "positions_A"]


@dataclass(frozen=True)
class GalleryRow:
    """One crystal as the page shows it; texts are ready to be read.

    Attributes
    ----------
    frame : ``snapshot_id`` that its button opens in the viewer; empty if the page has none of it
    elements : as the page's filter looks for them
    """

    name: str
    formula: str
    space_group: str
    picture: Markup
    atoms: str
    counts: tuple[str, ...]
    error: str
    gap: str
    moment: str
    flags: str
    frame: str
    elements: str


def gallery(reader: Reader, crystals: Sequence[Crystal], frames: Data) -> list[GalleryRow]:
    """Return at most ``SHOWN`` rows, by formula.

    In larger campaigns those with flags come first, then those with the largest error of forces; of them only
    crystals with a frame in the page, so that each opens.

    Parameters
    ----------
    frames : points of the map
    """
    columns = frames.columns
    order = sorted(range(len(frames)), key=lambda i: (not columns["picked"][i], columns["snapshot_id"][i]))
    first: dict[str, int] = {}
    for i in order:
        first.setdefault(columns["structure_id"][i], i)
    errors = reader.forces.mae
    chosen = list(crystals)
    if len(chosen) > SHOWN:
        there = [each for each in chosen if each.name in first]
        chosen = sorted(there, key=lambda each: (not each.flags, -errors.get(each.name, 0.0), each.name))[
            :SHOWN
        ]
    cells = _smallest_cells(reader, {each.name for each in chosen})
    rows = [
        _row(each, cells[each.name], errors.get(each.name), first.get(each.name), columns) for each in chosen
    ]
    return sorted(rows, key=lambda row: (row.formula, row.name))


def _smallest_cells(reader: Reader, names: set[str]) -> dict[str, dict[str, Any]]:
    """Return the cell to draw of each crystal: as given if it is there, else the smallest."""
    found: dict[str, dict[str, Any]] = {}
    wanted = pa.array(sorted(names), pa.string())
    for piece in iter_table(reader.path("structures"), _CELL):
        for row in piece.filter(pc.is_in(piece["structure_id"], value_set=wanted)).to_pylist():
            kept = found.get(row["structure_id"])
            if kept is None or _rank(row) < _rank(kept):
                found[row["structure_id"]] = row
    return found


def _rank(row: Mapping[str, Any]) -> tuple[bool, int, str]:
    return row["variant"] != "unit", row["n_atoms"], row["variant"]


def _row(
    crystal: Crystal,
    cell: Mapping[str, Any],
    error: float | None,
    frame: int | None,
    columns: Mapping[str, Sequence[Any]],
) -> GalleryRow:
    low, high = crystal.atoms
    gaps = {level: each.gap_eV for level, each in crystal.levels.items() if each.gap_eV is not None}
    moments = {
        level: each.moment_muB for level, each in crystal.levels.items() if each.moment_muB is not None
    }
    title = f"Unit cell of {crystal.formula}, {cell['n_atoms']} atoms"
    return GalleryRow(
        crystal.name,
        crystal.formula,
        _space_group(cell),
        Markup(cell_picture(cell, str(escape(title)))),  # noqa: S704 - numbers, and an escaped title
        f"{low:,}" if low == high else f"{low:,} to {high:,}",
        (
            *(f"{n:,}" for n in (crystal.cells, crystal.frames, crystal.picks)),
            ", ".join(f"{each.rows:,} {level}" for level, each in crystal.levels.items()) or "0",
        ),
        "-" if error is None else f"{error:.2g}" if error >= _NOISE_EV_PER_A else f"< {_NOISE_EV_PER_A:g}",
        _ranges(gaps),
        _ranges(moments),
        ", ".join(crystal.flags),
        "" if frame is None else columns["snapshot_id"][frame],
        elements_of(cell["numbers"]),
    )


def _ranges(found: Mapping[str, tuple[float, float]]) -> str:
    """Return ranges by level; a level is named where several differ."""
    texts = {
        level: f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        for level, (low, high) in found.items()
    }
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), "-")
    return ", ".join(f"{text} {level}" for level, text in texts.items())


def _space_group(cell: Mapping[str, Any]) -> str:
    """Return the international symbol at 1e-3 Å; a dash if none is found."""
    import spglib  # noqa: PLC0415 - slow to import

    lattice = np.reshape(cell["cell_A"], (3, 3))
    fractions = np.reshape(cell["positions_A"], (-1, 3)) @ np.linalg.inv(lattice)
    found = spglib.get_spacegroup((lattice.tolist(), fractions.tolist(), list(cell["numbers"])), symprec=1e-3)
    return found.split(" ")[0] if found else "-"
