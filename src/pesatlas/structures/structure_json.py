"""Structures of pymatgen's JSON form, read as lattice, species and coordinates.

Nothing else of a record is looked at: pymatgen itself decodes properties of structures and sites, and imports the modules that they name.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from pesatlas.elements import SYMBOLS
from pesatlas.structures.crystal import NEUTRAL, Read, make_crystal
from pesatlas.structures.formula import ISOTOPES
from pesatlas.structures.text_file import RefusedError, rejected, unreadable, with_warnings
from pesatlas.tables.schemas import FailureReason

_NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)} | dict.fromkeys(ISOTOPES, 1)
_FULL = 1e-8


def from_json(name: str, content: Any, source: str, file: str = "") -> Read:
    """Return the crystal of a structure as pymatgen writes it, after ``json.loads``.

    Parameters
    ----------
    name : its id
    content : ``{"lattice": {...}, "sites": [{"species": [...], "abc": [...]}, ...], "charge": ...}``
    source : where it comes from
    file : name for its warnings; the source if empty
    """
    try:
        cell, symbols, positions = _checked(content)
    except RefusedError as why:
        return rejected(name, why.reason, f"{source}: {why}")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        return unreadable(name, source, error)
    said = [
        f"{isotope} ({symbol}) is read as hydrogen"
        for symbol, isotope in ISOTOPES.items()
        if symbol in symbols
    ]
    found = make_crystal(name, [_NUMBERS[symbol] for symbol in symbols], cell, positions, source)
    return with_warnings(found, said, file or source)


def _checked(content: Any) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return cell, symbols and Cartesian positions of an ordered, neutral crystal.

    Raises
    ------
    RefusedError
        If it is something else.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("sites"), list):
        detail = "no pymatgen structure in it, neither itself nor under the key 'structure'"
        raise RefusedError(FailureReason.UNREADABLE, detail)
    if content.get("lattice") is None:
        raise RefusedError(FailureReason.NOT_PERIODIC, "a molecule, it has no lattice")
    cell, pbc = _lattice(content["lattice"])
    sites = [_species(site) for site in content["sites"]]
    if not sites:
        raise RefusedError(FailureReason.UNREADABLE, "it has no sites")
    positions = np.array([_position(site, cell) for site in content["sites"]], dtype=float)
    odd = sum(len(species) != 1 or abs(species[0][1] - 1) > _FULL for species in sites)
    if odd:
        detail = f"{odd} of {len(sites)} sites are shared or partly empty; make an ordered model of it first"
        raise RefusedError(FailureReason.DISORDERED, detail)
    symbols = [species[0][0] for species in sites]
    unknown = sorted({symbol for symbol in symbols if symbol not in _NUMBERS})
    if unknown:
        raise RefusedError(FailureReason.UNSUPPORTED_ELEMENT, f"{', '.join(unknown)} is not an element")
    charge = content.get("charge") or 0
    if float(charge):
        raise RefusedError(FailureReason.CHARGED, f"it has a charge of {charge}; {NEUTRAL}")
    if not all(pbc):
        raise RefusedError(FailureReason.NOT_PERIODIC, f"periodic along {pbc} only")
    return cell, symbols, positions


def _lattice(content: Any) -> tuple[np.ndarray, tuple[bool, ...]]:
    """Return vectors (rows, Å) and the directions that are periodic."""
    if not isinstance(content, Mapping):
        return np.array(content, dtype=float).reshape(3, 3), (True, True, True)
    pbc = tuple(bool(each) for each in content.get("pbc") or (True, True, True))
    if content.get("matrix") is not None:
        return np.array(content["matrix"], dtype=float).reshape(3, 3), pbc
    a, b, c = (float(content[key]) for key in "abc")
    alpha, beta, gamma = np.radians([float(content[key]) for key in ("alpha", "beta", "gamma")])
    cosine = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta))
    sine = np.sqrt(max(0.0, 1 - cosine**2))
    first = [a * np.sin(beta), 0.0, a * np.cos(beta)]
    second = [-b * np.sin(alpha) * cosine, b * np.sin(alpha) * sine, b * np.cos(alpha)]
    return np.array([first, second, [0.0, 0.0, c]]), pbc


def _species(site: Any) -> list[tuple[str, float]]:
    """Return the elements of a site with their occupancies; oxidation states and spins are left out."""
    total: defaultdict[str, float] = defaultdict(float)
    for each in site["species"]:
        name = str(each["element"])
        # Fe2+ and Fe0+, as older versions wrote them
        symbol = name.rstrip("+-0123456789.") if name not in _NUMBERS else name
        total[symbol if symbol in _NUMBERS else name] += float(each.get("occu", 1))
    return list(total.items())


def _position(site: Any, cell: np.ndarray) -> np.ndarray:
    """Return the Cartesian position of a site (Å): that of its fractional coordinates, if it has them."""
    if site.get("abc") is not None:
        return np.array(site["abc"], dtype=float).reshape(3) @ cell
    return np.array(site["xyz"], dtype=float).reshape(3)
