"""Atoms and molecules on surfaces, one per cell, at sites of pymatgen's ``AdsorbateSiteFinder``."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, to_pymatgen
from pesatlas.structures.domains.bulk import Temperatures
from pesatlas.structures.domains.surface import Miller, slabs
from pesatlas.structures.slabs import InPlane, stretched_in_plane

Site = Literal["ontop", "bridge", "hollow"]


class Options(Section):
    """Options of the domain ``adsorbate``."""

    kind: Literal["adsorbate"] = Field("adsorbate", description="atoms and molecules on surfaces")
    adsorbates: list[str] = Field(
        ["H", "O"],
        min_length=1,
        description="adsorbates by formula: atoms (H) and small molecules (H2O, CO, NH3, ...)",
    )
    sites: list[Site] = Field(["ontop", "bridge", "hollow"], min_length=1, description="kinds of sites")
    sites_of_a_kind: int = Field(1, ge=1, description="number of distinct sites of each kind, at most")
    height_A: float = Field(1.5, ge=0.5, le=5, description="height of the lowest atom above the surface (Å)")
    miller: list[Miller] | None = Field(None, min_length=1, description="as in surface")
    max_index: int = Field(1, ge=1, le=3, description="as in surface")
    max_terminations: int = Field(1, ge=1, description="as in surface")
    thickness_A: float = Field(6.0, ge=3, le=60, description="as in surface (Å)")
    vacuum_A: float = Field(
        14.0, ge=8, le=50, description="as in surface, before something is put into it (Å)"
    )
    supercell: InPlane = Field(InPlane(), description="as in surface")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")

    @field_validator("adsorbates")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        for name in names:
            molecule(name)
        return names


def molecule(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers and positions (Å) of an adsorbate, its lowest atom at height 0."""
    from ase.build import molecule as of_ase  # noqa: PLC0415 - only a campaign that has adsorbates needs it
    from ase.data import atomic_numbers  # noqa: PLC0415 - as above
    from ase.data.g2 import molecule_names  # noqa: PLC0415 - as above

    if name in atomic_numbers and name != "X":
        return np.array([atomic_numbers[name]]), np.zeros((1, 3))
    if name not in molecule_names:
        raise ValueError(
            f"'{name}' is neither an element nor a molecule of the G2 set; those are "
            f"{', '.join(molecule_names)}"
        )
    found = of_ase(name)
    return found.numbers, found.positions - [*found.positions[0, :2], found.positions[:, 2].min()]


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield every adsorbate at every site of every slab, and why slabs are none."""
    from pymatgen.analysis.adsorption import AdsorbateSiteFinder  # noqa: PLC0415 - as pymatgen elsewhere

    at = stretched_in_plane(options.temperatures_K)
    for name, slab in slabs(options, crystal):
        if isinstance(slab, Refused):
            yield replace(slab, variant=f"adsorbate-{name}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = _top(slab)
            finder = AdsorbateSiteFinder(top, selective_dynamics=False)
            found = finder.find_adsorption_sites(distance=options.height_A, positions=options.sites)
        for kind in options.sites:
            for i, place in enumerate(found[kind][: options.sites_of_a_kind]):
                for what in options.adsorbates:
                    numbers, shape = molecule(what)
                    yield Cell(
                        f"adsorbate-{name}-{what}-{kind}{i}",
                        "adsorbate",
                        np.append(slab.numbers, numbers),
                        slab.cell,
                        np.concatenate([slab.positions, place + shape]),
                        at,
                    )


def _top(slab: Crystal) -> Any:
    """Return the slab as pymatgen's ``Slab``, its surface normal to z."""
    from pymatgen.core.surface import Slab  # noqa: PLC0415 - as above

    structure = to_pymatgen(slab)
    return Slab(
        structure.lattice,
        structure.species,
        structure.frac_coords,
        (0, 0, 1),
        structure,
        0,
        np.eye(3),
    )
