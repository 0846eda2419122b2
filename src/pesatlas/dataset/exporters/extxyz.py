"""Extended XYZ as ASE writes it: energy, forces, stress (eV/Å³, tension positive) in a calculator.

Bader charges, where there are any, are columns: ``bader_charges`` and ``bader_magmoms`` as in MatPES, and
``bader_net_charges``.
"""

from pathlib import Path

import numpy as np

from pesatlas.dataset.convert import text_info, to_ase
from pesatlas.dataset.dataset_rows import Source

_CHARGES = {
    "bader_charges": "bader_charges_e",
    "bader_net_charges": "bader_net_charges_e",
    "bader_magmoms": "bader_magmoms_muB",
}


def export(source: Source, folder: Path) -> list[Path]:
    """Write one ``.extxyz`` with every row; its split is in ``info``. Return it."""
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415 - slow to import

    path = folder / f"{source.stem}.extxyz"
    with path.open("w", encoding="utf-8") as file:
        for row in source.rows():
            atoms = to_ase(row)
            atoms.info = text_info(row)
            for name, column in _CHARGES.items():
                if row[column] is not None:
                    atoms.arrays[name] = np.array(row[column])
            write_extxyz(file, [atoms])
    return [path]
