"""Published MatPES records of 89 elements, crystal and isolated atom, from matcalc's package."""

import gzip
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import atomic_number
from pesatlas.atoms.units import KBAR_TO_EV_PER_A3
from pesatlas.errors import UserError

_FILES = {"pbe": "MatPES-PBE-Element-Refs.json.gz", "r2scan": "MatPES-r2SCAN-Element-Refs.json.gz"}


@dataclass(frozen=True)
class Record:
    """The crystal of an element and its published label.

    Attributes
    ----------
    element, name : symbol, and id in MatPES
    numbers : (n,) atomic numbers
    cell, positions : (3, 3) and (n, 3) Å
    energy_eV : of the cell, extrapolated to zero smearing
    forces_eV_per_A : (n, 3)
    stress_eV_per_A3 : (6,) tension positive, xx yy zz yz xz xy
    moments_muB : (n,)
    atom : cell (3, 3) Å, position (3,) Å and energy (eV) of the isolated atom; None if it is not there
    """

    element: str
    name: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    energy_eV: float
    forces_eV_per_A: np.ndarray
    stress_eV_per_A3: np.ndarray
    moments_muB: np.ndarray
    atom: tuple[np.ndarray, np.ndarray, float] | None


def records_file(level: str) -> Path | None:
    """Return matcalc's file of the records of ``pbe`` or ``r2scan``.

    None without matcalc, or for another level.
    """
    # matcalc itself is not imported: it would ask the hub for its models
    spec = find_spec("matcalc")
    if level not in _FILES or spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "elemental_refs" / _FILES[level]
    return path if path.is_file() else None


def element_records(level: str) -> dict[str, Record]:
    """Return the published records of a level, by chemical symbol.

    Raises
    ------
    UserError
        If matcalc is not installed.
    """
    path = records_file(level)
    if path is None:
        raise UserError(
            f"the published records of level {level} come with matcalc, which is not installed: pip install "
            "'pesatlas[benchmark]'."
        )
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        raw: dict[str, Any] = json.load(handle)
    return {element: _record(element, each) for element, each in raw.items()}


def _record(element: str, raw: dict[str, Any]) -> Record:
    numbers, cell, positions, moments = _geometry(raw["structure"])
    alone = raw.get("structure_atomic")
    atom = None
    if alone and raw.get("energy_atomic") is not None:
        _, box, place, _ = _geometry(alone)
        atom = (box, place[0], float(raw["energy_atomic"]))
    return Record(
        element,
        raw["matpes_id"],
        numbers,
        cell,
        positions,
        float(raw["energy"]),
        np.array(raw["forces"], dtype=float),
        # kbar, compression positive, xx yy zz yz xz xy
        -KBAR_TO_EV_PER_A3 * np.array(raw["stress"], dtype=float),
        moments,
        atom,
    )


def _geometry(raw: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    sites = raw["sites"]
    numbers = [atomic_number(site["species"][0]["element"]) for site in sites]
    moments = [float(site.get("properties", {}).get("magmom") or 0.0) for site in sites]
    cell = np.array(raw["lattice"]["matrix"], dtype=float)
    return np.array(numbers), cell, np.array([site["xyz"] for site in sites], dtype=float), np.array(moments)
