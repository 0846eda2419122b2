"""What passes between sources, checks and domains."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pesatlas.tables.schemas import FailureReason

_SMALLEST_VOLUME_A3 = 0.01


@dataclass(frozen=True, eq=False)
class Crystal:
    """One ordered crystal, periodic in three directions, from a source.

    Attributes
    ----------
    structure_id : as the source names it, or derived from where it was found
    numbers : (n,) int, atomic numbers
    cell : (3, 3), Å, rows are lattice vectors, right-handed
    positions : (n, 3), Å, Cartesian
    source : kind and version of the source
    """

    structure_id: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    source: str


@dataclass(frozen=True)
class Rejected:
    """What a source found and could not make a crystal of."""

    structure_id: str
    reason: FailureReason
    detail: str


@dataclass(frozen=True)
class Condition:
    """One thermodynamic condition."""

    name: str
    temperature_K: float
    pressure_GPa: float


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell to explore; arrays as in ``Crystal``."""

    variant: str
    domain: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    conditions: list[Condition]


Read = Crystal | Rejected


def make_crystal(structure_id: str, numbers: Any, cell: Any, positions: Any, source: str) -> Read:
    """Build a crystal from array-likes, or say why it is none.

    A left-handed cell becomes right-handed by reversing its three vectors: the same lattice, which every code accepts.
    """
    if numbers is None or cell is None or positions is None:
        return Rejected(structure_id, FailureReason.UNREADABLE, f"{source}: the entry has no geometry")
    try:
        numbers = np.asarray(numbers, dtype=int).reshape(-1)
        cell = np.asarray(cell, dtype=float).reshape(3, 3)
        positions = np.asarray(positions, dtype=float).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        return Rejected(structure_id, FailureReason.UNREADABLE, f"{source}: {error}")
    if len(numbers) == 0 or len(numbers) != len(positions):
        return Rejected(
            structure_id,
            FailureReason.UNREADABLE,
            f"{source}: {len(numbers)} atoms with {len(positions)} positions",
        )
    if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
        return Rejected(structure_id, FailureReason.UNREADABLE, f"{source}: numbers that are not finite")
    volume = np.linalg.det(cell)
    if abs(volume) < _SMALLEST_VOLUME_A3:
        return Rejected(
            structure_id, FailureReason.NOT_PERIODIC, f"{source}: its three lattice vectors span no volume"
        )
    return Crystal(structure_id, numbers, -cell if volume < 0 else cell, positions, source)


def from_pymatgen(structure_id: str, structure: Any, source: str) -> Read:
    """Convert a pymatgen ``Structure``; disordered ones and those with dummy species are rejected."""
    from pymatgen.core import DummySpecies  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen

    if not structure.is_ordered:
        sites = sum(not site.is_ordered for site in structure)
        detail = f"{source}: {sites} of {len(structure)} sites are shared or partly empty; make an ordered model of it first"
        return Rejected(structure_id, FailureReason.DISORDERED, detail)
    dummies = sorted({str(site.specie) for site in structure if isinstance(site.specie, DummySpecies)})
    if dummies:
        return Rejected(
            structure_id,
            FailureReason.UNSUPPORTED_ELEMENT,
            f"{source}: {', '.join(dummies)} is not an element",
        )
    if not all(structure.lattice.pbc):
        return Rejected(
            structure_id, FailureReason.NOT_PERIODIC, f"{source}: periodic along {structure.lattice.pbc} only"
        )
    return make_crystal(
        structure_id, structure.atomic_numbers, structure.lattice.matrix, structure.cart_coords, source
    )


def from_ase(structure_id: str, atoms: Any, source: str) -> Read:
    """Convert an ``ase.Atoms``; ones that are not periodic in three directions are rejected."""
    if not atoms.pbc.all():
        detail = f"{source}: periodic along {[bool(x) for x in atoms.pbc]} only; give it a cell and pbc=True"
        return Rejected(structure_id, FailureReason.NOT_PERIODIC, detail)
    return make_crystal(structure_id, atoms.numbers, atoms.cell.array, atoms.positions, source)
