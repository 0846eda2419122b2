"""A reference level: everything that decides a label, as one immutable object."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pesatlas.config.section import Section, digest


@dataclass(frozen=True)
class Precision:
    """Plane waves and k-points of one calculation.

    Attributes
    ----------
    cutoff_eV : kinetic energy up to which plane waves are used
    kpoint_spacing_per_A : largest distance of neighbouring k-points, with 2π
    kpoints : mesh that follows from it for the cell
    """

    cutoff_eV: float
    kpoint_spacing_per_A: float
    kpoints: tuple[int, int, int]

    @property
    def relative_cost(self) -> float:
        """Plane waves times k-points, in no unit: how the time of a crystal's calculation grows."""
        return self.cutoff_eV**1.5 * math.prod(self.kpoints)


def kpoint_mesh(cell: np.ndarray, spacing_per_A: float) -> tuple[int, int, int]:  # noqa: N803 - a unit
    """Γ-centred mesh whose points are at most ``spacing_per_A`` (1/Å, with 2π) apart.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors
    """
    lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    a, b, c = (max(1, math.ceil(length / spacing_per_A - 1e-9)) for length in lengths)
    return a, b, c


class Level(Section):
    """Code, functional, settings and pseudopotentials.

    Attributes
    ----------
    name : ``pbe``, ``r2scan``, or ``mlip`` for labels of a potential
    code : code, library and data versions by name
    functional : functional as the code names it
    settings : rules from which the settings of every calculation follow, for crystals and for isolated atoms
    pseudopotentials : hash over the whole set of pseudopotentials, so that all rows of a campaign share a
        fingerprint
    """

    name: str
    code: dict[str, str]
    functional: str
    settings: dict[str, Any]
    pseudopotentials: str

    @property
    def fingerprint(self) -> str:
        """Hash of everything that defines the level."""
        return digest(self.identity())

    @property
    def code_text(self) -> str:
        """Code and versions in words, for the column ``code``."""
        return ", ".join(f"{name} {version}" for name, version in self.code.items())


def difference(first: Level, second: Level) -> list[str]:
    """Return the dotted keys in which two levels differ; empty if the levels are equal."""
    return _differing(first.identity(), second.identity(), "")


def _differing(first: Any, second: Any, path: str) -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted(first.keys() | second.keys())
        return [
            found
            for key in keys
            for found in _differing(first.get(key), second.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if first == second else [path]
