"""Extended XYZ with the results of a calculation as ASE reads them, or with MACE's ``REF_`` keys; eV, eV/Å, eV/Å³ tension positive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ENDINGS = (".xyz", ".extxyz")
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; isolated atoms of MACE are left out, for they are no crystals."""
    from ase.io import iread  # noqa: PLC0415 - slow to import

    stem = path.name.split(".")[0]
    for i, atoms in enumerate(iread(path, format="extxyz")):
        info, found = atoms.info, _results(atoms)
        if info.get("config_type") == "IsolatedAtom":
            continue
        moments, stress = found.get("magmoms"), found.get("stress")
        yield {
            "snapshot_id": str(info.get("snapshot_id", f"{stem}:{i}")),
            "structure_id": str(info.get("structure_id", f"{stem}:{i}")),
            "numbers": atoms.numbers.tolist(),
            "cell_A": np.asarray(atoms.cell).reshape(-1).tolist(),
            "positions_A": atoms.positions.reshape(-1).tolist(),
            "energy_eV": float(found["energy"]),
            "forces_eV_per_A": np.reshape(found["forces"], -1).tolist(),
            "stress_eV_per_A3": None if stress is None else _voigt(np.asarray(stress)),
            "magmoms_muB": None if moments is None else np.asarray(moments).tolist(),
            "band_gap_eV": None,
            "cohesive_energy_eV_per_atom": None,
            "formation_energy_eV_per_atom": None,
            "split": info.get("split"),
        }


def _results(atoms: Any) -> dict[str, Any]:
    """Return energy, forces, stress and moments, from wherever they are."""
    if "REF_energy" in atoms.info:
        found = {"energy": atoms.info["REF_energy"], "forces": atoms.arrays["REF_forces"]}
        return found | ({"stress": atoms.info["REF_stress"]} if "REF_stress" in atoms.info else {})
    return dict(atoms.calc.results) if atoms.calc else {}


def _voigt(stress: np.ndarray) -> list[float]:
    """Return six numbers of six or of a (3, 3) or flat tensor."""
    if stress.size == 6:
        return [float(x) for x in stress.reshape(-1)]
    tensor = stress.reshape(3, 3)
    return [float(tensor[i, j]) for i, j in _VOIGT]
