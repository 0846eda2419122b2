"""Bader charges of a calculation from its densities; what goes wrong costs no label."""

import logging
from dataclasses import dataclass

import numpy as np

from pesatlas.label.backend import Charges, Task
from pesatlas.label.bader import METHOD, integrate

log = logging.getLogger(__name__)

_SAME_ELECTRONS = 1e-2
"""By how many electrons an atom the integral of a density may differ from those that the atoms have."""

_NEGATIVE = 0.01
"""Share of the electrons of a reference that may be negative: broken files of VASP have more."""


@dataclass(frozen=True)
class Valence:
    """Electrons of the free atoms.

    Attributes
    ----------
    valence : (n,) those that the calculation treats as valence
    core : (n,) those that the density to integrate has beside them; 0 for a valence density
    """

    valence: np.ndarray
    core: np.ndarray


def charges_of(
    task: Task,
    *,
    reference: np.ndarray,
    charge: np.ndarray,
    magnetisation: np.ndarray | None,
    valence: Valence,
    source: str,
) -> Charges:
    """Return the charges of one calculation, or why there are none.

    Parameters
    ----------
    reference : (nx, ny, nz) all-electron density, whose maxima and minima make the volumes
    charge : (nx, ny, nz) density to integrate, electrons per Å³
    magnetisation : (nx, ny, nz) first less second spin, μB per Å³; None without spin
    source : which densities these are
    """
    fields = [charge] if magnetisation is None else [charge, magnetisation]
    negative = -float(reference[reference < 0].sum() / reference.sum())
    if not negative < _NEGATIVE:
        return missing(f"the all-electron density is negative: {negative:.1%} of its electrons")
    try:
        found = integrate(reference, fields, task.cell, task.positions)
    except (ValueError, MemoryError) as error:
        return missing(f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error))
    there, wanted = float(found[0].sum()), float((valence.valence + valence.core).sum())
    if not abs(there - wanted) < _SAME_ELECTRONS * len(task.numbers):
        return missing(f"the density holds {there:.3f} electrons, the atoms have {wanted:.3f}")
    electrons = found[0] - valence.core
    return Charges(
        electrons=electrons.tolist(),
        net_e=(valence.valence - electrons).tolist(),
        magmoms_muB=None if magnetisation is None else found[1].tolist(),
        method=f"{METHOD}; {source}",
    )


def missing(why: str) -> Charges:
    """Return the record of charges that could not be calculated."""
    log.warning("no Bader charges: %s", why)
    return Charges(missing=why)
