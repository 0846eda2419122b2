"""Checks of the atoms of a CIF block against its own statements and the usual volume per atom."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pesatlas.structures import cif_sites, formula
from pesatlas.structures.cif_sites import Site
from pesatlas.structures.cif_text import Block
from pesatlas.structures.space_groups import Operations
from pesatlas.structures.text_file import RefusedError
from pesatlas.tables.schemas import FailureReason

NO_SYMMETRY = "no symmetry"
_MASS_TOLERANCE = 0.01
_GRAMS_PER_CM3 = 1.66053906660
"""Of one atomic mass unit in one cubic ångström."""
_WHOLE = 0.99
"""A cell with less than this of its formula unit does not hold it."""
_MANY_COPIES = 0.5
"""A list with this share of copies is no asymmetric unit, however empty the cell."""
_DENSEST = 0.65
"""Of the volume of covalent spheres.

The densest of 2,400 relaxed crystals have 0.76 (U3Si) and 0.78 (CsIr, U3Ga).
"""
_DENSEST_ELEMENT = 0.7
"""Of the volume of an element without pressure."""
_GAP_A = 1.2
"""Added to covalent radii; of 2,900 crystals without large pores three exceed it."""


@dataclass(frozen=True)
class Symmetry:
    """One way to read the symmetry of a block: its operations, and the words for them."""

    operations: Operations
    words: str
    others: tuple["Symmetry", ...] = ()
    """With the other origin of the space group, if it has two."""


@dataclass
class Expanded:
    """All atoms of a cell under one symmetry, and the doubts on the way.

    Attributes
    ----------
    counts, numbers, positions : of all atoms
    listed : how many of them the file lists, by element
    copies : labels of listed sites that are images of one another
    notes : doubts, each a sentence
    confirmed : whether formula and number of formula units are given and agree
    least : if the atoms are denser than in any crystal without pressure, the room that those have at least
        (Å³ for each atom); otherwise 0
    """

    counts: Counter[str]
    numbers: list[int]
    positions: np.ndarray
    listed: Counter[str]
    copies: list[str]
    notes: list[str] = field(default_factory=list)
    confirmed: bool = False
    least: float = 0.0


def compare(
    block: Block,
    cell: np.ndarray,
    sites: list[Site],
    expanded: Expanded,
    stated: formula.Formula | None,
    way: Symmetry,
) -> None:
    """Raise if the atoms contradict the block's own statements."""
    counted = sum(site.hydrogens * site.multiplicity for site in sites)
    if stated is not None:
        units = formula.units_of(stated, expanded.counts)
        if units is None:
            detail = (
                f"the file's formula is {formula.formula_text(stated.counts)}, its sites give "
                f"{formula.formula_text(expanded.counts)}"
            )
            hints = [site.hint for site in sites if site.hint and site.symbol not in stated.counts]
            hints += (
                [f"{counted:g} hydrogens are only counted (_atom_site_attached_hydrogens)"] if counted else []
            )
            raise RefusedError(_reason(stated, expanded, way), "; ".join([detail, *hints]))
        _compare_units(block, stated, expanded, units, way)
        if counted:
            expanded.notes.append(
                f"_atom_site_attached_hydrogens counts {counted:g} hydrogens more; the formula has no more"
            )
    elif counted:
        detail = (
            f"{counted:g} hydrogens are only counted (_atom_site_attached_hydrogens), its sites give "
            f"{formula.formula_text(expanded.counts)}"
        )
        raise RefusedError(FailureReason.INCOMPLETE, detail)
    _compare_multiplicities(sites, way)
    _compare_mass(block, cell, sites, expanded)
    _check_list(block, cell, sites, expanded, stated, way)
    _check_room(cell, expanded, stated, way)


def _check_list(
    block: Block,
    cell: np.ndarray,
    sites: list[Site],
    expanded: Expanded,
    stated: formula.Formula | None,
    way: Symmetry,
) -> None:
    """Raise if the list is neither the whole cell nor one atom per orbit of a known number of atoms.

    A list that holds copies is meant to be the whole cell; a symmetry that makes further atoms is then not
    that of the list.
    """
    count, listed = len(expanded.numbers), sum(expanded.listed.values())
    told = block.value("_exptl_crystal_density_diffrn") or any(site.stated_multiplicity for site in sites)
    if not expanded.copies or listed == count or expanded.confirmed or told:
        return
    if stated is not None:
        units = formula.units_of(stated, expanded.listed)
        if units is None or units < _WHOLE:
            return
    # asymmetric units of frameworks hold a few copies, and would be a cell with hardly an atom
    few = len(expanded.copies) < _MANY_COPIES * listed
    if few and abs(float(np.linalg.det(cell))) / listed > _most_room(expanded.numbers):
        return
    detail = (
        f"the file's list has {listed} atoms, among them copies of one another ({expanded.copies[0]}) as if "
        f"it were the whole cell; {way.words} makes {count} of them"
    )
    raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _reason(stated: formula.Formula, expanded: Expanded, way: Symmetry) -> FailureReason:
    """Return the word for a formula that the atoms do not have."""
    listed = len(way.operations) == 1 and way.words != NO_SYMMETRY
    if listed or set(stated.counts) != set(expanded.counts):
        return FailureReason.INCOMPLETE
    heavy = [symbol for symbol in stated.counts if symbol != "H"]
    ratios = {round(expanded.counts[symbol] / stated.counts[symbol], 3) for symbol in heavy}
    return (
        FailureReason.INCOMPLETE if len(ratios) == 1 and len(heavy) > 1 else FailureReason.AMBIGUOUS_SETTING
    )


def _compare_units(
    block: Block, stated: formula.Formula, expanded: Expanded, units: float, way: Symmetry
) -> None:
    """Compare the number of formula units.

    Formulas of a whole cell, as many programs write them, are known.
    """
    stated_units = cif_sites.number_or_none(block.value("_cell_formula_units_z") or "")
    words = formula.formula_text(expanded.counts)
    if stated_units and stated_units > 0:
        fits = abs(units - stated_units) < 0.02 * stated_units
        of_cell = (
            abs(units - 1) < 1e-6
            and stated_units <= sum(stated.counts.values())
            and stated.divisor() % stated_units == 0
        )
        if not (fits or of_cell):
            total = formula.formula_text(stated.counts)
            detail = (
                f"the file's cell holds {stated_units:g} formula units {total} (_cell_formula_units_Z), its "
                f"sites give {units:g} under {way.words}"
            )
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)
        expanded.confirmed = True
    elif units < _WHOLE:
        atoms, wanted = sum(expanded.counts.values()), sum(stated.counts.values())
        detail = (
            f"the file's formula has {wanted:g} atoms, its sites give {atoms} in the cell ({words}) under "
            f"{way.words}"
        )
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _compare_multiplicities(sites: list[Site], way: Symmetry) -> None:
    """Compare multiplicities; older programs write the order of the site's symmetry under the same name."""
    stated = [site for site in sites if site.stated_multiplicity and site.multiplicity]
    wrong = [site for site in stated if site.stated_multiplicity != site.multiplicity]
    orders = all(site.stabiliser % site.stated_multiplicity == 0 for site in stated)
    if wrong and not orders:
        site = wrong[0]
        detail = (
            f"the file's site {site.label} has a multiplicity of {site.stated_multiplicity:g}, it has "
            f"{site.multiplicity} under {way.words}"
        )
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _compare_mass(block: Block, cell: np.ndarray, sites: list[Site], expanded: Expanded) -> None:
    """Compare calculated density and formula weight.

    A failure, or a note where formula and formula units agree.
    """
    from ase.data import atomic_masses  # noqa: PLC0415 - reading a configuration imports this module, not ase

    if any(site.isotope for site in sites):
        return
    mass = float(atomic_masses[expanded.numbers].sum())
    units = cif_sites.number_or_none(block.value("_cell_formula_units_z") or "")
    found = [
        (
            "density",
            "g/cm³",
            "_exptl_crystal_density_diffrn",
            _GRAMS_PER_CM3 * mass / abs(float(np.linalg.det(cell))),
        )
    ]
    if units:
        found.append(("formula weight", "u", "_chemical_formula_weight", mass / units))
    for what, unit, tag, value in found:
        text = block.value(tag) or ""
        stated = cif_sites.number_or_none(text)
        slack = _MASS_TOLERANCE * value + 10.0 ** -cif_sites.digits(text)
        # densities are in kg/m3 at times
        if not stated or stated <= 0 or min(abs(value - each) for each in (stated, stated / 1000)) <= slack:
            continue
        detail = f"the file's {what} is {stated:g} {unit} ({tag}), its sites give {value:.4g} {unit}"
        if not expanded.confirmed:
            raise RefusedError(FailureReason.INCOMPLETE, detail)
        expanded.notes.append(f"{detail}; formula and formula units agree with what was read")


def _check_room(cell: np.ndarray, expanded: Expanded, stated: formula.Formula | None, way: Symmetry) -> None:
    """Note if the atoms have more room than those of any dense crystal, or less.

    Raise if neither formula nor symmetry is given then.
    """
    from ase.data import covalent_radii  # noqa: PLC0415 - as above

    count = len(expanded.numbers)
    radii = covalent_radii[expanded.numbers]
    each = abs(float(np.linalg.det(cell))) / count
    most = _most_room(expanded.numbers)
    least = max(
        _DENSEST * float((4 / 3 * np.pi * radii**3).sum()) / count,
        _DENSEST_ELEMENT * _elemental_volume(expanded.numbers[0]) if len(expanded.counts) == 1 else 0.0,
    )
    if each < least:
        expanded.least = least
        expanded.notes.append(
            f"its cell has {each:.1f} Å³ for each atom, crystals of these elements without pressure at least "
            f"{least:.1f} Å³; under high pressure, or a wrong setting or list of atoms"
        )
    if each <= most:
        return
    detail = (
        f"its cell has {each:.1f} Å³ for each atom, dense crystals of these elements at most {most:.1f} Å³"
    )
    if stated is not None:
        expanded.notes.append(
            f"{detail}; large pores, loosely bound molecules, or atoms are missing here and in the file's "
            "formula alike"
        )
        return
    detail += ", and no formula shows whether atoms are missing"
    if way.words == NO_SYMMETRY:
        raise RefusedError(FailureReason.AMBIGUOUS_SETTING, f"the file gives no symmetry; {detail}")
    expanded.notes.append(detail)


def _most_room(numbers: list[int]) -> float:
    """Return the room (Å³ for each atom) that atoms of dense crystals have at most."""
    from ase.data import covalent_radii  # noqa: PLC0415 - as above

    return float((4 / 3 * np.pi * (covalent_radii[numbers] + _GAP_A) ** 3).mean())


def _elemental_volume(number: int) -> float:
    """Return the room of an atom (Å³) in the element, if that is one of the simplest crystals.

    Otherwise 0.
    """
    from ase.data import reference_states  # noqa: PLC0415 - as above

    state: Any = reference_states[number] or {}
    edge, ratio = float(state.get("a") or 0.0), float(state.get("c/a") or 0.0)
    volumes = {"fcc": edge**3 / 4, "bcc": edge**3 / 2, "diamond": edge**3 / 8}
    if ratio > 1.5:
        # selenium and tellurium are named hcp, too
        volumes["hcp"] = 3**0.5 / 4 * edge**3 * ratio
    return float(volumes.get(str(state.get("symmetry")), 0.0))
