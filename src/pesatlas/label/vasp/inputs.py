"""Inputs of one VASP calculation: pymatgen's ``MatPESStaticSet``, unchanged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar
from pymatgen.io.vasp.sets import MatPESStaticSet

from pesatlas.atoms.elements import symbol_of
from pesatlas.errors import UserError
from pesatlas.label.backend import Task
from pesatlas.levels import potcars
from pesatlas.levels.vasp import EXTRA_INCAR, Functional, own_precision


@dataclass(frozen=True)
class Inputs:
    """Inputs written for VASP.

    Attributes
    ----------
    functional : ``PBE`` or ``R2SCAN``
    incar : every key
    structure : in the order of the POSCAR
    order : atom ``i`` of the POSCAR is atom ``order[i]`` of the task
    potcars : in the order of the POSCAR
    """

    functional: Functional
    incar: dict[str, Any]
    structure: Structure
    order: list[int]
    potcars: list[potcars.Potcar]

    def in_order_of_task(self, rows: np.ndarray) -> np.ndarray:
        """Return rows that belong to the POSCAR's atoms in the task's order."""
        sorted_rows = np.empty_like(rows)
        sorted_rows[self.order] = rows
        return sorted_rows


def crystal(numbers: Sequence[int] | np.ndarray, cell: np.ndarray, positions: np.ndarray) -> Structure:
    """Return the crystal that VASP is given, before pymatgen sorts its atoms.

    Site property ``task_index`` counts them.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å
    """
    # VASP wants a right-handed cell; the same crystal has one with two of its vectors swapped.
    axes = [0, 1, 2] if np.linalg.det(cell) > 0 else [1, 0, 2]
    return Structure(
        Lattice(cell[axes]),
        [symbol_of(int(number)) for number in numbers],
        positions,
        coords_are_cartesian=True,
        site_properties={"task_index": list(range(len(numbers)))},
    )


def input_set(task: Task, functional: Functional, moments: Sequence[float] | None = None) -> MatPESStaticSet:
    """Return the input set of a task.

    Parameters
    ----------
    moments : sequence of float, optional
        Magnetic moments (μB) to start from, in the task's order; without, the set's own.
    """
    structure = crystal(task.numbers, task.cell, task.positions)
    if moments is not None:
        structure.add_site_property("magmom", [float(moment) for moment in moments])
    # a level of a convergence series has its own cut-off or k-points, for the PBE start of r2SCAN too
    changed = {**EXTRA_INCAR[functional], **own_precision(task.level)}
    return MatPESStaticSet(structure, xc_functional=functional, user_incar_settings=changed)


def write(
    folder: Path,
    task: Task,
    functional: Functional,
    moments: Sequence[float] | None = None,
    *,
    allow_unknown_potcars: bool = False,
) -> Inputs:
    """Write INCAR, POSCAR, POTCAR and, without its text, POTCAR.spec into ``folder``.

    Raises
    ------
    potcars.MissingPotcarError
        If an element has no POTCAR.
    UserError
        If a POTCAR is not the one of the level.
    """
    chosen = input_set(task, functional, moments)
    files = [usable(symbol, allow_unknown=allow_unknown_potcars) for symbol in chosen.potcar_symbols]
    text = str(chosen.incar)
    (folder / "INCAR").write_text(text, encoding="utf-8")
    (folder / "POSCAR").write_text(str(chosen.poscar), encoding="utf-8")
    (folder / "POTCAR").write_text(
        "".join(f"{file.text.strip(chr(10))}\n" for file in files), encoding="utf-8"
    )
    spec = [{"symbol": file.symbol, "titel": file.title, "sha256": file.sha256} for file in files]
    (folder / "POTCAR.spec").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    structure = chosen.structure
    assert structure is not None
    return Inputs(
        functional, read_incar(text), structure, list(structure.site_properties["task_index"]), files
    )


def usable(symbol: str, *, allow_unknown: bool) -> potcars.Potcar:
    """Return the POTCAR of a symbol, which is the one of the level unless unknown ones are allowed.

    Raises
    ------
    potcars.MissingPotcarError
        If there is none.
    UserError
        If pymatgen does not know it as that of the level.
    """
    file = potcars.read(symbol)
    if not file.known and not allow_unknown:
        raise UserError(
            f"{potcars.path_of(symbol)} ({file.title}) is not the {potcars.FUNCTIONAL} POTCAR {symbol} that "
            f"pymatgen knows: it belongs to another release, or is damaged. {potcars.SET_UP}."
        )
    return file


def read_incar(text: str) -> dict[str, Any]:
    """Return every key of an INCAR as plain values."""
    return dict(Incar.from_str(text))
