"""JSON records with a structure in pymatgen's form, as lattice, species and coordinates.

Nothing else of a structure is looked at: pymatgen itself decodes properties of structures and sites, and
imports the modules that they name.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import SYMBOLS
from pesatlas.frames.frame import (
    ISOTOPES,
    Frame,
    UnusableFrame,
    check_usable,
    disordered,
    numbers_of,
)
from pesatlas.frames.items import Item, broken
from pesatlas.frames.json_records import records
from pesatlas.tables.schemas import FailureReason

_KNOWN = frozenset(SYMBOLS) | frozenset(ISOTOPES)
_FULL = 1e-8
_OFF_A = 0.01
_OFF_DEGREES = 0.1
_OFF_VOLUME = 0.005
"""Numbers of one structure that differ by more contradict each other."""
_ABOUT_SITES = ("nsites", "num_sites")


def items(path: Path) -> Iterator[Item]:
    """Yield the records of a file with their frames.

    A structure itself, or one under the key ``structure``.
    """
    for i, record in enumerate(records(path), start=1):
        where = f"entry {i}"
        if isinstance(record, UnusableFrame):
            yield broken(where, record)
        elif not isinstance(record, Mapping):
            why = "no pymatgen structure in it, neither itself nor under the key 'structure'"
            yield broken(where, UnusableFrame(FailureReason.UNREADABLE, why))
        elif "structure" in record:
            yield Item(record, where, partial(usable_frame, record["structure"], record))
        else:
            yield Item(record, where, partial(usable_frame, record, {}))


def usable_frame(structure: Any, about: Mapping[str, Any]) -> Frame:
    """Return the frame of a structure, given the record that holds it.

    Raises
    ------
    UnusableFrame
        If it cannot be read, or not be used.
    """
    if not isinstance(structure, Mapping) or not isinstance(structure.get("sites"), list):
        why = "no pymatgen structure in it, neither itself nor under the key 'structure'"
        raise UnusableFrame(FailureReason.UNREADABLE, why)
    if structure.get("lattice") is None:
        raise UnusableFrame(FailureReason.NOT_PERIODIC, "a molecule, it has no lattice")
    try:
        frame = _frame(structure, about)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise UnusableFrame(FailureReason.UNREADABLE, f"{type(error).__name__}: {error}") from None
    check_usable(frame)
    return frame


def _frame(structure: Mapping[str, Any], about: Mapping[str, Any]) -> Frame:
    cell, pbc = _lattice(structure["lattice"])
    sites = structure["sites"]
    if not sites:
        raise UnusableFrame(FailureReason.UNREADABLE, "it has no sites")
    told = {key: value for key, value in about.items() if key != "structure"}
    if structure.get("charge") is not None:
        told["charge"] = structure["charge"]
    for key in _ABOUT_SITES:
        if isinstance(told.get(key), int) and told[key] != len(sites):
            why = f"{key} is {told[key]}, and it has {len(sites)} sites"
            raise UnusableFrame(FailureReason.INCOMPLETE, why)
    species = [_species(site, i) for i, site in enumerate(sites, start=1)]
    comparable = (
        not isinstance(structure["lattice"], Mapping) or structure["lattice"].get("matrix") is not None
    )
    positions = np.array(
        [_position(site, i, cell, comparable=comparable) for i, site in enumerate(sites, start=1)],
        dtype=float,
    )
    odd = sum(len(each) != 1 or abs(each[0][1] - 1) > _FULL for each in species)
    if odd and all(pbc):
        raise UnusableFrame(FailureReason.DISORDERED, disordered(odd, len(sites)))
    numbers, warnings = numbers_of([each[0][0] for each in species])
    return Frame(numbers, cell, positions, pbc, told, {}, warnings)


def _lattice(content: Any) -> tuple[NDArray[Any], tuple[bool, bool, bool]]:
    """Return vectors (rows, Å) and the directions that are periodic."""
    if not isinstance(content, Mapping):
        return np.array(content, dtype=float).reshape(3, 3), (True, True, True)
    x, y, z = (bool(each) for each in content.get("pbc") or (True, True, True))
    if content.get("matrix") is not None:
        matrix = np.array(content["matrix"], dtype=float).reshape(3, 3)
        _check_lattice(content, matrix)
        return matrix, (x, y, z)
    missing = [key for key in ("a", "b", "c", "alpha", "beta", "gamma") if content.get(key) is None]
    if missing:
        why = f"its lattice has neither 'matrix' nor {', '.join(repr(key) for key in missing)}"
        raise UnusableFrame(FailureReason.UNREADABLE, why)
    a, b, c = (float(content[key]) for key in "abc")
    alpha, beta, gamma = np.radians([float(content[key]) for key in ("alpha", "beta", "gamma")])
    cosine = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta))
    sine = np.sqrt(max(0.0, 1 - cosine**2))
    first = [a * np.sin(beta), 0.0, a * np.cos(beta)]
    second = [-b * np.sin(alpha) * cosine, b * np.sin(alpha) * sine, b * np.cos(alpha)]
    return np.array([first, second, [0.0, 0.0, c]]), (x, y, z)


def _check_lattice(content: Mapping[str, Any], matrix: NDArray[Any]) -> None:
    """Raise if lengths, angles or volume are given, too, and are not those of the vectors."""
    lengths = np.linalg.norm(matrix, axis=1)
    if not (np.isfinite(matrix).all() and lengths.all()):
        return
    cosines = [matrix[i] @ matrix[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    volume = abs(float(np.linalg.det(matrix)))
    checks = [(key, value, "Å", _OFF_A) for key, value in zip("abc", lengths, strict=True)]
    checks += [
        (key, value, "degrees", _OFF_DEGREES)
        for key, value in zip(("alpha", "beta", "gamma"), angles, strict=True)
    ]
    checks.append(("volume", volume, "Å³", _OFF_VOLUME * volume + _OFF_A))
    for key, value, unit, slack in checks:
        stated = content.get(key)
        if isinstance(stated, int | float) and abs(stated - value) > slack:
            why = f"its lattice has {key} {stated:g} {unit}, its matrix {value:.6g} {unit}"
            raise UnusableFrame(FailureReason.AMBIGUOUS_SETTING, why)


def _need(found: Any, key: str, what: str) -> Any:
    """Return a value that has to be there.

    Raises
    ------
    UnusableFrame
        If it is not.
    """
    if not isinstance(found, Mapping) or found.get(key) is None:
        raise UnusableFrame(FailureReason.UNREADABLE, f"{what} has no '{key}'")
    return found[key]


def _species(site: Any, at: int) -> list[tuple[str, float]]:
    """Return the elements of a site with their occupancies; oxidation states and spins are left out."""
    total: dict[str, float] = {}
    for each in _need(site, "species", f"site {at}"):
        name = str(_need(each, "element", f"a species of site {at}"))
        # Fe2+ and Fe0+, as older versions wrote them
        symbol = name.rstrip("+-0123456789.") if name not in _KNOWN else name
        symbol = symbol if symbol in _KNOWN else name
        total[symbol] = total.get(symbol, 0.0) + float(each.get("occu", 1))
    return list(total.items())


def _position(site: Any, at: int, cell: NDArray[Any], *, comparable: bool) -> NDArray[Any]:
    """Return the Cartesian position of a site (Å): that of its fractional coordinates, if it has them.

    ``comparable`` is whether the file gives the directions of the lattice vectors; only then has a site one
    position in both forms.
    """
    if site.get("abc") is None:
        return np.array(_need(site, "xyz", f"site {at} has no 'abc' and"), dtype=float).reshape(3)
    position = np.asarray(np.array(site["abc"], dtype=float).reshape(3) @ cell)
    if site.get("xyz") is not None and comparable and abs(np.linalg.det(cell)) > 0:
        other = np.array(site["xyz"], dtype=float).reshape(3)
        apart = (other - position) @ np.linalg.inv(cell)
        far = float(np.linalg.norm((apart - np.rint(apart)) @ cell))
        if far > _OFF_A:
            first, second = (", ".join(f"{x:.4f}" for x in each) for each in (position, other))
            why = f"site {at} is at {first} Å by its 'abc', and at {second} Å by its 'xyz', {far:.3f} Å off"
            raise UnusableFrame(FailureReason.AMBIGUOUS_SETTING, why)
    return position
