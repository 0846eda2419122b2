"""JSON records with a structure as pymatgen writes it: read as lattice, species and coordinates; nothing else in them is decoded."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pesatlas.frames.frame import (
    Frame,
    UnusableFrame,
    charged,
    check_usable,
    disordered,
    numbers_of,
)
from pesatlas.tables.schemas import FailureReason

_FULL = 1e-3


def usable_frame(structure: Any, about: Mapping[str, Any]) -> Frame:
    """Return the frame of a structure, given the record that holds it.

    Raises
    ------
    UnusableFrame
        If it cannot be read, or not be used.
    """
    if not isinstance(structure, Mapping) or not isinstance(structure.get("sites"), list):
        raise _unreadable("no structure in it")
    if "lattice" not in structure:
        raise UnusableFrame(FailureReason.NOT_PERIODIC, "a molecule, it has no lattice")
    try:
        frame = _frame(structure, about)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _unreadable(f"{type(error).__name__}: {error}") from None
    check_usable(frame)
    if structure.get("charge"):
        raise UnusableFrame(FailureReason.CHARGED, charged(structure["charge"]))
    return frame


def _frame(structure: Mapping[str, Any], about: Mapping[str, Any]) -> Frame:
    sites, lattice = structure["sites"], structure["lattice"]
    pbc = [bool(x) for x in lattice.get("pbc") or (True, True, True)]
    cell = np.asarray(lattice["matrix"], dtype=float).reshape(3, 3)
    shared = sum(not _is_full(site["species"]) for site in sites)
    if shared and all(pbc):
        raise UnusableFrame(FailureReason.DISORDERED, disordered(shared, len(sites)))
    numbers, warnings = numbers_of([str(site["species"][0]["element"]) for site in sites])
    if all("xyz" in site for site in sites):
        positions = np.asarray([site["xyz"] for site in sites], dtype=float)
    else:
        positions = np.asarray([site["abc"] for site in sites], dtype=float) @ cell
    told = {key: value for key, value in about.items() if key != "structure"}
    return Frame(numbers, cell, positions.reshape(-1, 3), (pbc[0], pbc[1], pbc[2]), told, {}, warnings)


def _is_full(species: list[Mapping[str, Any]]) -> bool:
    return len(species) == 1 and abs(float(species[0].get("occu", 1)) - 1) <= _FULL


def _unreadable(why: str) -> UnusableFrame:
    return UnusableFrame(FailureReason.UNREADABLE, why)
