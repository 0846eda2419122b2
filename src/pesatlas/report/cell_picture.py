"""A picture of a unit cell: SVG, seen from the side, atoms behind drawn first."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 96
_MARGIN = 8
MOST_ATOMS = 60
"""Atoms of the largest cell that is drawn: more are a blot at this size."""
_LOOK = ((0.95, 0.31, 0.0), (-0.11, 0.32, 0.94))
"""Directions of the picture's right and top, Cartesian; nearly along a, turned a little."""


def cell_picture(row: Mapping[str, Any], title: str) -> str:
    """Return the cell as SVG for a page, its edges and its atoms with those on faces repeated.

    Empty for more than ``MOST_ATOMS`` atoms.

    Parameters
    ----------
    row : numbers, cell_A (9, rows are lattice vectors) and positions_A (3n, Cartesian, Å)
    title : for those who do not see it
    """
    from ase.data import covalent_radii  # noqa: PLC0415 - slow to import
    from ase.data.colors import jmol_colors  # noqa: PLC0415

    if row["n_atoms"] > MOST_ATOMS:
        return ""
    cell = np.reshape(row["cell_A"], (3, 3))
    numbers, positions = _with_images(row, cell)
    right, up = (np.array(each) / np.linalg.norm(each) for each in _LOOK)
    right -= (right @ up) * up
    axes = np.array([right / np.linalg.norm(right), -up])
    towards = np.cross(axes[0], up)
    corners = np.array(list(product((0, 1), repeat=3))) @ cell
    flat, radii = positions @ axes.T, 0.5 * covalent_radii[numbers]
    ends = np.vstack([corners @ axes.T, flat - radii[:, None], flat + radii[:, None]])
    low, size = ends.min(axis=0), np.ptp(ends, axis=0).max() or 1.0
    scale = (_SIDE - 2 * _MARGIN) / size
    shift = _MARGIN + 0.5 * (_SIDE - 2 * _MARGIN - scale * np.ptp(ends, axis=0)) - scale * low
    lines = "".join(
        f"M{_point(a)}L{_point(b)}"
        for i, a in enumerate(scale * (corners @ axes.T) + shift)
        for j, b in enumerate(scale * (corners @ axes.T) + shift)
        if i < j and (i ^ j).bit_count() == 1
    )
    circles = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{scale * radii[k]:.1f}" '
        f'fill="{_colour(jmol_colors[numbers[k]])}"/>'
        for k in np.argsort(positions @ towards, kind="stable")
        for x, y in [scale * flat[k] + shift]
    )
    return (
        f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{title}">'
        f'<path d="{lines}"/>{circles}</svg>'
    )


def _with_images(
    row: Mapping[str, Any], cell: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return atoms inside the cell, those on a face, an edge or a corner on all of them."""
    numbers, positions = [], []
    fractions = np.reshape(row["positions_A"], (-1, 3)) @ np.linalg.inv(cell) % 1.0
    for number, inside in zip(row["numbers"], fractions, strict=True):
        near = np.where(inside > 0.98, inside - 1, inside)
        for image in product(*((0, 1) if abs(x) < 0.02 else (0,) for x in near)):
            numbers.append(number)
            positions.append((near + image) @ cell)
    return np.array(numbers), np.array(positions)


def _point(at: NDArray[np.float64]) -> str:
    return f"{at[0]:.0f} {at[1]:.0f}"


def _colour(rgb: NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * each):02x}" for each in rgb)
