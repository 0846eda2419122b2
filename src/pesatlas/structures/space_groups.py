"""Space groups in files: operations from text; settings from symbols, numbers and origin choices."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

_TERM = re.compile(r"([+-]?)(\d+\.?\d*(?:/\d+)?|\.\d+)?\*?([xyz])?")
_PARTS = 24
"""Translations of space groups are multiples of this part of a lattice vector."""
_GRID = 10_080
"""Translations are compared as multiples of this part.

24, and what cells five, seven or nine times as large have.
"""
_MOST_STRAIN = 0.02
"""Metrics that differ by more from their image under an operation do not have that symmetry.

1 % of a length, 1.1 degrees.
"""


@dataclass(frozen=True, eq=False)
class Operations:
    """A set of operations on fractional coordinates: x -> rotation x + translation.

    Attributes
    ----------
    rotations : (n, 3, 3) int
    translations : (n, 3), in [0, 1)
    """

    rotations: np.ndarray
    translations: np.ndarray

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rotations)

    def key(self) -> frozenset[tuple[int, ...]]:
        """Return what equal sets have in common."""
        return frozenset(tuple(row) for row in _rows(self.rotations, self.translations).tolist())

    def strain(self, cell: np.ndarray) -> float:
        """Return by how much a cell's metric differs, at most, from its images.

        0 if the operations keep it.
        """
        metric = cell @ cell.T
        lengths = np.sqrt(np.diag(metric))
        images = np.einsum("nki,kl,nlj->nij", self.rotations, metric, self.rotations)
        return float(np.abs((images - metric) / np.outer(lengths, lengths)).max())

    def fits(self, cell: np.ndarray) -> bool:
        """Whether a cell has this symmetry."""
        return self.strain(cell) <= _MOST_STRAIN

    def has_identity(self) -> bool:
        """Whether ``x,y,z`` is one of them."""
        return bool(P1.key() & self.key())

    def with_identity(self) -> "Operations":
        """Return them and ``x,y,z``."""
        rotations = np.concatenate([P1.rotations, self.rotations])
        return Operations(*_unrows(_rows(rotations, np.concatenate([P1.translations, self.translations]))))

    @cached_property
    def closed_size(self) -> int:
        """Return how many operations the group has that these generate; 0 if it grows without end."""
        known = _rows(self.rotations, self.translations)
        while True:
            turned, moved = _unrows(known)
            products = np.einsum("aij,bjk->abik", turned, turned).reshape(-1, 3, 3)
            shifts = (np.einsum("aij,bj->abi", turned, moved) + moved[:, None, :]).reshape(-1, 3)
            more = np.unique(np.vstack([known, _rows(products, shifts)]), axis=0)
            if len(more) == len(known):
                return len(known)
            if len(more) > 8 * 192:
                return 0
            known = more


def _rows(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    moved = np.rint(translations * _GRID).astype(int) % _GRID
    return np.unique(np.hstack([rotations.reshape(-1, 9), moved]), axis=0)


def _unrows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows[:, :9].reshape(-1, 3, 3), rows[:, 9:] / _GRID


@dataclass(frozen=True)
class Setting:
    """One of the 530 settings of the 230 space groups.

    Attributes
    ----------
    hall_number : 1 to 530, of spglib
    number : of the space group
    symbol : Hermann-Mauguin, full
    choice : origin, axes or cell: ``1``, ``2``, ``H``, ``R``, ``b1``, ...
    """

    hall_number: int
    number: int
    symbol: str
    choice: str

    def __str__(self) -> str:
        """Return symbol and choice as people write them."""
        return f"{self.symbol.replace('_', '')}{f' :{self.choice}' if self.choice else ''}"

    def operations(self) -> Operations:
        """Return its operations."""
        return _operations_of_hall(self.hall_number)


P1 = Operations(np.eye(3, dtype=int)[None], np.zeros((1, 3)))


@lru_cache(maxsize=512)
def operations_of(texts: tuple[str, ...]) -> Operations:
    """Return the operations that are written as ``x,y,z``, ``-y+1/2, x-y, z``, ....

    A fourth part (time reversal) is left out.

    Raises
    ------
    ValueError
        If one cannot be understood.
    """
    parsed = [_operation(text) for text in texts]
    rotations, translations = (np.array(part) for part in zip(*parsed, strict=True))
    return Operations(*_unrows(_rows(rotations, translations)))


def _operation(text: str) -> tuple[list[list[int]], list[float]]:
    parts = re.sub(r"[\s'\"]", "", text).lower().split(",")
    if len(parts) not in {3, 4}:
        raise ValueError(f"'{text}' is not a symmetry operation")
    rotation, translation = [], []
    for part in parts[:3]:
        row, shift = [0, 0, 0], 0.0
        if not part or "".join(match[0] for match in _TERM.finditer(part)) != part:
            raise ValueError(f"'{text}' is not a symmetry operation")
        for match in _TERM.finditer(part):
            sign, number, axis = match.groups()
            if not (number or axis):
                continue
            value = _fraction(number) if number else 1.0
            value = -value if sign == "-" else value
            if axis:
                row["xyz".index(axis)] += round(value)
            else:
                shift += value
        near = round(shift * _PARTS) / _PARTS
        rotation.append(row)
        translation.append(near if abs(near - shift) < 0.002 else shift)
    if abs(round(np.linalg.det(np.array(rotation)))) != 1:
        raise ValueError(f"'{text}' is not a symmetry operation")
    return rotation, translation


def _fraction(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


@lru_cache(maxsize=1024)
def _operations_of_hall(hall_number: int) -> Operations:
    import spglib  # noqa: PLC0415 - slow to import

    found: Any = spglib.get_symmetry_from_database(hall_number)
    return Operations(*_unrows(_rows(np.array(found["rotations"], dtype=int), found["translations"])))


def number_of(operations: Operations, cell: np.ndarray) -> int | None:
    """Return the number of the space group that has these operations."""
    import spglib  # noqa: PLC0415 - slow to import

    found = spglib.get_spacegroup_type_from_symmetry(operations.rotations, operations.translations, cell)
    return None if found is None else int(found.number)


@lru_cache(maxsize=1)
def _settings() -> tuple[list[Setting], dict[str, list[Setting]], dict[str, Setting]]:
    """Return all settings, those of every spelling of a symbol, and those of Hall symbols."""
    import spglib  # noqa: PLC0415 - slow to import

    settings: list[Setting] = []
    by_name: dict[str, list[Setting]] = {}
    by_hall: dict[str, Setting] = {}
    for hall_number in range(1, 531):
        about: Any = spglib.get_spacegroup_type(hall_number)
        full = [name.strip() for name in about.international.split("=")]
        setting = Setting(hall_number, about.number, full[-1 if len(full) < 3 else 1], about.choice)
        settings.append(setting)
        by_hall[_squeezed(about.hall_symbol)] = setting
        names = full[1:] or full
        if not 3 <= about.number <= 15:
            names = [*full, about.international_short, about.international_full]
        else:
            names += [" ".join(part for part in name.split() if part != "1") for name in names]
        if 200 <= about.number <= 206 or about.number >= 221:
            # as tables wrote them until 1983: P m 3 m
            names += [name.replace("-3", "3") for name in names]
        for name in {_squeezed(name) for name in names}:
            by_name.setdefault(name, []).append(setting)
    for name, meant in list(by_name.items()):
        # glides e were a, b or c until 1992: C m c a is C m c e
        for old in "abc" if "e" in name else "":
            by_name.setdefault(name.replace("e", old), meant)
    return settings, by_name, by_hall


def _squeezed(symbol: str) -> str:
    return re.sub(r"[\s_()]", "", symbol).lower()


def settings_of_symbol(text: str) -> tuple[list[Setting], bool]:
    """Return possible settings of a Hermann-Mauguin symbol, and whether it names origin, axes or cell."""
    _, by_name, _ = _settings()
    symbol, _, choice = text.replace("'", "").partition(":")
    found = by_name.get(_squeezed(symbol), [])
    wanted = _squeezed(choice)
    if not found:
        # R -3 m H, F d -3 m S (origin 1), Z (origin 2), O2
        match = re.fullmatch(
            r"(.*?)[\s_]*\(?(H|R|S|Z|O1|O2|HR|origin[\s_]*(?:choice)?[\s_]*[12])\)?",
            symbol.strip(),
            re.IGNORECASE,
        )
        if match:
            found = by_name.get(_squeezed(match[1]), [])
            wanted = _squeezed(match[2])
    wanted = {"s": "1", "z": "2", "o1": "1", "o2": "2", "hr": "h"}.get(
        wanted, re.sub(r"^origin(choice)?", "", wanted)
    )
    chosen = [setting for setting in found if wanted and setting.choice.lower() == wanted]
    return (chosen, True) if chosen else (found, False)


def settings_of_hall(text: str) -> list[Setting]:
    """Return the setting of a Hall symbol, if it is one of the 530."""
    _, _, by_hall = _settings()
    found = by_hall.get(_squeezed(text))
    return [found] if found else []


def settings_of_number(number: int) -> list[Setting]:
    """Return the settings that International Tables have for a number.

    Both origins, both cells, axis b of monoclinic ones.
    """
    settings, _, _ = _settings()
    return [s for s in settings if s.number == number and s.choice in {"", "1", "2", "H", "R", "b", "b1"}]
