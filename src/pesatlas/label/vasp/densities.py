"""Bader charges of a VASP run from AECCAR0, AECCAR2 and CHGCAR, which stay in scratch."""

import re
from pathlib import Path

import numpy as np
from pymatgen.io.vasp.outputs import VolumetricData

from pesatlas.label.backend import Charges, Task
from pesatlas.label.charges import Valence, charges_of, missing
from pesatlas.label.vasp.corrections import same_structure
from pesatlas.label.vasp.custodian_run import STARTED
from pesatlas.label.vasp.inputs import Inputs

_CORE, _VALENCE, _CHARGE = "AECCAR0", "AECCAR2", "CHGCAR"
# these files have 6 decimals of lattice vectors and direct coordinates
_SAME_GEOMETRY_A = 1e-4
_ZVAL = re.compile(r"ZVAL\s*=\s*([\d.]+)")
_SOURCE = "volumes of AECCAR0 + AECCAR2, electrons of CHGCAR"


def bader_charges(task: Task, inputs: Inputs, folder: Path) -> Charges:
    """Return the charges of the run in ``folder``, in the order of the task.

    Maxima and zero-flux surfaces are those of the all-electron density; integrated is the valence density of
    CHGCAR, as ``bader -ref`` and MatPES do.
    """
    try:
        core, valence, charge = (_read(folder, name, inputs) for name in (_CORE, _VALENCE, _CHARGE))
        valences = _valences(inputs)
    except (OSError, ValueError, IndexError, KeyError, MemoryError) as error:
        return missing(f"{type(error).__name__}: {str(error)[:300]}")
    shapes = {
        name: each["total"].shape for name, each in ((_CORE, core), (_VALENCE, valence), (_CHARGE, charge))
    }
    if len(set(shapes.values())) > 1:
        return missing(f"densities are on different grids: {shapes}")
    volume = abs(float(np.linalg.det(task.cell)))
    # A cell that is left-handed has two vectors swapped for VASP: positions and grid are of its own cell.
    cell = inputs.structure.lattice.matrix
    in_poscar = Task(
        task.numbers[inputs.order], cell, inputs.structure.cart_coords, task.level, charges=task.charges
    )
    found = charges_of(
        in_poscar,
        reference=core["total"] + valence["total"],
        charge=charge["total"] / volume,
        magnetisation=charge["diff"] / volume if "diff" in charge else None,
        valence=Valence(valences, np.zeros(len(valences))),
        source=_SOURCE,
    )
    return found.in_order(np.argsort(inputs.order))


def _read(folder: Path, name: str, inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the grids of a file of this attempt, electrons per cell of the crystal.

    Raises
    ------
    OSError, ValueError, IndexError, KeyError
        If it is not there, torn, of an earlier attempt, or of another crystal.
    """
    path = folder / name
    if path.stat().st_mtime_ns < (folder / STARTED).stat().st_mtime_ns:
        raise ValueError(f"{name} is older than the calculation: it belongs to another run")
    poscar, data, _ = VolumetricData.parse_file(path)
    if not same_structure(poscar.structure, inputs.structure, _SAME_GEOMETRY_A):
        raise ValueError(f"the structure in {name} is not the requested one")
    return data


def _valences(inputs: Inputs) -> np.ndarray:
    """Return the valence electrons of each atom of the POSCAR, from ZVAL of its POTCAR."""
    found = {}
    for potcar in inputs.potcars:
        zval = _ZVAL.search(potcar.text)
        if zval is None:
            raise ValueError(f"POTCAR {potcar.symbol} has no ZVAL")
        found[potcar.symbol.split("_")[0]] = float(zval[1])
    return np.array([found[site.specie.symbol] for site in inputs.structure])
