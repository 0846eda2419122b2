"""Crystals that are mostly vacuum: molecules in a box, wires, slabs; NPT dynamics would collapse them."""

from dataclasses import dataclass

import numpy as np

from pesatlas.structures.crystal import Crystal
from pesatlas.structures.primitive import niggli

EMPTY_A = 2.5
"""Space between the van der Waals surfaces of atoms on both sides from which on it is vacuum.

Between layers that touch, as in graphite, there is none.
"""

THIN_A = 7.0
"""Thickness, centre to centre, up to which a slab may be a single layer.

Three atomic planes of MoS2 are 3.2, five of Bi2Se3 7.0.
"""

KEEPS_VACUUM = frozenset({"monolayer", "layered"})
"""Domains that look for layers, and keep or replace the space between them."""


@dataclass(frozen=True)
class Vacuum:
    """Empty planes across a crystal.

    Attributes
    ----------
    directions : in how many of three directions there are such planes
    empty_A : thickness of the largest, between the surfaces of atoms
    thickness_A : of the thickest piece between two of them, centre to centre
    """

    directions: int
    empty_A: float
    thickness_A: float


def find_vacuum(crystal: Crystal) -> Vacuum | None:
    """Return the vacuum in a crystal, or None.

    Atoms are projected onto the normals of the three faces of the reduced cell; a gap in one of the
    projections is a plane without atoms that goes through the whole crystal. Pores and channels are none, and
    neither are cavities: there are atoms beside them.
    """
    from ase.data.vdw_alvarez import vdw_radii  # noqa: PLC0415 - reading a configuration imports this package

    cell = niggli(crystal.cell)
    inverse = np.linalg.inv(cell)
    widths = 1 / np.linalg.norm(inverse, axis=0)
    numbers = crystal.numbers
    radii = np.nan_to_num(vdw_radii[np.minimum(numbers, len(vdw_radii) - 1)], nan=2.0)
    heights = (crystal.positions @ inverse % 1.0) * widths
    found = [_largest_gap(heights[:, i], radii, float(widths[i])) for i in range(3)]
    empty = [(gap, thickness) for gap, thickness in found if gap > EMPTY_A]
    return Vacuum(len(empty), *max(empty)) if empty else None


def _largest_gap(heights: np.ndarray, radii: np.ndarray, width: float) -> tuple[float, float]:
    """Return the widest gap between spheres on a circle of length ``width``, and the thickest piece."""
    order = np.argsort(heights)
    heights, radii = heights[order], radii[order]
    # how far up the spheres so far reach; two rounds, since those below the cell reach into it
    tops = np.maximum.accumulate(np.concatenate([heights + radii - width, heights + radii]))
    bottoms = heights - radii
    # a lower sphere's bottom may be that of a larger one above it
    bottoms = np.minimum.accumulate(np.concatenate([bottoms, bottoms + width])[::-1])[::-1]
    gaps = bottoms[: len(heights)] - tops[len(heights) - 1 : -1]
    empty = np.flatnonzero(gaps > EMPTY_A)
    if not len(empty):
        return float(gaps.max()), width
    # from the atom above each vacuum to that below the next one
    ends = heights[np.roll(empty, -1) - 1]
    return float(gaps.max()), float(((ends - heights[empty]) % width).max())


def vacuum_warning(crystal: Crystal, domains: list[str]) -> str | None:
    """Return a sentence on a crystal in vacuum and the domains it is given to.

    None where there is nothing to say.
    """
    wrong = [kind for kind in domains if kind not in KEEPS_VACUUM]
    found = find_vacuum(crystal) if wrong else None
    if found is None:
        return None
    given = (
        f"given to {', '.join(wrong)}, which take it for a crystal: its cell shrinks until the vacuum is gone"
    )
    empty = f"{found.empty_A:.0f} Å of vacuum"
    if found.directions == 3:
        return (
            f"{crystal.source}: a molecule or cluster in a box, with {empty} around it, {given}. No domain "
            "is made for it: leave it out, or give the crystal that it forms"
        )
    if found.directions == 2:
        return (
            f"{crystal.source}: a wire or chain with {empty} around it, {given}. No domain is made for it: "
            "leave it out, or give the crystal that it forms"
        )
    fits = (
        "The domain monolayer fits: it keeps the vacuum"
        if found.thickness_A <= THIN_A
        else "The domain surface fits, which makes slabs of the bulk crystal; or monolayer, if these are "
        "layers that hardly bind each other"
    )
    return f"{crystal.source}: a slab of {found.thickness_A:.1f} Å with {empty}, {given}. {fits}"
