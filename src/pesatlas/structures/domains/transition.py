"""Between two states: an atom hops into a vacancy beside it, in images that are not moved.

The first and the last image are the two states, as the crystal's sites give them; those between are interpolated so that pair
distances change evenly (image dependent pair potential, Smidstrup et al., J. Chem. Phys. 140, 214106 (2014), as in ASE).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.elements import Symbols
from pesatlas.structures.crystal import STATIC, Cell, Crystal, Refused, to_ase, without
from pesatlas.structures.defects import generators, vacancies
from pesatlas.structures.domains.bulk import Supercell
from pesatlas.tables.schemas import FailureReason

_NO_SYMMETRY_AXIS = (0.267, 0.535, 0.802)
_BEND_A = 0.4


class Options(Section):
    """Options of the domain ``transition``."""

    kind: Literal["transition"] = Field(
        "transition", description="an atom on its way into a vacancy beside it"
    )
    elements: Symbols | None = Field(None, min_length=1, description="of these elements; null: of all")
    images: int = Field(5, ge=3, le=21, description="images of each hop, both ends included")
    max_hop_A: float = Field(5.0, gt=0, le=10, description="longest hop (Å)")
    supercell: Supercell = Field(Supercell(min_length_A=8, max_atoms=64), description="as of bulk")


def check(_: Options) -> None:
    """Raise a UserError if pymatgen-analysis-defects is not installed."""
    generators()


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield the images of the shortest hop into each different vacancy, or why there is none."""
    count: Counter[str] = Counter()
    for symbol, atom, large in vacancies(crystal, options.supercell):
        if options.elements is not None and symbol not in options.elements:
            continue
        name = f"transition-{symbol}{count[symbol]}"
        count[symbol] += 1
        hop = _nearest_alike(large, atom)
        length = np.linalg.norm(hop[1]) if hop else np.inf
        if hop is None or length > options.max_hop_A:
            detail = (
                f"the nearest {symbol} is {length:.3g} Å from the vacancy, max_hop_A is {options.max_hop_A:g}"
            )
            yield Refused(name, FailureReason.NOT_APPLICABLE, detail)
            continue
        less = without(large, atom)
        for i, positions in enumerate(_path(less, *_after(hop, atom), options.images)):
            yield Cell(f"{name}-{i}", "transition", less.numbers, less.cell, positions, [STATIC])
    if not count:
        yield Refused(
            "transition", FailureReason.NOT_APPLICABLE, "it has none of the elements that are asked for"
        )


def _nearest_alike(crystal: Crystal, atom: int) -> tuple[int, np.ndarray] | None:
    """Return the nearest other atom of the same element, the first of equal ones, and the way from it to ``atom`` (Å)."""
    best: tuple[float, int, np.ndarray] | None = None
    for j in np.flatnonzero(crystal.numbers == crystal.numbers[atom]).tolist():
        if j == atom:
            continue
        way = crystal.positions[atom] - crystal.positions[j]
        images = way + np.array(list(np.ndindex(3, 3, 3))) @ crystal.cell - crystal.cell.sum(0)
        lengths = np.round(np.linalg.norm(images, axis=1), 6)
        shortest = int(np.argmin(lengths))
        if best is None or lengths[shortest] < best[0]:
            best = (float(lengths[shortest]), j, images[shortest])
    return (best[1], best[2]) if best else None


def _after(hop: tuple[int, np.ndarray], removed: int) -> tuple[int, np.ndarray]:
    """Return the hop by the numbering without the atom that was removed."""
    return hop[0] - int(hop[0] > removed), hop[1]


def _path(start: Crystal, atom: int, way: np.ndarray, images: int) -> list[np.ndarray]:
    """Return positions along the hop of ``atom`` by ``way`` (Å), first and last included."""
    from ase.mep import NEB, idpp_interpolate  # noqa: PLC0415 - only a campaign that has transitions needs it

    first, last = to_ase(start), to_ase(start)
    last.positions[atom] += way
    chain = [first, *(first.copy() for _ in range(images - 2)), last]
    band = NEB(chain, method="improvedtangent")
    band.interpolate()
    # a straight line may lead through another atom; bent to one side, the same every time, it leads past it
    aside = np.cross(way, _NO_SYMMETRY_AXIS)
    for i, image in enumerate(chain[1:-1], start=1):
        image.positions[atom] += _BEND_A * np.sin(np.pi * i / (images - 1)) * aside / np.linalg.norm(aside)
    idpp_interpolate(band, traj=None, log=None, fmax=0.02, mic=True, steps=300)
    return [image.positions for image in chain]
