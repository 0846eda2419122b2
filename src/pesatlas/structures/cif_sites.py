"""Sites of a CIF block: elements, occupancies, coordinates, and their orbits under the symmetry."""

import re
from dataclasses import dataclass

import numpy as np

from pesatlas.atoms.elements import SYMBOLS
from pesatlas.structures.cif_text import Block
from pesatlas.structures.formula import ISOTOPES, parse_formula
from pesatlas.structures.space_groups import Operations
from pesatlas.structures.text_file import RefusedError
from pesatlas.tables.schemas import FailureReason

_CLOSEST_A = 0.05
_FARTHEST_A = 0.2
"""Images of one full site that are nearer to one another are one atom: nothing in a crystal is so near."""

_MOST_OCCUPIED = 1.01

_KNOWN = frozenset(SYMBOLS)
_NATURAL = frozenset(SYMBOLS[:103])
_WATER = {"OW": "O", "HW": "H", "CVAL": "C", "SIVA": "Si"}
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(\d*\))?")


@dataclass
class Site:
    """One row of the loop of sites.

    Attributes
    ----------
    label : as the file has it
    symbol : of the element
    fractional : (3,)
    digits : decimals of its coordinates, at most
    occupancy : 1 if the file says nothing
    hydrogens : attached to it and without positions of their own
    stated_multiplicity : as the file has it, or 0
    mixed : several elements in one row
    isotope : deuterium or tritium
    hint : what may have been misread
    defaults : how many of its coordinates are not given, and 0 by the dictionary
    group, assembly : of disorder, empty where the file has none
    told_full : whether its occupancy is given
    multiplicity, stabiliser : atoms in the cell, and operations that keep each in its place; known after
        expanding
    """

    label: str
    symbol: str
    fractional: np.ndarray
    digits: int
    occupancy: float
    hydrogens: float
    stated_multiplicity: int
    mixed: bool = False
    hint: str = ""
    isotope: bool = False
    defaults: int = 0
    group: str = ""
    assembly: str = ""
    told_full: bool = False
    multiplicity: int = 0
    stabiliser: float = 0.0


@dataclass(frozen=True)
class Orbit:
    """All atoms of a site in the cell.

    Fractional (n, 3), how far the site was moved (Å), and what counted as one place (Å).
    """

    positions: np.ndarray
    moved: float
    tolerance: float


class NoElementError(ValueError):
    """A name that is no element; ``molecule`` if it stands for several atoms."""

    def __init__(self, detail: str, *, molecule: bool) -> None:
        """Keep apart what stands for several atoms."""
        super().__init__(detail)
        self.molecule = molecule


def number(text: str) -> float:
    """Return a number of a CIF: an uncertainty in parentheses is left out, and a fraction is one.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match:
        return float(match[1])
    above, slash, below = text.strip().partition("/")
    if slash:
        return float(above) / float(below)
    raise ValueError(f"'{text}' is not a number")


def number_or_none(text: str) -> float | None:
    """Return a number of a CIF, or None."""
    try:
        return number(text)
    except (ValueError, ZeroDivisionError):
        return None


def operations_of(block: Block, tags: tuple[str, ...]) -> list[str]:
    """Return the listed operations as texts, centring translations of magnetic groups included."""
    column = block.column(*tags)
    texts = [text for text in column or [] if text]
    if any(text.count(",") < 2 for text in texts):
        # written with blanks and without quotes, they are in pieces
        joined, whole = "", []
        for text in texts:
            joined += text
            if joined.count(",") >= 2 and not joined.endswith(","):
                whole.append(joined)
                joined = ""
        texts = whole
    centring = block.column("_space_group_symop_magn_centering_xyz")
    if centring:
        return [_composed(text, shift) for shift in centring if shift for text in texts]
    return texts


def _composed(text: str, shift: str) -> str:
    """Return an operation with the translation of another one (x+1/2,y,z,+1) added."""
    parts = text.split(",")[:3]
    moves = [re.sub(r"[xyz]", "", part, flags=re.IGNORECASE).strip() for part in shift.split(",")[:3]]
    return ",".join(
        f"{part}{move if not move or move[0] in '+-' else f'+{move}'}"
        for part, move in zip(parts, moves, strict=True)
    )


def sites_of(block: Block, notes: list[str]) -> list[Site]:
    """Return the sites of a block; what was assumed of them is added to ``notes``.

    Raises
    ------
    ValueError
        If a column is torn or a value cannot be understood.
    RefusedError
        If a site stands for several atoms, or is no element.
    """
    columns = _columns(block)
    if columns is None:
        return []
    sites = [site for i in range(len(columns.names)) if (site := _site(columns, i, notes)) is not None]
    nowhere = [site.label for site in sites if site.defaults == len("xyz")]
    if len(nowhere) > 1:
        detail = f"sites {', '.join(nowhere[:3])} have no coordinates but '.'"
        raise RefusedError(FailureReason.INCOMPLETE, detail)
    heavy = sorted({site.symbol for site in sites} & set(ISOTOPES))
    notes += [f"{ISOTOPES[symbol]} ({symbol}) is read as hydrogen" for symbol in heavy]
    for site in sites:
        if site.symbol in ISOTOPES:
            site.symbol, site.isotope = "H", True
    return sites


Column = list[str | None]


@dataclass(frozen=True)
class _Columns:
    """The columns of the loop of sites, all of the same length."""

    names: Column
    types: Column | None
    axes: tuple[Column, Column, Column]
    occupancies: Column
    flags: Column
    hydrogens: Column
    multiplicities: Column
    groups: Column
    assemblies: Column
    dots: tuple[frozenset[int], frozenset[int], frozenset[int]]


def _columns(block: Block) -> _Columns | None:
    """Return the columns of the sites, or None if there are no sites."""
    x, y, z = (block.column(f"_atom_site_fract_{axis}") for axis in "xyz")
    first, second, third = (block.dots.get(f"_atom_site_fract_{axis}", frozenset()) for axis in "xyz")
    dots = (first, second, third)
    types = block.column("_atom_site_type_symbol")
    names = block.column("_atom_site_label", "_atom_site_id", "_atom_site_label_atom_id") or types
    if names is None and x is None and y is None and z is None:
        return None
    if names is None or x is None or y is None or z is None:
        raise ValueError("sites have no fractional coordinates (_atom_site_fract_x, _y, _z) or no names")
    rows = len(names)
    if not len(x) == len(y) == len(z) == rows or (types is not None and len(types) != rows):
        raise ValueError("the columns of its sites are of different lengths")
    multiplicities = _optional(block, "_atom_site_site_symmetry_multiplicity", rows)
    return _Columns(
        names,
        types,
        (x, y, z),
        _optional(block, "_atom_site_occupancy", rows),
        _optional(block, "_atom_site_calc_flag", rows),
        _optional(block, "_atom_site_attached_hydrogens", rows),
        multiplicities if any(multiplicities) else _optional(block, "_atom_site_symmetry_multiplicity", rows),
        _optional(block, "_atom_site_disorder_group", rows),
        _optional(block, "_atom_site_disorder_assembly", rows),
        dots,
    )


def _site(columns: _Columns, i: int, notes: list[str]) -> Site | None:
    """Return the site of one row; None for dummies, empty places and rows without anything."""
    texts = [axis[i] for axis in columns.axes]
    if (columns.flags[i] or "").lower() == "dum" or not any((columns.names[i], *texts)):
        return None
    label = columns.names[i] or f"number {i + 1}"
    occupancy = number(columns.occupancies[i] or "1")
    if occupancy == 0:
        notes.append(f"site {label} has an occupancy of 0 and was left out")
        return None
    if occupancy < 0 or occupancy > _MOST_OCCUPIED:
        raise ValueError(f"site {label} has an occupancy of {occupancy:g}")
    known = [text or "0" for text, dots in zip(texts, columns.dots, strict=True) if text or i in dots]
    if len(known) < len(texts):
        raise RefusedError(FailureReason.INCOMPLETE, f"site {label} has no coordinates")
    kind = columns.types[i] if columns.types is not None else None
    mixed = bool(kind and re.search(r"\d.*\+\s|,", kind))
    try:
        symbol, hint = ("X", "") if mixed else element_of(kind, label)
    except NoElementError as error:
        reason = FailureReason.INCOMPLETE if error.molecule else FailureReason.UNSUPPORTED_ELEMENT
        raise RefusedError(reason, str(error)) from None
    return Site(
        label,
        symbol,
        np.array([number(text) for text in known]),
        max(digits(text) for text in known),
        occupancy,
        number_or_none(columns.hydrogens[i] or "") or 0.0,
        int(number_or_none(columns.multiplicities[i] or "") or 0),
        mixed,
        hint,
        defaults=sum(not text for text in texts),
        group=columns.groups[i] or "",
        assembly=columns.assemblies[i] or "",
        told_full=columns.occupancies[i] is not None,
    )


def _optional(block: Block, tag: str, rows: int) -> Column:
    column = block.column(tag)
    return column if column is not None and len(column) == rows else [None] * rows


def digits(text: str) -> int:
    """Return how many decimals a number is written with."""
    if "/" in text:
        return 9
    return len(re.sub(r"\(.*", "", text).partition(".")[2])


def element_of(kind: str | None, label: str) -> tuple[str, str]:
    """Return the element of a type symbol (``O2-``, ``Fe3+``, ``Ow``, ``D``), or of a label if there is none.

    And what may be misread.

    Raises
    ------
    NoElementError
        If it is none.
    """
    if kind is not None:
        return _of_type(kind, label), ""
    letters = re.match(r"[A-Za-z]*", label)
    run = letters[0] if letters else ""
    if run.upper() in {"WAT", "HOH"}:
        raise NoElementError(
            f"label {label} stands for water, of which only one atom has a position", molecule=True
        )
    two, one = run[:2].capitalize(), run[:1].upper()
    if len(run) > 1 and two in _NATURAL:
        unclear = run[1].isupper() and one in _KNOWN
        return two, f"label {label} was read as {two}; a type symbol would decide" if unclear else ""
    if run == "D":
        return "D", ""
    if one in _KNOWN:
        rest = label[1:]
        return one, f"label {label} was read as {one}" if re.match(r"[-_(]?[A-Z]", rest) else ""
    raise NoElementError(
        f"site {label} has no type symbol, and its label does not begin with an element", molecule=False
    )


def _of_type(kind: str, label: str) -> str:
    letters = re.match(r"[A-Za-z]*", kind.strip().lstrip("0123456789"))
    run = letters[0] if letters else ""
    rest = kind.strip()[len(run) :]
    if run.upper() in _WATER:
        return _WATER[run.upper()]
    if run in ISOTOPES:
        return run
    name = run.capitalize()
    # C_R is a type of a force field
    if name in _NATURAL and (rest.startswith("_") or not re.search(r"[A-Za-z]", rest)):
        return name
    if run.upper() in {"WAT", "HOH"} or parse_formula(re.sub(r"[\s-]", "", kind)) is not None:
        detail = (
            f"the type symbol '{kind}' of site {label} stands for several atoms, of which only one has a "
            "position"
        )
        raise NoElementError(detail, molecule=True)
    raise NoElementError(f"the type symbol '{kind}' of site {label} is not an element", molecule=False)


def without_hydrogen(sites: list[Site]) -> list[str]:
    """Return labels that name hydroxide or water in a list of sites where no hydrogen has a position."""
    if any(site.symbol == "H" for site in sites):
        return []
    named = re.compile(r"(O-?H|H2O|O?W\d|O?W$|Wat)", re.IGNORECASE)
    return [site.label for site in sites if site.symbol == "O" and named.match(site.label)]


def orbit_of(site: Site, operations: Operations, cell: np.ndarray) -> Orbit | None:
    """Return the atoms of a site, itself put on its special position.

    None if operations do not agree whether it is on one.
    """
    longest = float(np.linalg.norm(cell, axis=1).max())
    tolerance = float(np.clip(3 * 10.0**-site.digits * longest, _CLOSEST_A, _FARTHEST_A))
    here = site.fractional
    images = operations.rotations @ here + operations.translations
    apart = images - here
    apart -= np.rint(apart)
    stays = np.linalg.norm(apart @ cell, axis=1) < tolerance
    if not stays.any():
        return None
    shift = apart[stays].mean(axis=0)
    moved = float(np.linalg.norm(shift @ cell))
    there = here + shift
    images = operations.rotations @ there + operations.translations
    kept = [there]
    for image in images:
        away = np.array(kept) - image
        away -= np.rint(away)
        if np.linalg.norm(away @ cell, axis=1).min() > tolerance:
            kept.append(image)
    if len(kept) * int(stays.sum()) != len(operations):
        return None
    return Orbit(np.array(kept) % 1.0 % 1.0, moved, tolerance)


def is_new(orbit: Orbit, places: list[np.ndarray], cell: np.ndarray) -> bool:
    """Whether the listed atom of an orbit is at none of ``places``."""
    away = np.array(places) - orbit.positions[0]
    away -= np.rint(away)
    return bool(np.linalg.norm(away @ cell, axis=1).min() > orbit.tolerance)


def is_worth_a_note(site: Site, orbit: Orbit) -> bool:
    """Whether a site was moved by more than coordinates of four digits need."""
    return orbit.moved > (1e-4 if site.digits <= 3 else 0.002)


class Placed:
    """Atoms placed so far, to find those at one place."""

    def __init__(self, cell: np.ndarray) -> None:
        self._cell = cell
        self._count = 0
        self._positions = np.empty((64, 3))
        self._owners = np.empty(64, dtype=int)

    def add(self, positions: np.ndarray, owner: int) -> None:
        """Add the atoms of one site."""
        end = self._count + len(positions)
        while end > len(self._owners):
            self._positions = np.concatenate([self._positions, np.empty_like(self._positions)])
            self._owners = np.concatenate([self._owners, np.empty_like(self._owners)])
        self._positions[self._count : end] = positions
        self._owners[self._count : end] = owner
        self._count = end

    def positions(self) -> np.ndarray:
        """Return all of them, fractional."""
        return self._positions[: self._count]

    def at(self, position: np.ndarray, tolerance: float) -> tuple[int, float] | None:
        """Return whose atom is at a place and how far off (Å), or None."""
        if not self._count:
            return None
        away = self.positions() - position
        away -= np.rint(away)
        distances = np.linalg.norm(away @ self._cell, axis=1)
        nearest = int(distances.argmin())
        return (
            (int(self._owners[nearest]), float(distances[nearest]))
            if distances[nearest] <= tolerance
            else None
        )
