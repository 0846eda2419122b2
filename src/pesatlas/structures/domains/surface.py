"""Slabs: surfaces by Miller index and termination, with pymatgen's ``SlabGenerator``.

The barostat moves the cell in the plane alone, so that the vacuum stays; so do both surfaces, which are free.
A slab with a dipole across it is refused: its energy depends on the vacuum, and mending that with a dipole
correction would be another reference level.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.structures.crystal import (
    Cell,
    Crystal,
    Refused,
    laid_flat,
    make_crystal,
    to_pymatgen,
)
from pesatlas.structures.domains.bulk import Temperatures
from pesatlas.structures.slabs import InPlane, spread, stretched_in_plane, with_vacuum
from pesatlas.tables.schemas import FailureReason

Miller = Annotated[list[Annotated[int, Field(ge=-9, le=9)]], Field(min_length=3, max_length=3)]
_DIPOLE_E_PER_A = 1e-3


class Options(Section):
    """Options of the domain ``surface``."""

    kind: Literal["surface"] = Field("surface", description="slabs by Miller index and termination")
    miller: list[Miller] | None = Field(
        None,
        min_length=1,
        description="indices (of the conventional cell); null: all different ones up to max_index",
    )
    max_index: int = Field(1, ge=1, le=3, description="largest Miller index, if none are listed")
    max_terminations: int = Field(2, ge=1, description="number of terminations of each, at most")
    thickness_A: float = Field(8.0, ge=3, le=60, description="smallest thickness of the slab (Å)")
    vacuum_A: float = Field(12.0, ge=5, le=50, description="vacuum between a slab and its image (Å)")
    supercell: InPlane = Field(InPlane(), description="in-plane repetitions of the slab")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")


def slabs(options: Any, crystal: Crystal) -> Iterator[tuple[str, Crystal | Refused]]:
    """Yield (name, slab or why there is none): flat, with its vacuum along z, repeated in the plane."""
    from pymatgen.core.surface import (  # noqa: PLC0415 - reading a configuration imports this module, not pymatgen
        SlabGenerator,
        get_symmetrically_distinct_miller_indices,
    )
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer  # noqa: PLC0415 - as above

    with warnings.catch_warnings():
        # pymatgen says what it guesses; here the guess is used for one question, which has an answer in the
        # table
        warnings.simplefilter("ignore")
        conventional = SpacegroupAnalyzer(to_pymatgen(crystal)).get_conventional_standard_structure()
        conventional.add_oxidation_state_by_guess()
        wanted = options.miller or get_symmetrically_distinct_miller_indices(conventional, options.max_index)
        for miller in wanted:
            generator = SlabGenerator(
                conventional, tuple(miller), options.thickness_A, options.vacuum_A, primitive=True
            )
            for i, slab in enumerate(generator.get_slabs()[: options.max_terminations]):
                name = f"{''.join(f'm{-h}' if h < 0 else str(h) for h in miller)}-t{i}"
                yield name, _checked(name, slab, options, crystal)


def _checked(name: str, slab: Any, options: Any, crystal: Crystal) -> Crystal | Refused:
    """Return one slab as it is explored, or why not."""
    made = make_crystal(
        crystal.structure_id, slab.atomic_numbers, slab.lattice.matrix, slab.cart_coords, crystal.source
    )
    if not isinstance(made, Crystal):
        return Refused(name, made.reason, made.detail)
    flat = _in_one_piece(laid_flat(made))
    charges = np.array([getattr(site.specie, "oxi_state", 0) or 0 for site in slab])
    area = float(np.linalg.det(flat.cell[:2, :2]))
    dipole = float(charges @ (flat.positions[:, 2] - flat.positions[:, 2].mean())) / area
    if slab.is_symmetric():
        return spread(with_vacuum(flat, options.vacuum_A), options.supercell)
    if not charges.any() and len(set(made.numbers.tolist())) > 1:
        detail = (
            "its two sides differ, and no formal charges could be guessed that say whether it has a dipole"
        )
        return Refused(name, FailureReason.POLAR, detail)
    if abs(dipole) > _DIPOLE_E_PER_A:
        detail = (
            f"by its formal charges the slab has a dipole of {dipole:.2g} e/Å across it, so that its energy "
            "depends on the vacuum; a dipole correction would be another reference level"
        )
        return Refused(name, FailureReason.POLAR, detail)
    return spread(with_vacuum(flat, options.vacuum_A), options.supercell)


def _in_one_piece(crystal: Crystal) -> Crystal:
    """Return a flat slab not cut by the boundary of the cell.

    Heights are counted from the middle of the largest gap.
    """
    scaled = crystal.positions @ np.linalg.inv(crystal.cell)
    heights = np.sort(scaled[:, 2] % 1)
    gaps = np.diff(np.append(heights, heights[0] + 1))
    at = int(np.argmax(gaps))
    scaled[:, 2] = (scaled[:, 2] - heights[at] - gaps[at] / 2) % 1
    return replace(crystal, positions=scaled @ crystal.cell)


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield the slabs of a crystal, and why others are none."""
    at = stretched_in_plane(options.temperatures_K)
    for name, slab in slabs(options, crystal):
        if isinstance(slab, Refused):
            yield replace(slab, variant=f"surface-{name}")
        else:
            yield Cell(f"surface-{name}", "surface", slab.numbers, slab.cell, slab.positions, at)
