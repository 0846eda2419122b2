"""Crystals of POSCAR and CONTCAR, read as VASP reads them.

The scaling factor is one number or three. One number multiplies the lattice vectors and Cartesian positions;
a negative one is the volume of the cell, and what makes that volume multiplies both. Three numbers multiply
the x, y and z components of vectors and Cartesian positions.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pesatlas.atoms.elements import SYMBOLS, atomic_number
from pesatlas.structures.crystal import Read, make_crystal
from pesatlas.structures.formula import ISOTOPES
from pesatlas.structures.text_file import RefusedError, read_text, rejected, with_warnings
from pesatlas.tables.schemas import FailureReason

_MOST_NAMES = 1000
_KNOWN = frozenset(SYMBOLS)
_FRACTIONAL_HYDROGEN = re.compile(r"H\.?\d")


def read_poscar(path: Path, stem: str, source: str) -> Iterator[Read]:
    """Yield the one crystal of a file; velocities and what else follows the positions are left out."""
    text, notes = read_text(path)
    try:
        found = _read(text.split("\n"), stem, source, notes)
    except RefusedError as why:
        found = rejected(stem, why.reason, f"{source}: {why}")
    except (ValueError, IndexError, OverflowError) as error:
        found = rejected(stem, FailureReason.UNREADABLE, f"{source}: no POSCAR: {error}")
    yield with_warnings(found, notes, path.name)


def _read(lines: list[str], name: str, source: str, notes: list[str]) -> Read:
    if len(lines) < 7:
        raise ValueError(f"it has {len(lines)} lines")
    vectors = np.array([_numbers(lines[i], 3, i) for i in (2, 3, 4)])
    scale = _scale(lines[1], vectors)
    names, counts, at = _header(lines)
    total = sum(counts)
    selective = lines[at].strip()[:1].lower() == "s"
    at += selective
    mode = lines[at].strip()[:1].lower() if at < len(lines) else ""
    at += 1
    body = lines[at : at + total]
    _check_count(total, body, lines[at + total : at + total + 1])
    positions = np.array([_numbers(line, 3, at + i) for i, line in enumerate(body)])
    cell = vectors * scale
    positions = positions * scale if mode in {"c", "k"} else positions @ cell
    if names is None:
        names = _names_elsewhere(lines[0], body, counts, selective, notes)
    else:
        _check_names(names, counts, body, 6 if selective else 3)
    elements = [_element(symbol, notes) for symbol in names]
    numbers = [z for z, count in zip(elements, counts, strict=True) for _ in range(count)]
    return make_crystal(name, numbers, cell, positions, source)


def _header(lines: list[str]) -> tuple[list[str] | None, list[int], int]:
    """Return names of elements (None in files of VASP 4), numbers of atoms, and which line is next.

    Both may take several lines.
    """
    names: list[str] = []
    counts: list[int] = []
    at = 5
    while at < len(lines) and not _counts(lines[at]):
        names += _words(lines[at])
        at += 1
        if len(names) > _MOST_NAMES or not _words(lines[at - 1]):
            break
    while at < len(lines) and _counts(lines[at]) and (not counts or len(counts) < len(names)):
        counts += _counts(lines[at])
        at += 1
    if not counts:
        raise ValueError(f"no numbers of atoms after the lattice vectors: '{lines[5].strip()[:40]}'")
    if names and len(names) != len(counts):
        raise ValueError(f"{len(names)} names of elements and {len(counts)} numbers of atoms")
    return names or None, counts, at


def _words(line: str) -> list[str]:
    """Return the words of a line up to a comment."""
    return re.split(r"[!#]", line, maxsplit=1)[0].split()


def _numbers(line: str, count: int, at: int) -> list[float]:
    words = line.split()[:count]
    try:
        found = [float(re.sub("[dD]", "e", word)) for word in words]
    except ValueError:
        found = []
    if len(found) < count:
        raise ValueError(f"line {at + 1} has no {count} numbers: '{line.strip()[:40]}'")
    return found


def _counts(line: str) -> list[int]:
    """Return numbers of atoms; empty if the line begins with something else."""
    counts = []
    for word in _words(line):
        if not word.isdecimal():
            break
        counts.append(int(word))
    return counts


def _scale(line: str, vectors: np.ndarray) -> np.ndarray:
    """Return the factors of x, y and z."""
    factors = []
    for word in line.split()[:3]:
        try:
            factors.append(float(re.sub("[dD]", "e", word)))
        except ValueError:
            break
    if not factors:
        raise ValueError(f"line 2 has no scaling factor: '{line.strip()[:40]}'")
    if len(factors) == 3:
        if min(factors) <= 0:
            raise ValueError(f"three scaling factors must be positive, they are {factors}")
        return np.array(factors)
    factor = factors[0]
    if factor == 0:
        raise ValueError("its scaling factor is 0")
    if factor < 0:
        volume = abs(float(np.linalg.det(vectors)))
        if volume == 0:
            raise RefusedError(FailureReason.NOT_PERIODIC, "its three lattice vectors span no volume")
        factor = (-factor / volume) ** (1 / 3)
    return np.full(3, factor)


def _check_count(total: int, body: list[str], after: list[str]) -> None:
    """Compare numbers of atoms with lines of positions, before anything is made of them."""
    if total == 0:
        raise ValueError("it has no atoms")
    there = next((i for i, line in enumerate(body) if not _is_position(line)), len(body))
    if there < total:
        detail = f"the file's numbers of atoms add up to {total:,}, it has {there} lines of positions"
        raise RefusedError(FailureReason.INCOMPLETE, detail)
    if after and _is_position(after[0]):
        detail = f"the file's numbers of atoms add up to {total:,}, it has more lines of positions"
        raise RefusedError(FailureReason.INCOMPLETE, detail)


def _is_position(line: str) -> bool:
    try:
        _numbers(line, 3, 0)
    except ValueError:
        return False
    return True


def _names_elsewhere(
    title: str, body: list[str], counts: list[int], selective: bool, notes: list[str]
) -> list[str]:
    """Return the elements of a file without a line of names (VASP 4).

    Behind the positions, or the whole of its title.

    Raises
    ------
    ValueError
        If they stand nowhere; the order in a POTCAR is not known here.
    """
    first = 6 if selective else 3
    behind = [line.split()[first : first + 1] for line in body]
    if all(word and _symbol(word[0]) in _KNOWN for word in behind):
        starts = np.cumsum([0, *counts[:-1]])
        names = [behind[start][0] if count else "H" for start, count in zip(starts, counts, strict=True)]
        expected = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        if [word[0] for word in behind] == expected:
            return names
    words = title.split()
    if len(words) == len(counts) and all(_symbol(word) in _KNOWN for word in words):
        notes.append(f"no line of element names; those of the title are taken: {title.strip()}")
        return words
    raise ValueError(
        "its elements cannot be determined: no line of names (VASP 5), none behind the positions"
    )


def _check_names(names: list[str], counts: list[int], body: list[str], first: int) -> None:
    """Raise if elements stand behind the positions, and they are not those of the line of names."""
    words = [line.split() for line in body]
    if any(set(each[3:6]) & {"T", "F"} and set(each[3:6]) <= {"T", "F"} and len(each) > 4 for each in words):
        first = 6
    behind = [re.sub(r"\d+$", "", _symbol(each[first])) if len(each) > first else "" for each in words]
    if any(symbol and symbol not in _KNOWN and symbol not in ISOTOPES for symbol in behind):
        return
    of_line = [_symbol(name) for name, count in zip(names, counts, strict=True) for _ in range(count)]
    for at, (symbol, named) in enumerate(zip(behind, of_line, strict=True)):
        if symbol and _plain(symbol) != _plain(named):
            detail = (
                f"the file's line of names makes atom {at + 1} {named}, behind its position stands {symbol}"
            )
            raise RefusedError(FailureReason.AMBIGUOUS_SETTING, detail)


def _plain(symbol: str) -> str:
    """Return the element of an isotope."""
    return "H" if symbol in ISOTOPES else symbol


def _symbol(name: str) -> str:
    """Return the element of ``Fe``, ``Fe_pv``, ``Si/0a1b2c3d4e5f``, ``O_GW_new``, ``Fe2+``."""
    return re.sub(r"\d*[+-]$", "", re.split(r"[_/.]", name)[0])


def _element(name: str, notes: list[str]) -> int:
    symbol = _symbol(name)
    if _FRACTIONAL_HYDROGEN.match(name):
        raise RefusedError(
            FailureReason.UNSUPPORTED_ELEMENT, f"{name} is a part of a hydrogen atom, not an element"
        )
    if symbol in ISOTOPES:
        notes.append(f"{ISOTOPES[symbol]} ({symbol}) is read as hydrogen")
        symbol = "H"
    if symbol not in _KNOWN:
        raise RefusedError(FailureReason.UNSUPPORTED_ELEMENT, f"'{name}' is not an element")
    return atomic_number(symbol)
