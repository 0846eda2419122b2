"""Classification of corrections: those that change only convergence, and those that change the label."""

from typing import Any

import numpy as np
from pymatgen.core import Structure

# VASP's vasprun.xml has 8 decimals of direct coordinates.
SAME_GEOMETRY_A = 1e-6

# Keys that decide how the solution is found, with how many bands and on which cores, but not which one it is.
HARMLESS = frozenset(
    {
        *("ALGO", "IALGO", "ISEARCH", "TIME"),  # the minimiser
        *("NELM", "NELMIN", "NELMDL", "ISTART"),  # how many steps it may take and where it starts
        *(
            "AMIX",
            "BMIX",
            "AMIX_MAG",
            "BMIX_MAG",
            "AMIN",
            "IMIX",
            "MAXMIX",
        ),  # mixing of densities between steps
        *("NCORE", "NPAR", "KPAR", "NSIM"),  # distribution over cores
        "NBANDS",  # more empty bands; their occupation is nil
        *("ISYM", "SYMPREC"),  # which k-points of the same mesh are equivalent
    }
)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the keys in which two INCARs differ, with both values, apart from ``HARMLESS`` ones."""
    keys = sorted((before.keys() | after.keys()) - HARMLESS)
    return [
        f"{key} from {before.get(key, 'nothing')} to {after.get(key, 'nothing')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def same_structure(first: Structure, second: Structure, tolerance: float = SAME_GEOMETRY_A) -> bool:
    """Whether two structures are the same within ``tolerance`` (Å), atom by atom, up to lattice vectors."""
    if [site.specie.Z for site in first] != [site.specie.Z for site in second]:
        return False
    if not np.allclose(first.lattice.matrix, second.lattice.matrix, rtol=0, atol=tolerance):
        return False
    apart = first.frac_coords - second.frac_coords
    apart -= np.round(apart)
    return bool(np.abs(apart @ second.lattice.matrix).max() < tolerance)
