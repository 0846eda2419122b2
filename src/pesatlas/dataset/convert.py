"""A row as ASE's ``Atoms`` and as pymatgen's ``Structure``."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pesatlas.dataset.dataset_rows import provenance
from pesatlas.frames.comment import as_value

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


def to_ase(row: dict[str, Any], *, results: bool = True) -> "Atoms":
    """Return the atoms of a row, with a calculator that holds its label.

    EV, eV/Å, eV/Å³ tension positive, μB.

    Parameters
    ----------
    row : a row of a table with a geometry, and of labels if ``results``
    """
    from ase import Atoms  # noqa: PLC0415 - slow to import
    from ase.calculators.singlepoint import SinglePointCalculator  # noqa: PLC0415

    atoms = Atoms(
        numbers=row["numbers"],
        positions=np.reshape(row["positions_A"], (-1, 3)),
        cell=np.reshape(row["cell_A"], (3, 3)),
        pbc=True,
    )
    if results:
        label: dict[str, Any] = {
            "energy": row["energy_eV"],
            "free_energy": row["free_energy_eV"],
            "forces": np.reshape(row["forces_eV_per_A"], (-1, 3)),
            "stress": np.array(row["stress_eV_per_A3"]),
        }
        if row["magmoms_muB"] is not None:
            label["magmoms"] = np.array(row["magmoms_muB"])
        atoms.calc = SinglePointCalculator(atoms, **label)
    return atoms


def text_info(row: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of a row for ``Atoms.info`` in extended XYZ.

    Text that ASE reads back as the same text.

    An id such as ``0012345``, ``12e4`` or ``T`` would come back as a number or a boolean.
    """
    return {
        key: as_value(value) if isinstance(value, str) else value for key, value in provenance(row).items()
    }


def to_pymatgen(row: dict[str, Any]) -> "Structure":
    """Return the structure of a row, with final magnetic moments as site property ``magmom``."""
    from pymatgen.core import Lattice, Structure  # noqa: PLC0415 - slow to import

    moments = row.get("magmoms_muB")
    return Structure(
        Lattice(np.reshape(row["cell_A"], (3, 3))),
        row["numbers"],
        np.reshape(row["positions_A"], (-1, 3)),
        coords_are_cartesian=True,
        site_properties=None if moments is None else {"magmom": moments},
    )
