"""Extended XYZ for MACE: ``REF_energy``, ``REF_forces``, ``REF_stress`` (eV/Å³, tension positive), a file for each split.

Isolated atoms lead the training file as ``config_type=IsolatedAtom``, which MACE takes its E0s from.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.dataset.atoms import text_info, to_ase
from pesatlas.dataset.source import SPLITS, Source

_BOX_A = 20.0
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


def export(source: Source, folder: Path) -> list[Path]:
    """Write ``-train``, ``-valid`` and ``-test.extxyz``; return them."""
    from ase import Atoms  # noqa: PLC0415 - slow to import
    from ase.io.extxyz import write_extxyz  # noqa: PLC0415

    paths = {split: folder / f"{source.stem}-{split}.extxyz" for split in SPLITS}
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(path.open("w", encoding="utf-8")) for split, path in paths.items()
        }
        for symbol, energy in source.atoms.items():
            atom = Atoms(symbol, cell=[_BOX_A] * 3)
            atom.info = {"REF_energy": energy, "config_type": "IsolatedAtom"}
            atom.arrays["REF_forces"] = np.zeros((1, 3))
            write_extxyz(files["train"], [atom])
        for row in source.rows():
            atoms: Any = to_ase(row, results=False)
            atoms.info = {
                **text_info(row),
                "config_type": "Default",
                "REF_energy": row["energy_eV"],
                "REF_stress": np.array(row["stress_eV_per_A3"])[list(map(list, _VOIGT))],
            }
            atoms.arrays["REF_forces"] = np.reshape(row["forces_eV_per_A"], (-1, 3))
            write_extxyz(files[row["split"]], [atoms])
    # MACE is not given a file without frames
    for path in paths.values():
        if not path.stat().st_size:
            path.unlink()
    return [path for path in paths.values() if path.exists()]
