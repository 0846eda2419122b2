"""Reference level of Quantum ESPRESSO: PBE with the user's pseudopotentials, near that of MatPES."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.levels import upf
from pesatlas.levels.level import Level
from pesatlas.levels.recommendations import Advice, read_pseudodojo, read_sssp

_STRESS_OF_META_GGA = (7, 6)
"""First version with a right stress: "Stress for meta-GGA functionals was broken", release notes of 7.6."""
_ANY_MOMENT = 0.6
"""Initial moment (μB) of elements that MatPES does not name: the default of pymatgen's VASP sets."""
_MOST_POLARISED = 0.9
"""Largest initial magnetisation per valence electron; pw.x takes 1 and more for a moment from 7.3 on."""

QUALITIES: dict[str, dict[str, Any]] = {
    "coarse": {
        "quality": "coarse: shows how it works, not for training",
        "kpoint_spacing_per_A": 0.8,
        "conv_thr_Ry_per_atom": 1e-9,
        "atom_box_A": [7.0, 7.1, 7.2],
    },
    # k-spacing as MatPES
    "standard": {
        "quality": "standard",
        "conv_thr_Ry_per_atom": 2e-10,
        "atom_box_A": [15.0, 15.1, 15.2],
    },
}


def levels(options: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the level ``pbe`` of these options.

    Raises
    ------
    UserError
        If another level is named, or something is wrong with the pseudopotentials (``upf.choose``).
    """
    check_levels(options, names)
    chosen = pseudopotentials(options)
    about = {element: each.about() for element, each in chosen.items()}
    settings = {**_settings_of_matpes(), **QUALITIES[options.quality], "pseudopotentials": about}
    code = {"quantum-espresso": options.qe_version}
    return {
        name: Level(name=name, code=code, functional="PBE", settings=settings, pseudopotentials=digest(about))
        for name in names
    }


def elements(options: Any) -> frozenset[int]:
    """Atomic numbers of the elements with a pseudopotential in the user's folder."""
    return frozenset(atomic_number(element) for element in pseudopotentials(options))


def pseudopotentials(options: Any) -> dict[str, upf.Chosen]:
    """Return the pseudopotential of each element, as ``upf.choose`` does, from the options of the backend."""
    given = options.recommendations
    if given is None:
        advice: Advice = {}
    elif isinstance(given, Path):
        advice = read_sssp(given.expanduser())
    else:
        advice = read_pseudodojo(given.djrepo.expanduser(), given.hint)
    return upf.choose(options.pseudopotentials.expanduser(), advice, options.cutoffs_Ry)


def kpoints(level: Level, cell: np.ndarray) -> list[int]:
    """Return the divisions of a Γ-centred mesh, as VASP makes it of KSPACING.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors
    """
    lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return [max(1, math.ceil(each / level.settings["kpoint_spacing_per_A"] - 1e-9)) for each in lengths]


def cutoffs(level: Level, numbers: Sequence[int]) -> tuple[float, float]:
    """Return the cut-offs of wavefunctions and density (Ry): the highest of any of the elements."""
    files = [level.settings["pseudopotentials"][symbol_of(number)] for number in set(numbers)]
    return max(file["ecutwfc_Ry"] for file in files), max(file["ecutrho_Ry"] for file in files)


def polarisation(level: Level, number: int, *, isolated: bool) -> float:
    """Return the initial magnetisation of an element, per valence electron.

    Of an isolated atom it is that of Hund's rule.
    """
    from ase.data import ground_state_magnetic_moments  # noqa: PLC0415 - slow to import

    symbol = symbol_of(number)
    moments = level.settings["moments_muB"]
    moment = float(ground_state_magnetic_moments[number]) if isolated else moments.get(symbol, _ANY_MOMENT)
    share = moment / level.settings["pseudopotentials"][symbol]["valence"]
    return min(share, _MOST_POLARISED)


def _settings_of_matpes() -> dict[str, Any]:
    """Return what the two codes have in common of ``MatPESStaticSet``."""
    from pymatgen.io.vasp.sets import MatPESStaticSet  # noqa: PLC0415 - slow to import

    incar = MatPESStaticSet.CONFIG["INCAR"]
    moments = {element: float(moment) for element, moment in incar["MAGMOM"].items() if element.isalpha()}
    return {
        "input_set": "as MatPESStaticSet where pw.x has the same",
        "kpoint_spacing_per_A": float(incar["KSPACING"]),
        "smearing": "gaussian",
        "width_eV": float(incar["SIGMA"]),
        "max_steps": int(incar["NELM"]),
        "spin": "collinear, always polarised",
        "moments_muB": {**moments, "others": _ANY_MOMENT},
        "starting_magnetization": f"moment / valence, at most {_MOST_POLARISED}",
        "cutoffs": "the highest of the elements of a structure",
        "dispersion": None,
        "hubbard_u": None,
        "isolated_atoms": "the same settings at Γ, from Hund's moments",
    }


def check_levels(options: Any, names: Sequence[str]) -> None:
    """Raise a UserError if one of the levels cannot be calculated with this version."""
    if "r2scan" not in names:
        return
    found = [int(number) for number in re.findall(r"\d+", options.qe_version)[:2]]
    who = f"r2scan with Quantum ESPRESSO {options.qe_version}"
    if tuple(found) < _STRESS_OF_META_GGA:
        raise UserError(
            f"{who} would have wrong stresses: those of meta-GGA functionals were broken before 7.6. Write "
            "levels: [pbe]."
        )
    # 7.5 has PW/src/stres_gradcorr.f90: "Meta-GGA stress does not work with spin polarization"
    raise UserError(
        f"{who} is not offered: until 7.5 pw.x has no stress of spin-polarised meta-GGA calculations, as "
        "this level's are, and no later version has been tested with pesatlas yet. Write levels: [pbe]."
    )
