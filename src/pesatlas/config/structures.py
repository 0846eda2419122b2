"""Section ``structures``: crystals, their cells, and conditions."""

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from pesatlas.atoms.elements import Symbols
from pesatlas.config import plugins
from pesatlas.config.section import Section

if TYPE_CHECKING:
    # the unions are built at run time from the modules that are there
    Source = Any
    Domain = Any
else:
    Source = plugins.options_of("pesatlas.structures.sources")
    Domain = plugins.options_of("pesatlas.structures.domains")


class Structures(Section):
    """Sources of crystals, their checks, and the cells and conditions to explore."""

    sources: list[Source] = Field(
        min_length=1,
        description="sources of crystals; of equal crystals the one with the smallest cell is used, and "
        "of those the first in this order",
    )
    domains: list[Domain] = Field(
        [{"kind": "bulk"}],
        min_length=1,
        description="regions of the PES to explore: the cells and conditions made of every crystal",
    )
    elements: Symbols | None = Field(
        None,
        min_length=1,
        description="use only crystals of these elements; null: all that the potential and the backend know",
    )
    max_atoms: int = Field(200, ge=1, description="larger crystals become failure rows (too_many_atoms)")
    min_distance_A: float = Field(
        0.5,
        gt=0,
        le=3,
        description="crystals with two atoms closer than this (Å) become failure rows (overlapping_atoms)",
    )
    remove_duplicates: bool = Field(
        default=True,
        description="turn crystals that equal another one into failure rows (duplicate): same reduced "
        "formula, "
        "space group and "
        "primitive cell, lattice lengths within 2 % and atoms within 5 % of the mean spacing",
    )

    @field_validator("domains")
    @classmethod
    def _once_each(cls, domains: list[Any]) -> list[Any]:
        kinds = [domain.kind for domain in domains]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(
                    f"the domain '{kind}' is listed twice, which would make the same cells twice; merge the "
                    "two entries"
                )
        return domains
