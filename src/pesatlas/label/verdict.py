"""Whether a finished calculation may enter a dataset, and which rules spoke."""

import json

import numpy as np

from pesatlas.config.dataset import Dataset
from pesatlas.label.interface import Result

ACCEPTED, QUARANTINED = "accepted", "quarantined"


def judge(result: Result, limits: Dataset) -> tuple[str, str]:
    """Return the verdict and, as JSON, the rules that spoke against the label (each with its number and limit)."""
    forces = np.asarray(result.forces_eV_per_A)
    net = float(np.linalg.norm(forces.sum(axis=0)))
    largest = float(np.linalg.norm(forces, axis=1).max())
    spoke = []
    if not result.converged:
        spoke.append("not converged")
    if net > limits.max_net_force_eV_per_A:
        spoke.append(f"forces sum to {net:.3g} eV/Å, allowed {limits.max_net_force_eV_per_A:g}")
    if largest > limits.max_force_eV_per_A:
        spoke.append(f"a force of {largest:.3g} eV/Å, allowed {limits.max_force_eV_per_A:g}")
    entropy = abs(result.free_energy_eV - result.energy_eV) / len(forces)
    if entropy > limits.max_entropy_eV_per_atom:
        spoke.append(
            f"energy and free energy differ by {entropy:.3g} eV/atom, allowed {limits.max_entropy_eV_per_atom:g}"
        )
    spoke += result.objections
    return (QUARANTINED if spoke else ACCEPTED), json.dumps(spoke)
