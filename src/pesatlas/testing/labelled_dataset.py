"""A dataset with exact labels: a distorted alloy under every strain, by ASE's effective-medium theory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pesatlas.campaign.layout import Results, below
from pesatlas.tables import TableWriter
from pesatlas.testing.blank import blank

STRAIN = 1e-4
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
LEVELS = ("pbe", "r2scan")


def strained() -> Iterator[tuple[str, Atoms]]:
    """Yield a distorted crystal, and the same under each of the six strains, both ways.

    Energies that fix every component of its stress.
    """
    rng = np.random.default_rng(1)
    start = bulk("Cu", cubic=True) * (1, 1, 2)
    start.numbers[::3] = 47
    start.set_cell(start.cell @ (np.eye(3) * 0.97 + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
    start.positions += 0.1 * rng.standard_normal(start.positions.shape)
    yield "start", start
    for i, (a, b) in enumerate(VOIGT):
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * STRAIN / 2
            strain[b, a] += sign * STRAIN / 2
            atoms = start.copy()
            atoms.set_cell(start.cell @ strain, scale_atoms=True)
            yield f"{i}{'+' if sign > 0 else '-'}", atoms


def by_finite_strain(energies: dict[str, float], volume: float) -> list[float]:
    """Return the stress in eV/Å³, tension positive.

    The derivative of the energy by strain, over the volume.
    """
    return [(energies[f"{i}+"] - energies[f"{i}-"]) / (2 * STRAIN * volume) for i in range(6)]


def labelled_rows(level: str, example: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return 13 rows of table ``dataset``, one of them flagged, in all splits.

    What they do not say is as in ``example``, or means nothing.
    """
    rows = []
    for name, atoms in strained():
        atoms.calc = EMT()
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy() * (1.1 if level == "r2scan" else 1)
        rows.append(
            {
                **(example or {**blank("dataset"), "level": level}),
                "snapshot_id": f"CuAg:unit:300K-0GPa:{name}",
                "structure_id": "CuAg",
                "n_atoms": len(atoms),
                "numbers": atoms.numbers.tolist(),
                "cell_A": atoms.cell.array.reshape(-1).tolist(),
                "positions_A": atoms.positions.reshape(-1).tolist(),
                "energy_eV": energy,
                "free_energy_eV": energy - 0.001,
                "forces_eV_per_A": forces.reshape(-1).tolist(),
                "abs_forces_eV_per_A": np.linalg.norm(forces, axis=1).tolist(),
                "stress_eV_per_A3": atoms.get_stress().tolist(),
                "magmoms_muB": [0.1 * i for i in range(len(atoms))],
                "bader_charges_e": [11.0 + 0.01 * i for i in range(len(atoms))],
                "bader_net_charges_e": [-0.01 * i for i in range(len(atoms))],
                "bader_magmoms_muB": [0.1 * i for i in range(len(atoms))],
                "bader_method": "made up",
                "band_gap_eV": 0.0,
                "verdict": "flagged" if name == "5-" else "accepted",
                "split": "valid" if name.startswith("4") else "test" if name.startswith("5") else "train",
                "chemical_system": "Ag-Cu",
                "formula": "Ag3Cu5",
            }
        )
    return rows


def write_results(folder: Path) -> Path:
    """Write the datasets of both levels, and the manifest that exports need, into ``folder``; return it."""
    layout = Results(folder, 0, LEVELS)
    for level in LEVELS:
        path = layout.path("dataset", level=level)
        path.parent.mkdir(parents=True)
        with TableWriter(path, "dataset", "made up") as writer:
            writer.write(labelled_rows(level))
    manifest = {
        "campaign": "made-up",
        "code_version": "0",
        "levels": list(LEVELS),
        "label_batches": 0,
        "files": [],
        "references": {"atoms_eV": {level: {"Cu": -1.0, "Ag": -2.0} for level in LEVELS}},
    }
    below(folder, "manifest").write_text(json.dumps(manifest))
    return folder
