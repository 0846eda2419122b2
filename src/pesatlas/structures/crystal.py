"""Crystals and cells, as sources, checks and domains exchange them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from pesatlas.atoms import geometry
from pesatlas.frames.frame import (
    Frame,
    UnusableFrame,
    charged,
    check_usable,
    disordered,
    numbers_of,
)
from pesatlas.tables.schemas import FailureReason


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
    warnings : doubts that do not refuse it, each a sentence with the file's name
    """

    structure_id: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    source: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """An entry of a source that is no crystal."""

    structure_id: str
    reason: FailureReason
    detail: str


CellMotion = Literal["all", "isotropic", "in_plane", "none"]
"""Strains that the barostat may make: any; a change of size alone; those of the plane xy; none."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a schedule: the target temperature goes linearly from one value to the other."""

    start_K: float
    end_K: float
    length_ps: float


@dataclass(frozen=True, eq=False)
class Path:
    """A way to another state of the same cell, to be found by the potential.

    Attributes
    ----------
    end_A : (n, 3) Å, positions there, so near to those here as atoms have to go
    images : of the path, both states included
    """

    end_A: np.ndarray
    images: int


@dataclass(frozen=True)
class Condition:
    """One thermodynamic condition, and the physics of its dynamics.

    What is left out is as section ``explore`` says.

    Attributes
    ----------
    name : no other condition of the cell has it; letters, digits, ``.``, ``+`` and ``-``
    temperature_K, pressure_GPa : targets
    static : no dynamics; the cell itself is the only frame
    path : no dynamics; frames are the images of a path from the cell to another state
    cell_motion : which strains the barostat may make; ``in_plane`` wants the first two lattice vectors in the
        plane xy
    ramp : temperatures to go through before ``length_ps`` at ``temperature_K``; all frames are kept
    length_ps : time at ``temperature_K``; null: ``explore.length_ps``
    compressibility_per_GPa : for the pace of the barostat
    max_volume_ratio, max_temperature_factor, min_distance_A : what counts as exploded, as in
        ``explore.abort``
    """

    name: str
    temperature_K: float
    pressure_GPa: float
    static: bool = False
    path: Path | None = None
    cell_motion: CellMotion = "all"
    ramp: tuple[Segment, ...] = ()
    length_ps: float | None = None
    compressibility_per_GPa: float | None = None
    max_volume_ratio: float | None = None
    max_temperature_factor: float | None = None
    min_distance_A: float | None = None

    @property
    def moves(self) -> bool:
        """Whether there is dynamics."""
        return not self.static and self.path is None

    def as_row(self) -> dict[str, Any]:
        """Return its entry in the table ``structures``: what is as in ``bulk`` is null."""
        row = asdict(self)
        row["condition"] = row.pop("name")
        row["static"] = self.static or None
        row["path"] = self.path and {"end_A": self.path.end_A.reshape(-1), "images": self.path.images}
        row["cell_motion"] = None if self.cell_motion == "all" else self.cell_motion
        row["ramp"] = [asdict(segment) for segment in self.ramp] or None
        return row


def at_temperatures(temperatures: Iterable[float], pressure: float, **physics: Any) -> list[Condition]:
    """Return a condition for each temperature (K) at a pressure (GPa).

    ``physics`` are further attributes of all of them.
    """
    return [Condition(f"{t:g}K-{pressure:g}GPa", t, pressure, **physics) for t in temperatures]


STATIC = Condition("static", 0.0, 0.0, static=True)
"""The cell itself, evaluated and not moved."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell to explore; arrays as in ``Crystal``.

    ``variant`` is unique for a crystal, safe in paths and shells, and all domains but ``bulk`` begin it with
    their name.
    """

    variant: str
    domain: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    conditions: list[Condition]

    def __post_init__(self) -> None:
        """Check what a domain cannot mean."""
        if any(each.cell_motion == "in_plane" for each in self.conditions) and self.cell[:2, 2].any():
            raise ValueError(
                f"{self.variant}: its first two vectors do not lie in the plane xy; see laid_flat"
            )


@dataclass(frozen=True)
class Refused:
    """A cell that a domain does not make of a crystal, and why.

    ``variant`` names it, or the domain for all its cells.
    """

    variant: str
    reason: FailureReason
    detail: str


Read = Crystal | Rejected


def make_crystal(
    structure_id: str, numbers: Any, cell: Any, positions: Any, source: str, warnings: Iterable[str] = ()
) -> Read:
    """Build a crystal from array-likes, or say why it is none.

    ``warnings`` are sentences about it; the source is named in each.
    """
    if numbers is None or cell is None or positions is None:
        return Rejected(structure_id, FailureReason.UNREADABLE, f"{source}: the entry has no geometry")
    try:
        frame = Frame(
            np.asarray(numbers, dtype=int).reshape(-1),
            np.asarray(cell, dtype=float).reshape(3, 3),
            np.asarray(positions, dtype=float).reshape(-1, 3),
            warnings=tuple(warnings),
        )
    except (TypeError, ValueError, OverflowError) as error:
        return Rejected(structure_id, FailureReason.UNREADABLE, f"{source}: {error}")
    return from_frame(structure_id, frame, source)


def from_frame(structure_id: str, frame: Frame, source: str, file: str = "") -> Read:
    """Return the crystal of a frame, or say why it is none.

    A left-handed cell becomes right-handed by reversing its three vectors: the same lattice, which every code
    accepts. Its warnings name ``file``, or the source.
    """
    try:
        check_usable(frame)
    except UnusableFrame as why:
        return Rejected(structure_id, why.reason, f"{source}: {why.detail}")
    cell = -frame.cell if np.linalg.det(frame.cell) < 0 else frame.cell
    warnings = tuple(f"{file or source}: {warning}" for warning in frame.warnings)
    return Crystal(structure_id, frame.numbers, cell, frame.positions, source, warnings)


def from_pymatgen(structure_id: str, structure: Any, source: str) -> Read:
    """Convert a pymatgen ``Structure``; disordered ones and those with dummy species are rejected."""
    from pymatgen.core import DummySpecies  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen

    if not all(structure.lattice.pbc):
        along = [bool(x) for x in structure.lattice.pbc]
        detail = f"{source}: periodic along {along} only; give it a cell and pbc=True"
        return Rejected(structure_id, FailureReason.NOT_PERIODIC, detail)
    if not structure.is_ordered:
        sites = sum(not site.is_ordered for site in structure)
        return Rejected(
            structure_id, FailureReason.DISORDERED, f"{source}: {disordered(sites, len(structure))}"
        )
    dummies = sorted({str(site.specie) for site in structure if isinstance(site.specie, DummySpecies)})
    if dummies:
        return Rejected(
            structure_id,
            FailureReason.UNSUPPORTED_ELEMENT,
            f"{source}: {', '.join(dummies)} is not an element",
        )
    # without a charge of its own, a structure has the sum of oxidation states for one
    if structure._charge:  # noqa: SLF001 - there is no public way to tell these apart
        return Rejected(structure_id, FailureReason.CHARGED, f"{source}: {charged(structure.charge)}")
    isotopic = {str(site.specie.symbol) for site in structure} & {"D", "T"}
    return make_crystal(
        structure_id,
        structure.atomic_numbers,
        structure.lattice.matrix,
        structure.cart_coords,
        source,
        numbers_of(sorted(isotopic))[1],
    )


def to_pymatgen(crystal: Crystal) -> Any:
    """Return a pymatgen ``Structure``, sites in the order of the atoms."""
    from pymatgen.core import Element, Structure  # noqa: PLC0415 - as above

    species = [Element.from_Z(int(z)) for z in crystal.numbers]
    return Structure(crystal.cell, species, crystal.positions, coords_are_cartesian=True)


def to_ase(crystal: Crystal) -> Any:
    """Return an ``ase.Atoms``."""
    from ase import Atoms  # noqa: PLC0415 - as above

    return Atoms(crystal.numbers, cell=crystal.cell, positions=crystal.positions, pbc=True)


def repeated(crystal: Crystal, times: tuple[int, int, int]) -> Crystal:
    """Return a supercell: ``times`` along each lattice vector, cell after cell."""
    numbers, cell, positions = geometry.repeated(crystal.numbers, crystal.cell, crystal.positions, times)
    return replace(crystal, numbers=numbers, cell=cell, positions=positions)


def without(crystal: Crystal, atom: int) -> Crystal:
    """Return the cell without one atom."""
    kept = np.arange(len(crystal.numbers)) != atom
    return replace(crystal, numbers=crystal.numbers[kept], positions=crystal.positions[kept])


def laid_flat(crystal: Crystal) -> Crystal:
    """Rotate a crystal: first lattice vector along x, second in the plane xy, third above it."""
    _, upper = np.linalg.qr(crystal.cell.T)
    cell = np.tril(upper.T * np.sign(np.diag(upper)))
    return replace(crystal, cell=cell, positions=crystal.positions @ np.linalg.inv(crystal.cell) @ cell)
