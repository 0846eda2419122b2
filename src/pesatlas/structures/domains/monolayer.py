"""Single layers of layered crystals in vacuum: the cell moves in the plane only."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, laid_flat
from pesatlas.structures.domains.bulk import Temperatures
from pesatlas.structures.layers import find_layers
from pesatlas.structures.slabs import InPlane, spread, stretched_in_plane, with_vacancies, with_vacuum
from pesatlas.tables.schemas import FailureReason


class Options(Section):
    """Options of the domain ``monolayer``."""

    kind: Literal["monolayer"] = Field("monolayer", description="single layers of layered crystals")
    vacuum_A: float = Field(15.0, ge=5, le=50, description="vacuum between a layer and its image (Å)")
    supercell: InPlane = Field(InPlane(), description="in-plane repetitions of the layer")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")
    vacancies: bool = Field(default=False, description="also the layer with one vacancy, for each element")


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield a cell for each layer that differs in composition from those before, or why there is none."""
    found = find_layers(crystal)
    if isinstance(found, str):
        yield Refused("monolayer", FailureReason.NOT_APPLICABLE, found)
        return
    at = stretched_in_plane(options.temperatures_K)
    seen: list[list[int]] = []
    for atoms in found.layers:
        numbers = found.crystal.numbers[atoms]
        if sorted(numbers.tolist()) in seen:
            continue
        name = f"monolayer-{len(seen)}"
        seen.append(sorted(numbers.tolist()))
        layer = Crystal(
            crystal.structure_id, numbers, found.crystal.cell, found.crystal.positions[atoms], crystal.source
        )
        layer = spread(with_vacuum(laid_flat(layer), options.vacuum_A), options.supercell)
        yield Cell(name, "monolayer", layer.numbers, layer.cell, layer.positions, at)
        if options.vacancies:
            for symbol, less in with_vacancies(layer):
                yield Cell(f"{name}-v-{symbol}", "monolayer", less.numbers, less.cell, less.positions, at)
