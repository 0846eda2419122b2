"""Reference levels of VASP: pymatgen's ``MatPESStaticSet`` for PBE and r2SCAN."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from pesatlas.atoms.elements import atomic_number
from pesatlas.config.section import digest
from pesatlas.levels import potcars
from pesatlas.levels.level import Level, Precision, kpoint_mesh

Functional = Literal["PBE", "R2SCAN"]
FUNCTIONALS: dict[str, Functional] = {"pbe": "PBE", "r2scan": "R2SCAN"}

# The one difference to the set: a PBE run writes its wavefunction, which r2SCAN starts from. It changes no
# number.
EXTRA_INCAR: dict[Functional, dict[str, Any]] = {"PBE": {"LWAVE": True}, "R2SCAN": {}}


def levels(options: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the levels by name, for the VASP version and the kind of POTCARs in ``options``.

    POTCARs that pymatgen knows are one set, of which a campaign has those of its elements: its fingerprint
    does not change with what else is in the folder. POTCARs that it does not know are part of the level as
    the files that are there.

    Raises
    ------
    UserError
        If unknown POTCARs are allowed and no folder of them is set up.
    """
    symbols = potcars.symbols()
    data = (
        {"unknown": potcars.found_data(symbols)}
        if options.allow_unknown_potcars
        else potcars.known_data(symbols)
    )
    return {name: _level(options, name, symbols, digest(data)) for name in names}


def elements(_: Any) -> frozenset[int]:
    """Atomic numbers of the elements whose POTCAR is there.

    Raises
    ------
    UserError
        If no folder of POTCARs is set up.
    """
    return frozenset(
        atomic_number(element) for element, symbol in potcars.symbols().items() if potcars.path_of(symbol)
    )


def possible_elements() -> frozenset[int]:
    """Atomic numbers of the elements that the levels have a POTCAR for, whether its file is here or not."""
    return frozenset(map(atomic_number, potcars.symbols()))


_PRECISION = ("ENCUT", "KSPACING")


def precision_of(level: Level, numbers: list[int], cell: np.ndarray) -> Precision:  # noqa: ARG001 - the same for all elements
    """Return plane waves and k-points of one crystal at ``level``.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    """
    cutoff, spacing = (float(level.settings["incar"][key]) for key in _PRECISION)
    return Precision(cutoff, spacing, kpoint_mesh(cell, spacing))


def at_precision(
    level: Level,
    *,
    cutoff_eV: float | None = None,  # noqa: N803 - a unit
    kpoint_spacing_per_A: float | None = None,  # noqa: N803 - a unit
) -> Level:
    """Return ``level`` with another ENCUT, or another KSPACING: a level of its own."""
    given = zip(_PRECISION, (cutoff_eV, kpoint_spacing_per_A), strict=True)
    changed = {key: value for key, value in given if value is not None}
    settings = {name: {**level.settings[name], **changed} for name in ("incar", "also")}
    return level.model_copy(update={"settings": {**level.settings, **settings}})


def own_precision(level: Level) -> dict[str, float]:
    """Return the keys of the INCAR in which ``at_precision`` made a level differ from its input set."""
    also = level.settings.get("also", {})
    return {key: also[key] for key in _PRECISION if key in also}


def _level(options: Any, name: str, symbols: dict[str, str], pseudopotentials: str) -> Level:
    from pymatgen.core import Lattice, Structure  # noqa: PLC0415 - slow to import
    from pymatgen.io.vasp.sets import MatPESStaticSet  # noqa: PLC0415 - slow to import

    functional = FUNCTIONALS[name]
    # No key of this set depends on the structure but MAGMOM, whose rule is a table by element.
    any_crystal = Structure(Lattice.cubic(3.0), ["Si"], [[0, 0, 0]])
    incar = dict(MatPESStaticSet(any_crystal, xc_functional=functional).incar)
    del incar["MAGMOM"]
    return Level(
        name=name,
        code={
            "vasp": options.vasp_version,
            "pymatgen": version("pymatgen"),
            "pymatgen-core": version("pymatgen-core"),
        },
        functional=functional,
        settings={
            "input_set": "MatPESStaticSet",
            "incar": incar,
            "moments_muB": MatPESStaticSet.CONFIG["INCAR"]["MAGMOM"],
            "also": EXTRA_INCAR[functional],
            "start": "PBE wavefunction and final moments" if name == "r2scan" else "atomic densities",
            "potcars": {"functional": potcars.FUNCTIONAL, "symbols": symbols},
            "isolated_atoms": "the same settings",
            "atom_box_A": [15.0, 15.1, 15.2],
        },
        pseudopotentials=pseudopotentials,
    )
