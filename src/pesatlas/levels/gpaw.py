"""Reference levels of GPAW, and settings of each calculation.

GPAW is GPL and is never imported here: its versions are asked of it by running it, its PAW data are found as
files.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.errors import UserError
from pesatlas.levels.level import Level, Precision, kpoint_mesh

FUNCTIONALS = {"pbe": "PBE", "r2scan": "MGGA_X_R2SCAN+MGGA_C_R2SCAN"}
INSTALL = "apt-get install libxc-dev libopenblas-dev, then CC=g++ pip install 'pesatlas[gpaw]'"

# Initial moments (μB) of elements whose compounds are often magnetic: high spin, as pymatgen's MPStaticSet
# starts them. Structures with none of them are calculated without spin.
MAGNETIC = {
    **dict.fromkeys(("V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"), 5.0),
    **dict.fromkeys(("Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"), 5.0),
}

# Stress needs more plane waves than energy: the basis changes with the cell (Pulay stress). MgO: 40 GPa off
# at 400 eV, 0.2 at 800.
_HARD = ("N", "O", "F")

_COARSE: dict[str, Any] = {
    "cutoff_eV": {"default": 350.0, **dict.fromkeys(_HARD, 500.0)},
    "width_eV": 0.1,
    "convergence": {"energy": 1e-5, "density": 1e-5, "eigenstates": 1e-8},
    "max_iterations": 100,
    "atom_box_A": [7.0, 7.1, 7.2],
}
QUALITIES: dict[str, dict[str, Any]] = {
    # Of the first demo, whose campaigns go on with it. Its k-points make BC8 the ground state of silicon, by
    # 50 meV/atom.
    "demo": {
        "quality": "demo: coarse, shows how it works, not for training",
        **_COARSE,
        "kpoint_spacing_per_A": 0.75,
    },
    # With these diamond is: 65 meV/atom below BC8 at PBE (150 with k-points that are converged).
    "coarse": {
        "quality": "coarse: shows how it works, not for training",
        **_COARSE,
        "kpoint_spacing_per_A": 0.6,
    },
    "standard": {
        "quality": "standard",
        "cutoff_eV": {
            "default": 600.0,
            **dict.fromkeys((*_HARD, "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"), 1000.0),
        },
        "kpoint_spacing_per_A": 0.22,
        "width_eV": 0.05,
        "convergence": {"energy": 1e-6, "density": 1e-6, "eigenstates": 1e-9},
        "max_iterations": 333,
        "atom_box_A": [12.0, 12.1, 12.2],
    },
}


def levels(options: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the levels of the backend's ``options.quality`` by name.

    Raises
    ------
    UserError
        If GPAW, its PAW data or its libxc are not installed.
    """
    data = paw_folder()
    common = {
        **QUALITIES[options.quality],
        "magnetic_moments_muB": MAGNETIC,
        "dispersion": None,
        "hubbard_u": None,
    }
    # r2SCAN diverges self-consistently in the vacuum around an isolated atom (energies of -1e10 eV): the
    # functional is evaluated on the PBE density there. For crystals the two differ by some 10 meV/atom.
    atoms = {"pbe": "self-consistent", "r2scan": "on the PBE density"}
    return {
        name: Level(
            name=name,
            code=_versions(),
            functional=FUNCTIONALS[name],
            settings={**common, "isolated_atoms": atoms[name]},
            pseudopotentials=_digest_of(data),
        )
        for name in names
    }


def paw_folder() -> Path:
    """Return the folder of gpaw-data's PAW datasets.

    Raises
    ------
    UserError
        If it is not installed.
    """
    spec = importlib.util.find_spec("gpaw_data")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gpaw") is None:
        raise UserError(f"GPAW or its PAW data (gpaw-data) are not installed: {INSTALL}.")
    return Path(next(iter(spec.submodule_search_locations))) / "setups"


def elements(_: Any) -> frozenset[int]:
    """Atomic numbers for which there is a PAW dataset."""
    return frozenset(atomic_number(path.name.split(".")[0]) for path in _datasets(paw_folder()))


def pseudopotential_hashes(numbers: list[int]) -> dict[str, str]:
    """sha256 of the PAW dataset of each element."""
    folder = paw_folder()
    symbols = sorted({symbol_of(number) for number in numbers})
    return {
        symbol: hashlib.sha256((folder / f"{symbol}.PBE.gz").read_bytes()).hexdigest()[:16]
        for symbol in symbols
    }


def crystal_settings(level: Level, numbers: list[int], cell: np.ndarray) -> dict[str, Any]:
    """Return the settings of the calculation of one crystal at ``level``.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    """
    rules = level.settings
    kpoints = list(kpoint_mesh(cell, rules["kpoint_spacing_per_A"]))
    moments = [rules["magnetic_moments_muB"].get(symbol_of(number), 0.0) for number in numbers]
    return {
        **_common(level, numbers),
        "kpoints": kpoints,
        "moments_muB": moments if any(moments) else None,
        "isolated": False,
    }


def atom_settings(level: Level, number: int) -> dict[str, Any]:
    """Return the settings of the calculation of one isolated atom.

    Spin-polarised, with Hund's moment, in the level's box.
    """
    from ase.data import ground_state_magnetic_moments  # noqa: PLC0415 - slow to import

    moment = float(ground_state_magnetic_moments[number])
    return {**_common(level, [number]), "kpoints": [1, 1, 1], "moments_muB": [moment], "isolated": True}


def precision_of(level: Level, numbers: list[int], cell: np.ndarray) -> Precision:
    """Return plane waves and k-points of one crystal at ``level``.

    Parameters
    ----------
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    """
    settings = crystal_settings(level, numbers, cell)
    a, b, c = settings["kpoints"]
    return Precision(settings["cutoff_eV"], level.settings["kpoint_spacing_per_A"], (a, b, c))


def at_precision(
    level: Level,
    *,
    cutoff_eV: float | None = None,  # noqa: N803 - a unit
    kpoint_spacing_per_A: float | None = None,  # noqa: N803 - a unit
) -> Level:
    """Return ``level`` with another cut-off for all elements, or other k-points: a level of its own."""
    changed: dict[str, Any] = {}
    if cutoff_eV is not None:
        changed["cutoff_eV"] = {"default": cutoff_eV}
    if kpoint_spacing_per_A is not None:
        changed["kpoint_spacing_per_A"] = kpoint_spacing_per_A
    return level.model_copy(update={"settings": {**level.settings, **changed}})


def _common(level: Level, numbers: list[int]) -> dict[str, Any]:
    rules = level.settings
    cutoffs = rules["cutoff_eV"]
    return {
        "functional": level.functional,
        "cutoff_eV": max(cutoffs.get(symbol_of(number), cutoffs["default"]) for number in numbers),
        "width_eV": rules["width_eV"],
        "convergence": rules["convergence"],
        "max_iterations": rules["max_iterations"],
        "quality": rules["quality"],
    }


def _datasets(folder: Path) -> list[Path]:
    """Return the standard PBE datasets, which both functionals use: ``<symbol>.PBE.gz``."""
    return sorted(path for path in folder.glob("*.PBE.gz") if path.name.count(".") == 2)


@cache
def _digest_of(folder: Path) -> str:
    total = hashlib.sha256()
    for path in _datasets(folder):
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


@cache
def _versions() -> dict[str, str]:
    program = "import gpaw, json; print(json.dumps(gpaw.get_libraries()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UserError(
            f"GPAW does not start: {done.stderr.strip().splitlines()[-1:]}. Install it: {INSTALL}."
        )
    libxc = json.loads(done.stdout.strip().splitlines()[-1]).get("libxc")
    if not libxc:
        raise UserError(f"GPAW was built without libxc and has no r2SCAN. Build it again: {INSTALL}.")
    try:
        return {"gpaw": version("gpaw"), "libxc": libxc, "gpaw-data": version("gpaw-data")}
    except PackageNotFoundError as error:
        raise UserError(f"{error}. Install it: {INSTALL}.") from error
