"""Primitive cells by pure translations, a hundred times cheaper than a full symmetry search."""

from dataclasses import dataclass

import numpy as np

EXACTLY_A, SURELY_A, SURELY_NOT_A = 1e-4, 0.002, 0.05
"""A translation that maps all atoms within the second counts as one, within the first as exact.

If not within the third, it does not.
"""


@dataclass(frozen=True, eq=False)
class Primitive:
    """A primitive cell by its reduced basis.

    Attributes
    ----------
    numbers : (n,) atomic numbers, those of the rarest element first, one element after the other
    cell : (3, 3) Å, rows are lattice vectors, Niggli-reduced
    fractional : (n, 3)
    exact : whether no tolerance was needed: the crystal's own cell is primitive, or its translations are
        exact
    """

    numbers: np.ndarray
    cell: np.ndarray
    fractional: np.ndarray
    exact: bool


def find_primitive(numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> Primitive | None:
    """Return the primitive cell; None where that is a matter of tolerance."""
    fractional = positions @ np.linalg.inv(cell)
    elements, counts = np.unique(numbers, return_counts=True)
    if np.gcd.reduce(counts) == 1:
        return reduced_primitive(numbers, cell, fractional)
    found = _translations(numbers, cell, fractional, int(elements[np.argmin(counts)]))
    if found is None:
        return None
    if not len(found[0]):
        return reduced_primitive(numbers, cell, fractional)
    shifts, targets, worst = found
    cell, fractional, numbers = _folded(cell, fractional, numbers, shifts, targets)
    return reduced_primitive(numbers, cell, fractional, exact=worst < EXACTLY_A)


def reduced_primitive(
    numbers: np.ndarray, cell: np.ndarray, fractional: np.ndarray, *, exact: bool = True
) -> Primitive:
    """Return a cell that is primitive by its reduced basis, atoms in order."""
    reduced = niggli(cell)
    elements, counts = np.unique(numbers, return_counts=True)
    size = dict(zip(elements.tolist(), counts.tolist(), strict=True))
    order = sorted(range(len(numbers)), key=lambda i: (size[int(numbers[i])], int(numbers[i])))
    fractional = fractional @ cell @ np.linalg.inv(reduced)
    return Primitive(numbers[order], reduced, fractional[order] % 1.0, exact)


def niggli(cell: np.ndarray) -> np.ndarray:
    """Return the Niggli-reduced basis of a lattice, not rotated; the cell itself where spglib finds none."""
    import spglib  # noqa: PLC0415 - reading a configuration imports this package

    try:
        reduced = spglib.niggli_reduce(cell)
    except spglib.SpglibError:
        return cell
    if reduced is None:
        return cell
    # without the rounding errors of the way there
    reduced = np.rint(reduced @ np.linalg.inv(cell)) @ cell
    return -reduced if np.linalg.det(reduced) < 0 else reduced


def _translations(
    numbers: np.ndarray, cell: np.ndarray, fractional: np.ndarray, rarest: int
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return pure translations (m, 3), the atom permutations (m, n), and their misfits (Å).

    None where one of them maps the atoms neither well nor badly.
    """
    same = np.flatnonzero(numbers == rarest)
    shifts, targets, worst = [], [], 0.0
    for other in same[1:]:
        shift = fractional[other] - fractional[same[0]]
        shift -= np.rint(shift)
        image = _image(numbers, cell, fractional, shift)
        if isinstance(image, str):
            return None
        if image is not None:
            shifts.append(shift)
            targets.append(image[0])
            worst = max(worst, image[1])
    return np.reshape(shifts, (-1, 3)), np.reshape(targets, (-1, len(numbers))).astype(int), worst


def _image(
    numbers: np.ndarray, cell: np.ndarray, fractional: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, float] | str | None:
    """Return the atom at which each atom arrives, and by how much they miss.

    None if some arrive nowhere, a text if that is not clear.
    """
    target = np.empty(len(numbers), dtype=int)
    worst = 0.0
    for element in dict.fromkeys(numbers.tolist()):
        atoms = np.flatnonzero(numbers == element)
        # pieces: most shifts fail at the first atoms
        for start in range(0, len(atoms), 16):
            part = atoms[start : start + 16]
            apart = (fractional[part] + shift)[:, None] - fractional[atoms]
            apart -= np.rint(apart)
            distances = np.linalg.norm(apart @ cell, axis=2)
            nearest = distances.argmin(1)
            worst = max(worst, float(distances[np.arange(len(part)), nearest].max()))
            if worst > SURELY_NOT_A:
                return None
            target[part] = atoms[nearest]
    if worst > SURELY_A or len(set(target.tolist())) < len(target):
        return "not clear"
    return target, worst


def _folded(
    cell: np.ndarray, fractional: np.ndarray, numbers: np.ndarray, shifts: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cell, fractional coordinates and numbers without the copies that ``shifts`` make."""
    times = len(shifts) + 1
    whole = np.vstack([times * np.eye(3), np.rint(shifts * times)]).astype(int)
    basis = _row_style(whole) / times
    # the first of each orbit
    firsts = np.unique(np.vstack([targets, np.arange(len(numbers))]).min(0))
    return basis @ cell, fractional[firsts] @ np.linalg.inv(basis), numbers[firsts]


def _row_style(rows: np.ndarray) -> np.ndarray:
    """Return three integer rows that span the same lattice as more of them (Hermite normal form)."""
    left = [list(map(int, row)) for row in rows]
    found = []
    for column in range(3):
        while len(having := [row for row in left if row[column]]) > 1:
            pivot = min(having, key=lambda row: abs(row[column]))
            for row in having:
                if row is not pivot:
                    times = row[column] // pivot[column]
                    row[:] = [a - times * b for a, b in zip(row, pivot, strict=True)]
        found.append(having[0])
        left.remove(having[0])
    return np.array(found)


def parameters(cells: np.ndarray) -> np.ndarray:
    """Return (..., 6): lengths (Å) and angles (radians) of cells (..., 3, 3)."""
    lengths = np.linalg.norm(cells, axis=-1)
    cosines = [
        (cells[..., i, :] * cells[..., j, :]).sum(-1) / (lengths[..., i] * lengths[..., j])
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    return np.concatenate([lengths, np.arccos(np.clip(np.stack(cosines, -1), -1, 1))], axis=-1)
