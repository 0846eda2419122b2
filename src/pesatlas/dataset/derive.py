"""Quantities derived from a label and its references: energies, forces, pressure, symmetry, chemistry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import reduced_formula
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.splits import chemical_system
from pesatlas.dataset.chemistry import material_group
from pesatlas.dataset.references import References
from pesatlas.dataset.stress_symmetry import Symmetry, asymmetry, symmetry_of
from pesatlas.dynamics.distance import min_distance


@dataclass(frozen=True)
class Geometry:
    """What follows from a geometry alone, and is the same at every level.

    Attributes
    ----------
    symmetry : of the crystal
    columns : columns of the dataset
    """

    symmetry: Symmetry
    columns: dict[str, Any]


def geometry_of(row: Mapping[str, Any]) -> Geometry | None:
    """Return what follows from the geometry of a row; None if a number of it is not finite."""
    numbers = np.array(row["numbers"], dtype=int)
    cell = np.array(row["cell_A"]).reshape(3, 3)
    positions = np.array(row["positions_A"]).reshape(-1, 3)
    if not (np.isfinite(cell).all() and np.isfinite(positions).all() and len(positions) == len(numbers)):
        return None
    symmetry = symmetry_of(numbers, cell, positions)
    columns = {
        "min_distance_A": min_distance(cell, positions),
        "space_group": symmetry.number,
        "space_group_symbol": symmetry.symbol,
        **chemistry_of(row["numbers"]),
    }
    return Geometry(symmetry, columns)


def chemistry_of(numbers: list[int]) -> dict[str, str]:
    """Return the columns that name a composition."""
    return {
        "formula": reduced_formula(numbers),
        "chemical_system": chemical_system(numbers),
        "material_group": material_group(numbers),
    }


def derived(row: Mapping[str, Any], geometry: Geometry | None, references: References) -> dict[str, Any]:
    """Return the columns that the dataset has beyond a label, but verdict and split.

    Without a geometry (not finite) those that need one are not a number, and the rule ``finite`` is
    triggered.
    """
    numbers, level, energy = row["numbers"], row["level"], row["energy_eV"]
    forces = np.array(row["forces_eV_per_A"]).reshape(-1, 3)
    stress = np.array(row["stress_eV_per_A3"])
    sizes = np.linalg.norm(forces, axis=1)
    unknown = {"min_distance_A": np.nan, "space_group": 0, "space_group_symbol": "", **chemistry_of(numbers)}
    ground = row["condition"] == "equilibrium"
    return {
        "cohesive_energy_eV_per_atom": references.cohesive(energy, numbers, level),
        "formation_energy_eV_per_atom": references.formation(energy, numbers, level) if ground else None,
        "abs_forces_eV_per_A": sizes.tolist(),
        "max_force_eV_per_A": float(sizes.max()),
        "net_force_eV_per_A": float(np.linalg.norm(forces.sum(axis=0))),
        "static_pressure_GPa": float(-stress[:3].sum() / 3 * EV_PER_A3_TO_GPA),
        "max_stress_GPa": float(np.abs(stress).max() * EV_PER_A3_TO_GPA),
        "stress_asymmetry_GPa": _asymmetry(row, stress, geometry),
        "entropy_eV_per_atom": entropy(energy, row["free_energy_eV"]) / len(numbers),
        "level_gap_eV_per_atom": references.gap(row["snapshot_id"]),
        **(geometry.columns if geometry else unknown),
    }


def entropy(energy: float, free_energy: float) -> float:
    """Return T·S of the electrons in eV, from the energy extrapolated to zero smearing and the free energy.

    The free energy is F = E - TS, and for Fermi-Dirac and Gaussian smearing E0 = (E + F) / 2 is the energy at
    zero smearing but for higher orders of its width (M. J. Gillan, J. Phys.: Condens. Matter 1, 689 (1989)).
    So E0 - F is only half of T·S. GPAW's levels smear with Fermi-Dirac (``extrapolate_factor = -0.5``),
    VASP's with ISMEAR = 0, and both give this E0 as ``energy_eV``.
    """
    return 2 * (energy - free_energy)


def _asymmetry(row: Mapping[str, Any], stress: NDArray, geometry: Geometry | None) -> float:
    """Return how far the stress is from the symmetry of its crystal, in GPa.

    Moments may make that lower than the geometry's.
    """
    if geometry is None:
        return float("nan")
    rotations = geometry.symmetry.rotations
    moments = row["magmoms_muB"]
    if moments is not None and len(rotations) > 1:
        _, kinds = np.unique(
            np.stack([row["numbers"], np.round(np.array(moments), 1)], axis=1), axis=0, return_inverse=True
        )
        cell = np.array(row["cell_A"]).reshape(3, 3)
        positions = np.array(row["positions_A"]).reshape(-1, 3)
        rotations = symmetry_of(kinds.reshape(-1) + 1, cell, positions).rotations
    return asymmetry(stress, rotations) * EV_PER_A3_TO_GPA
