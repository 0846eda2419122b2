"""Candidate duplicates of a set of crystals: a sieve that misses no equal ones.

``StructureMatcher`` calls two primitive cells the same if a basis of one has the lengths and angles of the
other's reduced basis within tolerances, and a shift takes each atom to one of its element, none farther than
a share of the mean spacing. The sieve asks the same of all kept cells at once, in arrays, with tolerances
that are a little wider: what it holds back, the matcher would refuse.
"""

from dataclasses import dataclass

import numpy as np

from pesatlas.structures.primitive import Primitive, parameters

LENGTHS, SITES, ANGLES_DEGREES = 0.02, 0.05, 2.0
"""Tolerances of the matcher: shares of a length, share of (volume per atom)^(1/3), degrees."""

_WIDER_LENGTHS, _WIDER_ANGLES = 0.03, float(np.radians(3.0))
_WIDER_SITES, _FLOOR_A = 1.1, 0.02
"""Wider than the matcher's for what another choice of reduced basis or of the origin changes."""

MOST_VOLUME = 1.25
"""Cells whose volumes for an atom differ by more are never the same.

2 % in each length, 2 degrees in angles of 60 and 90.
"""

_MOST_SPACINGS = 1.16
"""As much, for the lengths of reduced bases."""

_AT_ONCE = 400_000
_EXACT_A, _EXACT = 5e-5, 1e-5
"""Atoms and lengths this near to each other.

The same crystal whatever the tolerances of a symmetry search.
"""


@dataclass(frozen=True)
class Like:
    """A kept cell that may be the same; ``exactly`` if there is no doubt."""

    place: int
    exactly: bool


class Sieve:
    """Primitive cells of one formula and size.

    Parameters
    ----------
    like : one of them
    """

    def __init__(self, like: Primitive) -> None:
        self._count = 0
        self._fractional = np.empty((4, *like.fractional.shape), dtype=np.float64)
        self._parameters = np.empty((4, 6))
        self._blocks = _blocks(like.numbers)

    def add(self, cell: Primitive) -> None:
        """Keep a cell; its place is how many there were."""
        if self._count == len(self._parameters):
            self._fractional = np.concatenate([self._fractional, np.empty_like(self._fractional)])
            self._parameters = np.concatenate([self._parameters, np.empty_like(self._parameters)])
        self._fractional[self._count] = cell.fractional
        self._parameters[self._count] = parameters(cell.cell)
        self._count += 1

    def candidates(self, cell: Primitive) -> list[Like]:
        """Return the kept cells that may be the same, earliest first."""
        kept = self._parameters[: self._count]
        own = parameters(cell.cell)
        volumes, lengths = _volumes(kept), np.sort(kept[:, :3], axis=1)
        near = np.abs(np.log(volumes / _volumes(own[None]))) < np.log(MOST_VOLUME)
        near &= (np.abs(np.log(lengths / np.sort(own[:3]))) < np.log(_MOST_SPACINGS)).all(1)
        places = np.flatnonzero(near)
        if not len(places):
            return []
        bases = _bases(cell.cell, kept[places])
        if bases is None:
            return [Like(int(place), exactly=False) for place in places]
        found: dict[int, bool] = {}
        if len(bases):
            fits, mirrored = parameters(bases), np.linalg.det(bases) < 0
            rows, columns = self._pairs(kept[places], fits)
            cartesian = cell.fractional @ cell.cell
            mine = cartesian @ np.linalg.inv(bases)
            largest = max(len(block) for block in self._blocks)
            size = max(1, _AT_ONCE // (3 * largest * len(self._blocks[0])))
            for start in range(0, len(rows), size):
                part = slice(start, start + size)
                place, basis = places[rows[part]], columns[part]
                for i, together in self._matched(_Trial(place, basis, mine, fits)):
                    # a mirror image may have another space group, such as 180 and 181
                    exactly = together and not mirrored[basis[i]]
                    found[int(place[i])] = exactly or found.get(int(place[i]), False)
        return [Like(place, exactly) for place, exactly in sorted(found.items())]

    def _pairs(self, kept: np.ndarray, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of a kept cell and a basis that agree, as two arrays."""
        good = np.ones((len(kept), len(fits)), dtype=bool)
        for i in range(6):
            if i < 3:
                good &= np.abs(np.log(kept[:, i, None] / fits[:, i])) < _WIDER_LENGTHS
            else:
                good &= np.abs(kept[:, i, None] - fits[:, i]) < _WIDER_ANGLES
        rows, columns = good.nonzero()
        return rows, columns

    def _matched(self, trial: "_Trial") -> list[tuple[int, bool]]:
        """Return those pairs some shift of which brings all atoms together, and whether exactly."""
        mean = 0.5 * (self._parameters[trial.place] + trial.fits[trial.basis])
        allowed = SITES * _WIDER_SITES * np.cbrt(_volumes(mean) / trial.mine.shape[1]) + _FLOOR_A
        # an atom and the one that the shift was made for may each be off by that much
        box = 2 * allowed[:, None] / _widths(mean)
        first = self._blocks[0]
        pairs, shifted = np.repeat(np.arange(len(allowed)), len(first)), np.tile(first, len(allowed))
        shift = trial.mine[trial.basis[pairs], shifted] - self._fractional[trial.place[pairs], 0]
        lowest, highest = np.zeros_like(shift), np.zeros_like(shift)
        for block in self._blocks:
            for atom in block:
                if not len(pairs):
                    return []
                apart, room = self._apart(trial, atom, block, pairs, shift), box[pairs]
                inside = np.abs(apart[:, :, 0]) <= room[:, :1]
                for i in (1, 2):
                    inside &= np.abs(apart[:, :, i]) <= room[:, i, None]
                there = inside.sum(1)
                # no two atoms may be farther from each other's places than that, either; which is known where
                # one atom is there
                moved = apart[np.arange(len(pairs)), inside.argmax(1)] * (there == 1)[:, None]
                lowest, highest = np.minimum(lowest, moved), np.maximum(highest, moved)
                stay = (there > 0) & (highest - lowest <= room).all(1)
                pairs, shift, lowest, highest = pairs[stay], shift[stay], lowest[stay], highest[stay]
        return self._near(trial, pairs, shift, mean, allowed) if len(pairs) else []

    def _apart(
        self, trial: "_Trial", atom: int, block: np.ndarray, pairs: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        """Return distances of shifted atoms of the kept cells to those of the same element, fractional."""
        there = self._fractional[trial.place[pairs], atom] + shift
        apart = there[:, None] - trial.mine[trial.basis[pairs], block[0] : block[-1] + 1]
        return apart - np.rint(apart)

    def _near(
        self, trial: "_Trial", pairs: np.ndarray, shift: np.ndarray, mean: np.ndarray, allowed: np.ndarray
    ) -> list[tuple[int, bool]]:
        """Return the pairs that are still together when the shift is the best one."""
        found: dict[int, bool] = {}
        cells = _cells(mean[pairs])
        moved = np.empty((len(pairs), trial.mine.shape[1], 3))
        unclear = np.zeros(len(pairs), dtype=bool)
        for block in self._blocks:
            for atom in block:
                apart = self._apart(trial, atom, block, pairs, shift) @ cells
                distances = np.linalg.norm(apart, axis=2)
                unclear |= (distances < 4 * allowed[pairs][:, None]).sum(1) > 1
                moved[:, atom] = apart[np.arange(len(pairs)), distances.argmin(1)]
        moved -= moved.mean(1, keepdims=True)
        most = np.linalg.norm(moved, axis=2).max(1)
        same = _similar(self._parameters[trial.place], trial.fits[trial.basis])
        for i in np.flatnonzero(unclear | (most < allowed[pairs])).tolist():
            pair = int(pairs[i])
            exactly = bool(same[pair] and most[i] < _EXACT_A and not unclear[i])
            found[pair] = found.get(pair, False) or exactly
        return list(found.items())


@dataclass(frozen=True, eq=False)
class _Trial:
    """Pairs of a kept cell and a basis of the new one.

    Attributes
    ----------
    place, basis : (p,) which ones
    mine : (m, n, 3) the new cell's fractional coordinates in each basis
    fits : (m, 6) lengths and angles of each basis
    """

    place: np.ndarray
    basis: np.ndarray
    mine: np.ndarray
    fits: np.ndarray


def _similar(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether cells of given lengths and angles have one shape, and similar sizes for the matcher."""
    ratios = np.log(first[:, :3] / second[:, :3])
    sizes = (np.abs(ratios) < np.log1p(LENGTHS) - _EXACT).all(1) & (np.ptp(ratios, axis=1) < _EXACT)
    same: np.ndarray = sizes & (np.abs(first[:, 3:] - second[:, 3:]) < _EXACT).all(1)
    return same


def _blocks(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the atoms of each element, which come one after the other."""
    return [np.flatnonzero(numbers == element) for element in dict.fromkeys(numbers.tolist())]


def _bases(cell: np.ndarray, kept: np.ndarray) -> np.ndarray | None:
    """Return the bases (m, 3, 3) of a lattice whose lengths and angles may be those of kept ones.

    None: too many to look at.
    """
    wider = np.exp(_WIDER_LENGTHS)
    shortest, longest = kept.min(0), kept.max(0)
    widths = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = np.floor(longest[:3].max() * wider / widths + 1e-9).astype(int)
    if np.prod(2.0 * most + 1) > 100_000:
        return None
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    vectors = steps @ cell
    lengths = np.linalg.norm(vectors, axis=1)
    chosen = [
        np.flatnonzero((lengths > shortest[i] / wider) & (lengths < longest[i] * wider)) for i in range(3)
    ]
    sizes = [len(each) for each in chosen]
    if np.prod(np.array(sizes, dtype=float)) > 2_000_000:
        return None
    units = [vectors[each] / lengths[each, None] for each in chosen]
    fine = []
    for one, two, angle in ((1, 2, 3), (0, 2, 4), (0, 1, 5)):
        angles = np.arccos(np.clip(units[one] @ units[two].T, -1, 1))
        fine.append((angles > shortest[angle] - _WIDER_ANGLES) & (angles < longest[angle] + _WIDER_ANGLES))
    alpha, beta, gamma = fine
    triples = np.argwhere(gamma[:, :, None] & beta[:, None, :] & alpha[None, :, :])
    picked = np.stack([steps[chosen[i][triples[:, i]]] for i in range(3)], axis=1)
    volumes = np.abs(np.linalg.det(picked.astype(float)))
    return picked[np.abs(volumes - 1) < 0.5] @ cell


def _volumes(cells: np.ndarray) -> np.ndarray:
    """Return the volumes (Å³) of cells given by lengths and angles, (..., 6)."""
    return cells[..., :3].prod(-1) * _skew(cells)


def _skew(cells: np.ndarray) -> np.ndarray:
    cosines = np.cos(cells[..., 3:])
    return np.sqrt(np.maximum(1 + 2 * cosines.prod(-1) - (cosines**2).sum(-1), 1e-12))


def _widths(cells: np.ndarray) -> np.ndarray:
    """Return the distances (Å) of opposite faces, (..., 3), of cells given by lengths and angles."""
    return cells[..., :3] * _skew(cells)[..., None] / np.sin(cells[..., 3:])


def _cells(cells: np.ndarray) -> np.ndarray:
    """Return lattice vectors (..., 3, 3) of cells given by lengths and angles."""
    a, b, c = (cells[..., i] for i in range(3))
    alpha, beta, gamma = (np.cos(cells[..., i]) for i in (3, 4, 5))
    sine = np.sqrt(1 - gamma**2)
    x, y = c * beta, c * (alpha - beta * gamma) / sine
    zero = np.zeros_like(a)
    third = np.stack([x, y, np.sqrt(np.maximum(c**2 - x**2 - y**2, 1e-12))], -1)
    return np.stack(
        [np.stack([a, zero, zero], -1), np.stack([b * gamma, b * sine, zero], -1), third], axis=-2
    )
