"""Cells with a vacuum along z: slabs and single layers."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from pydantic import Field

from pesatlas.atoms.elements import symbol_of
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Condition, Crystal, at_temperatures, repeated, without


class InPlane(Section):
    """How large a cell is in the plane."""

    min_length_A: float = Field(
        6.0, gt=0, le=100, description="repeat until both widths in the plane are at least this (Å)"
    )
    max_atoms: int = Field(128, ge=1, description="never repeat beyond this number of atoms")


def stretched_in_plane(temperatures: Iterable[float]) -> list[Condition]:
    """Return the conditions of a slab: no pressure on it, and the vacuum stays."""
    return at_temperatures(temperatures, 0.0, cell_motion="in_plane")


def with_vacuum(crystal: Crystal, vacuum: float) -> Crystal:
    """Return a flat cell (``laid_flat``) of one slab, centred, with vacuum (Å) along z.

    The third vector becomes perpendicular to the plane, which a slab does not mind.
    """
    low, high = crystal.positions[:, 2].min(), crystal.positions[:, 2].max()
    cell = crystal.cell.copy()
    cell[2] = [0, 0, high - low + vacuum]
    return replace(crystal, cell=cell, positions=crystal.positions + np.array([0, 0, vacuum / 2 - low]))


def spread(crystal: Crystal, rule: InPlane) -> Crystal:
    """Repeat a flat cell in the plane.

    The shorter width first, until both are long enough or there would be too many atoms.
    """
    times = np.ones(2, dtype=int)
    plane = crystal.cell[:2, :2]
    widths = 1 / np.linalg.norm(np.linalg.inv(plane), axis=0)
    while (widths * times).min() < rule.min_length_A - 1e-6:
        shorter = int(np.argmax(widths * times <= (widths * times).min() + 1e-6))
        times[shorter] += 1
        if len(crystal.numbers) * int(times.prod()) > rule.max_atoms:
            times[shorter] -= 1
            break
    return repeated(crystal, (int(times[0]), int(times[1]), 1))


def with_vacancies(crystal: Crystal) -> Iterator[tuple[str, Crystal]]:
    """Yield, for each element, its symbol and the cell without one of its atoms.

    The highest, of equal ones the first.
    """
    for number in np.unique(crystal.numbers).tolist():
        atoms = np.flatnonzero(crystal.numbers == number)
        heights = np.round(crystal.positions[atoms, 2], 4)
        if len(crystal.numbers) > 1:
            yield symbol_of(number), without(crystal, int(atoms[np.argmax(heights)]))
