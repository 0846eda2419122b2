"""Built-in crystals: well-known, cheap for DFT, stable at room temperature.

Lattice constants are experimental ones at room temperature, from R. W. G. Wyckoff, Crystal Structures, 2nd
ed., vol. 1 (1963), as tabulated also in C. Kittel, Introduction to Solid State Physics, 8th ed. (2005),
chapter 1; other sources are named in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas import __version__
from pesatlas.atoms.elements import atomic_number
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Read, make_crystal

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class _Recipe:
    """Lattice vectors (Å), species, fractional coordinates."""

    vectors: tuple[Vector, Vector, Vector]
    species: tuple[str, ...]
    fractional: tuple[Vector, ...]


def _fcc(a: float) -> tuple[Vector, Vector, Vector]:
    return (0.0, a / 2, a / 2), (a / 2, 0.0, a / 2), (a / 2, a / 2, 0.0)


def _bcc(a: float) -> tuple[Vector, Vector, Vector]:
    return (-a / 2, a / 2, a / 2), (a / 2, -a / 2, a / 2), (a / 2, a / 2, -a / 2)


def _box(a: float, b: float, c: float) -> tuple[Vector, Vector, Vector]:
    return (a, 0.0, 0.0), (0.0, b, 0.0), (0.0, 0.0, c)


def _hexagonal(a: float, c: float) -> tuple[Vector, Vector, Vector]:
    return (a, 0.0, 0.0), (-a / 2, a * 3**0.5 / 2, 0.0), (0.0, 0.0, c)


_ORIGIN = (0.0, 0.0, 0.0)
_QUARTER = (0.25, 0.25, 0.25)
_CENTRE = (0.5, 0.5, 0.5)


def _rock_salt(a: float, cation: str, anion: str) -> _Recipe:
    return _Recipe(_fcc(a), (cation, anion), (_ORIGIN, _CENTRE))


def _zinc_blende(a: float, cation: str, anion: str) -> _Recipe:
    return _Recipe(_fcc(a), (cation, anion), (_ORIGIN, _QUARTER))


def _caesium_chloride(a: float, first: str, second: str) -> _Recipe:
    return _Recipe(_box(a, a, a), (first, second), (_ORIGIN, _CENTRE))


def _antifluorite(a: float, cation: str, anion: str) -> _Recipe:
    return _Recipe(_fcc(a), (anion, cation, cation), (_ORIGIN, _QUARTER, (0.75, 0.75, 0.75)))


def _wurtzite(a: float, c: float, u: float, cation: str, anion: str) -> _Recipe:
    first, second = (1 / 3, 2 / 3, 0.0), (2 / 3, 1 / 3, 0.5)
    sites = (first, second, (*first[:2], u), (*second[:2], u + 0.5))
    return _Recipe(_hexagonal(a, c), (cation, cation, anion, anion), sites)


def _rutile(a: float, c: float, u: float, cation: str, anion: str) -> _Recipe:
    anions = ((u, u, 0.0), (-u, -u, 0.0), (0.5 + u, 0.5 - u, 0.5), (0.5 - u, 0.5 + u, 0.5))
    return _Recipe(_box(a, a, c), (cation, cation, *[anion] * 4), (_ORIGIN, _CENTRE, *anions))


def _two_h(a: float, c: float, z: float, metal: str, chalcogen: str) -> _Recipe:
    """Molybdenite: space group 194, metal on 2c, chalcogen on 4f."""
    first, second = (1 / 3, 2 / 3), (2 / 3, 1 / 3)
    metals = ((*first, 0.25), (*second, 0.75))
    chalcogens = ((*first, z), (*second, z - 0.5), (*second, 1 - z), (*first, 1.5 - z))
    return _Recipe(_hexagonal(a, c), (metal, metal, *[chalcogen] * 4), (*metals, *chalcogens))


def _lanthanum_decahydride(a: float, x: float) -> _Recipe:
    """Space group 225: La on 4b, H on 8c and 32f, on the primitive face-centred cell: 11 atoms."""
    cubic = [(0.5, 0.5, 0.5), _QUARTER, (0.75, 0.75, 0.75)]
    cubic += [(s * x, t * x, u * x) for s, t, u in product((1, -1), repeat=3)]
    # primitive fractional coordinates of a face-centred cell: (y + z - x, x + z - y, x + y - z)
    sites = tuple((q + r - p, p + r - q, p + q - r) for p, q, r in cubic)
    return _Recipe(_fcc(a), ("La", *["H"] * 10), sites)


def _bc8(a: float, x: float, element: str) -> _Recipe:
    """Site 16c of space group 206 on the primitive body-centred cell: 8 atoms."""
    cubic = [(x, x, x), (0.5 - x, -x, 0.5 + x), (-x, 0.5 + x, 0.5 - x), (0.5 + x, 0.5 - x, -x)]
    cubic += [(-p, -q, -r) for p, q, r in cubic]
    # primitive fractional coordinates of a body-centred cell: (y + z, x + z, x + y)
    sites = tuple((q + r, p + r, p + q) for p, q, r in cubic)
    return _Recipe(_bcc(a), (element,) * 8, sites)


CRYSTALS: dict[str, _Recipe] = {
    "Al": _Recipe(_fcc(4.05), ("Al",), (_ORIGIN,)),
    "AlP": _zinc_blende(5.451, "Al", "P"),
    "CsCl": _caesium_chloride(4.123, "Cs", "Cl"),
    "GaAs": _zinc_blende(5.653, "Ga", "As"),
    "H3S": _Recipe(  # at 200 GPa: Duan et al., Sci. Rep. 4, 6968 (2014)
        _bcc(2.984), ("S", "H", "H", "H"), (_ORIGIN, (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
    ),
    "LaH10": _lanthanum_decahydride(5.1, 0.12),  # at 150 GPa: Geballe et al., Angew. Chem. 57, 688 (2018)
    "Li2O": _antifluorite(4.619, "Li", "O"),
    "Li2S": _antifluorite(5.71, "Li", "S"),
    "Li3N": _Recipe(  # Rabenau and Schulz, J. Less-Common Met. 50, 155 (1976)
        _hexagonal(3.648, 3.875),
        ("N", "Li", "Li", "Li"),
        (_ORIGIN, (0.0, 0.0, 0.5), (1 / 3, 2 / 3, 0.0), (2 / 3, 1 / 3, 0.0)),
    ),
    "LiF": _rock_salt(4.017, "Li", "F"),
    "Mg2Si": _antifluorite(6.351, "Mg", "Si"),
    "MgO": _rock_salt(4.211, "Mg", "O"),
    "MoS2": _two_h(
        3.160, 12.294, 0.621, "Mo", "S"
    ),  # Bronsema, de Boer, Jellinek, Z. Anorg. Chem. 540 (1986)
    "NaCl": _rock_salt(5.640, "Na", "Cl"),
    "NiAl": _caesium_chloride(2.887, "Ni", "Al"),
    "Si": _zinc_blende(5.431, "Si", "Si"),
    "Si-BC8": _bc8(
        6.636, 0.1003, "Si"
    ),  # Kasper and Richards, Acta Cryst. 17, 752 (1964); metastable at 0 GPa
    "SiC": _zinc_blende(4.360, "Si", "C"),
    "TiO2": _rutile(4.594, 2.959, 0.305, "Ti", "O"),
    "WS2": _two_h(
        3.153, 12.323, 0.6225, "W", "S"
    ),  # Schutte, de Boer, Jellinek, J. Solid State Chem. 70, 207 (1987)
    "ZnO": _wurtzite(
        3.250, 5.207, 0.382, "Zn", "O"
    ),  # u: Abrahams and Bernstein, Acta Cryst. B 25, 1233 (1969)
}

DEFAULT = ["AlP", "GaAs", "LiF", "MgO", "NaCl", "Si", "Si-BC8", "SiC"]


class Options(Section):
    """Options of the source ``demo``."""

    kind: Literal["demo"] = Field("demo", description="crystals that come with pesatlas")
    names: list[str] = Field(DEFAULT, min_length=1, description=f"which of them: {', '.join(CRYSTALS)}")

    @field_validator("names")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in CRYSTALS]
        if unknown:
            raise ValueError(f"no built-in crystal {', '.join(unknown)}; there are {', '.join(CRYSTALS)}")
        return names


def licence(options: Options) -> str:  # noqa: ARG001 - as all sources have it
    """Return the licence of the crystals: numbers from the literature, which have none."""
    return "none needed: lattice constants from the literature, cited in pesatlas/structures/sources/demo.py"


def load(options: Options) -> Iterator[Read]:
    """Yield the crystals, with ids such as ``demo-Si``."""
    for name in options.names:
        recipe = CRYSTALS[name]
        cell = np.array(recipe.vectors)
        numbers = [atomic_number(symbol) for symbol in recipe.species]
        yield make_crystal(
            f"demo-{name}", numbers, cell, np.array(recipe.fractional) @ cell, f"demo pesatlas-{__version__}"
        )
