"""Point defects of a crystal (pymatgen-analysis-defects), and supercells with one defect."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Crystal, to_pymatgen
from pesatlas.structures.domains.bulk import Supercell, enlarged

_CLOSEST = 0.6
"""Closest distance of an interstitial to another atom, in sums of covalent radii."""


def generators() -> Any:
    """Return the module of generators.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        from pymatgen.analysis.defects import generators as found  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UserError(
            f"structures.domains: point defects need pymatgen-analysis-defects ({error}). Install it: pip "
            "install 'pesatlas[domains]'"
        ) from error
    return found


def vacancies(crystal: Crystal, rule: Supercell) -> Iterator[tuple[str, int, Crystal]]:
    """Yield (symbol, atom that is missed, supercell as it was) for each different site.

    The atom is of the first copy.
    """
    large = enlarged(crystal, rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = generators().VacancyGenerator().get_defects(to_pymatgen(crystal))
    for defect in found:
        yield defect.site.specie.symbol, _index(crystal, defect.site), large


def substitutions(
    crystal: Crystal, rule: Supercell, mapping: dict[str, list[str]]
) -> Iterator[tuple[str, Crystal]]:
    """Yield (name, supercell with one atom of another element) for each different site.

    ``mapping`` from element to others.
    """
    large = enlarged(crystal, rule)
    present = {symbol_of(int(z)) for z in crystal.numbers}
    mapping = {old: new for old, new in mapping.items() if old in present}
    if not mapping:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = generators().SubstitutionGenerator().get_defects(to_pymatgen(crystal), substitution=mapping)
    for defect in found:
        atom = _index(crystal, defect.site)
        numbers = large.numbers.copy()
        old = symbol_of(int(numbers[atom]))
        numbers[atom] = defect.site.specie.Z
        yield f"{defect.site.specie.symbol}-on-{old}", replace(large, numbers=numbers)


def interstitials(crystal: Crystal, rule: Supercell, elements: list[str]) -> Iterator[tuple[str, Crystal]]:
    """Yield (symbol, supercell with an atom more) for each different void by Voronoi tessellation."""
    large = enlarged(crystal, rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator = generators().VoronoiInterstitialGenerator()
        found = list(generator.generate(to_pymatgen(crystal), insert_species=set(elements)))
    # a set has no order
    found = [defect for defect in found if _has_room(crystal, defect.site)]
    found.sort(key=lambda defect: (defect.site.specie.symbol, defect.site.frac_coords.round(4).tolist()))
    for defect in found:
        yield (
            defect.site.specie.symbol,
            replace(
                large,
                numbers=np.append(large.numbers, defect.site.specie.Z),
                positions=np.concatenate([large.positions, [defect.site.frac_coords @ crystal.cell]]),
            ),
        )


def _has_room(crystal: Crystal, site: Any) -> bool:
    """Whether a site is farther from every atom than ``_CLOSEST`` times the sum of covalent radii."""
    from ase.data import covalent_radii  # noqa: PLC0415 - reading a configuration imports this module, not ASE

    apart = crystal.positions @ np.linalg.inv(crystal.cell) - site.frac_coords
    images = apart[:, None] - np.round(apart)[:, None] + np.array(list(np.ndindex(3, 3, 3))) - 1
    distances = np.linalg.norm(images @ crystal.cell, axis=2).min(1)
    return bool(
        (distances > _CLOSEST * (covalent_radii[crystal.numbers] + covalent_radii[site.specie.Z])).all()
    )


def _index(crystal: Crystal, site: Any) -> int:
    """Return which atom of the crystal a site is."""
    apart = crystal.positions @ np.linalg.inv(crystal.cell) - site.frac_coords
    apart -= np.round(apart)
    return int(np.argmin(np.linalg.norm(apart @ crystal.cell, axis=1)))
