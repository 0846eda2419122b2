"""Input of one calculation by pw.x."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.errors import UserError
from pesatlas.label.backend import Task
from pesatlas.levels import upf
from pesatlas.levels.qe import cutoffs, kpoints, polarisation

INPUT, PREFIX, OUT = "pw.in", "pwscf", "out"
SCHEMA_FILE = Path(OUT) / f"{PREFIX}.save" / "data-file-schema.xml"
RYDBERG_EV = 13.605693122994
"""Rydberg in eV (2018 CODATA, as pw.x)."""
MIXING = {"diagonalization": "david", "mixing_mode": "plain", "mixing_beta": 0.4}
"""Route to the solution, which is not part of the level: pw.x mixes 0.7, too much for magnetic crystals."""


@dataclass(frozen=True)
class Inputs:
    """One input, before remedies.

    Attributes
    ----------
    namelists : keys of pw.x by namelist
    kpoints : divisions of the Γ-centred mesh
    cell : (3, 3) Å, right-handed
    files : pseudopotential of each element
    """

    task: Task
    namelists: dict[str, dict[str, Any]]
    kpoints: list[int]
    cell: np.ndarray
    files: dict[str, upf.Upf]

    def settings(self, electrons: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the calculation in full, for the label."""
        listed = {
            name: {k: v for k, v in keys.items() if k != "pseudo_dir"}
            for name, keys in self.namelists.items()
        }
        listed["electrons"] = {**listed["electrons"], **electrons}
        shares = {element: self._polarisation(element) for element in self.files}
        return {
            "functional": self.task.level.functional,
            "pw": listed,
            "kpoints": self.kpoints,
            "starting_magnetization": shares,
            "pseudopotentials": {element: file.path.name for element, file in self.files.items()},
        }

    def _polarisation(self, element: str) -> float:
        number = next(int(z) for z in self.task.numbers if symbol_of(int(z)) == element)
        return polarisation(self.task.level, number, isolated=self.task.isolated)


class MissingUpfError(Exception):
    """The level has no pseudopotential of an element."""


def prepare(task: Task, folder: Path) -> Inputs:
    """Return the input of a task.

    Parameters
    ----------
    folder : Path
        The user's folder of UPF files.

    Raises
    ------
    MissingUpfError
        If the level has none for an element.
    UserError
        If a file is not the one of the level.
    """
    level, numbers = task.level, [int(number) for number in task.numbers]
    rules = level.settings
    files = {symbol: _file_of(symbol, task, folder) for symbol in sorted({symbol_of(z) for z in numbers})}
    # pw.x may want a right-handed cell; the same crystal has one with two of its vectors swapped.
    cell = task.cell if np.linalg.det(task.cell) > 0 else task.cell[[1, 0, 2]]
    waves, density = cutoffs(level, numbers)
    namelists = {
        "control": {
            "calculation": "scf",
            "prefix": PREFIX,
            "outdir": f"./{OUT}",
            "pseudo_dir": str(folder),
            "tprnfor": True,
            "tstress": True,
            "disk_io": "low",
        },
        "system": {
            "ibrav": 0,
            "ecutwfc": waves,
            "ecutrho": density,
            "occupations": "smearing",
            "smearing": rules["smearing"],
            "degauss": rules["width_eV"] / RYDBERG_EV,
            "nspin": 2,
        },
        "electrons": {
            "conv_thr": rules["conv_thr_Ry_per_atom"] * len(numbers),
            "electron_maxstep": rules["max_steps"],
            **MIXING,
        },
    }
    mesh = [1, 1, 1] if task.isolated else kpoints(level, cell)
    return Inputs(task, namelists, mesh, cell, files)


def write(inputs: Inputs, folder: Path, electrons: dict[str, Any]) -> None:
    """Write ``pw.in``.

    Parameters
    ----------
    electrons : dict
        Keys of the namelist of that name that a remedy changed.
    """
    from ase import Atoms  # noqa: PLC0415 - slow to import
    from ase.io.espresso import write_espresso_in  # noqa: PLC0415 - as above

    task = inputs.task
    atoms = Atoms(numbers=task.numbers, cell=inputs.cell, positions=task.positions, pbc=True)
    # ASE writes these numbers as they are: shares of the valence electrons, which every pw.x reads
    atoms.set_initial_magnetic_moments(
        [polarisation(task.level, int(z), isolated=task.isolated) for z in task.numbers]
    )
    namelists = {name: dict(keys) for name, keys in inputs.namelists.items()}
    namelists["electrons"] |= electrons
    with (folder / INPUT).open("w", encoding="utf-8") as handle:
        write_espresso_in(
            handle,
            atoms,
            input_data=namelists,
            pseudopotentials={element: file.path.name for element, file in inputs.files.items()},
            kpts=tuple(inputs.kpoints),
        )


def _file_of(symbol: str, task: Task, folder: Path) -> upf.Upf:
    """Return the file of an element, which is the one of the level."""
    wanted = task.level.settings["pseudopotentials"].get(symbol)
    if wanted is None:
        raise MissingUpfError(f"no UPF file of {symbol} in {folder}")
    path = folder / wanted["file"]
    found = upf.read(path) if path.is_file() else None
    if found is None or found.sha256 != wanted["sha256"]:
        state = "is missing" if found is None else "was changed"
        raise UserError(
            f"{path} {state} while the job ran: the level {task.level.fingerprint} has the file of sha256 "
            f"{wanted['sha256'][:12]}. Put it back, or run again."
        )
    return found
