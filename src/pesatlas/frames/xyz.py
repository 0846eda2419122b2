"""Extended XYZ, entry by entry: a broken entry is skipped alone; memory does not grow with the file.

Entries are found by their count lines; where a count is wrong, reading goes on at the next line that holds
one number alone. Text may be UTF-8 or UTF-16 with or without a byte-order mark, or latin-1, with lines that
end in any way, and gzipped.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pesatlas.frames.comment import floats_of, parse_comment
from pesatlas.frames.frame import (
    MOST_ATOMS,
    Frame,
    UnusableFrame,
    check_usable,
    isotopes,
    numbers_of,
    too_many,
)
from pesatlas.frames.items import Item, broken
from pesatlas.frames.text import decoded, open_text
from pesatlas.tables.schemas import FailureReason

_DEFAULT = "species:S:1:pos:R:3"
_TRUE = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_ISOTOPE = re.compile(r"^(\s*)[DTdt](?=\s)")
_SYMBOLS = ("species", "symbols")
_NUMBERS = ("Z", "numbers")
_POSITIONS = ("pos", "positions")


@dataclass(frozen=True)
class Entry:
    """Lines of one entry of a file, as they are.

    Attributes
    ----------
    first, last : line numbers in the file, from 1
    comment : the second line
    lines : one for each atom; none if it is broken
    broken : why its lines are no frame, if they are not
    """

    first: int
    last: int
    comment: str = ""
    lines: tuple[str, ...] = ()
    broken: UnusableFrame | None = None

    @property
    def where(self) -> str:
        """Return where it stands, for messages."""
        return f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"


class _Lines:
    """Lines of a file, without their ends, with one that can be put back."""

    def __init__(self, file: IO[str]) -> None:
        self._lines = iter(file)
        self._back: str | None = None
        self.number = 0

    def next(self) -> str | None:
        """Return the next line, or None after the last."""
        line, self._back = self._back, None
        if line is None:
            line = next(self._lines, None)
        if line is not None:
            self.number += 1
        return line

    def put_back(self, line: str | None) -> None:
        """Have ``next`` return ``line`` again."""
        if line is not None:
            self._back = line
            self.number -= 1


def entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file, broken ones included.

    Raises
    ------
    OSError, EOFError
        If the file cannot be read on; what came before was yielded.
    """
    with open_text(path) as file:
        lines = _Lines(file)
        while True:
            line = lines.next()
            while line is not None and not line.strip():
                line = lines.next()
            if line is None:
                return
            yield _entry(lines, line)


def _entry(lines: _Lines, line: str) -> Entry:
    """Return the entry that begins with ``line``."""
    first = lines.number
    n = _count(line)
    if n is None:
        why = f"no number of atoms: {_shown(line)}"
        return _resume(lines, first, UnusableFrame(FailureReason.UNREADABLE, why))
    if n > MOST_ATOMS:
        return _resume(lines, first, UnusableFrame(FailureReason.TOO_MANY_ATOMS, too_many(n)))
    comment = lines.next()
    atoms: list[str] = []
    while len(atoms) < n:
        atom = lines.next()
        if atom is None or (atom.strip().isdigit() and not _one_column(comment)):
            # the next entry begins here
            lines.put_back(atom)
            why = f"its first line says {n} atoms, and {len(atoms)} lines follow"
            return Entry(first, lines.number, broken=UnusableFrame(FailureReason.UNREADABLE, why))
        atoms.append(atom)
    entry = Entry(first, lines.number, decoded((comment or "").rstrip("\r\n")), tuple(atoms))
    following = lines.next()
    if (
        following is not None
        and following.strip()
        and _count(following) is None
        and _is_atom(following, atoms)
    ):
        why = f"its first line says {n} atoms, and more lines follow: {_shown(following)}"
        return _resume(lines, first, UnusableFrame(FailureReason.UNREADABLE, why))
    lines.put_back(following)
    return entry


def _count(line: str) -> int | None:
    text = line.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 30 else None


def _one_column(comment: str | None) -> bool:
    return comment is None or ("Properties=" in comment and comment.split("Properties=")[1].count(":") < 5)


def _is_atom(line: str, atoms: list[str]) -> bool:
    """Whether a line after the last atom looks like one more."""
    return bool(atoms) and len(line.split()) == len(atoms[-1].split()) >= 4


def _resume(lines: _Lines, first: int, why: UnusableFrame) -> Entry:
    """Return a broken entry that ends before the next line that holds a number alone."""
    line = lines.next()
    while line is not None and _count(line) is None:
        line = lines.next()
    lines.put_back(line)
    return Entry(first, lines.number, broken=why)


def _shown(line: str) -> str:
    text = " ".join(decoded(line).split())
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


class _Property(NamedTuple):
    name: str
    kind: str
    first: int
    columns: int


@lru_cache(maxsize=64)
def _properties(text: str) -> tuple[_Property, ...]:
    """Return the columns that ``Properties`` describes."""
    fields = text.split(":")
    found: list[_Property] = []
    at = 0
    if len(fields) % 3:
        raise _unreadable(f"Properties={text}: not name:type:columns for each property")
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if kind not in {"R", "I", "S", "L"} or not count.isdigit() or not 0 < int(count) <= 10_000:
            raise _unreadable(f"Properties={text}: no type and number of columns of '{name}'")
        if any(name == other.name for other in found):
            raise _unreadable(f"Properties={text}: '{name}' occurs twice")
        found.append(_Property(name, kind, at, int(count)))
        at += int(count)
    names = {each.name for each in found}
    if not names.intersection(_SYMBOLS + _NUMBERS) or not names.intersection(_POSITIONS):
        raise _unreadable(f"Properties={text}: no species or no positions")
    return tuple(found)


def _unreadable(why: str) -> UnusableFrame:
    return UnusableFrame(FailureReason.UNREADABLE, why)


def items(path: Path) -> Iterator[Item]:
    """Yield the entries of a file with their frames."""
    for entry in entries(path):
        if entry.broken is not None:
            yield broken(entry.where, entry.broken)
        else:
            try:
                about = parse_comment(entry.comment)
            except ValueError as error:
                yield broken(entry.where, _unreadable(f"its comment line: {error}"))
            else:
                yield Item(about, entry.where, partial(usable_frame, entry, about))


def usable_frame(entry: Entry, about: Mapping[str, str]) -> Frame:
    """Return the frame of an entry that is not broken, given the keys and values of its comment.

    Raises
    ------
    UnusableFrame
        If it cannot be read, or not be used.
    """
    if not entry.lines:
        raise _unreadable("an entry without atoms")
    told = {key: value for key, value in about.items() if key.lower() not in {"lattice", "properties", "pbc"}}
    lattice, pbc = _value(about, "Lattice"), _value(about, "pbc")
    if lattice is None:
        raise UnusableFrame(
            FailureReason.NOT_PERIODIC,
            "no Lattice in its comment line: a molecule; give it a cell and pbc=True",
        )
    try:
        cell = floats_of(lattice)
    except ValueError as error:
        raise _unreadable(f"Lattice: {error}") from None
    if len(cell) != 9:
        raise _unreadable(f"Lattice has {len(cell)} numbers, not nine")
    columns = _columns(entry, _properties(_value(about, "Properties") or _DEFAULT))
    numbers, warnings = _species(columns)
    positions = next(columns.pop(name) for name in _POSITIONS if name in columns)
    if positions.shape[1:] != (3,):
        raise _unreadable("positions do not have three columns")
    masses = columns.get("masses", columns.get("mass"))
    frame = Frame(
        numbers,
        cell.reshape(3, 3),
        positions,
        _pbc(pbc),
        told,
        columns,
        (*warnings, *(isotopes(numbers, masses) if masses is not None and masses.dtype.kind == "f" else ())),
    )
    check_usable(frame)
    return frame


def lines_for_ase(entry: Entry) -> list[str]:
    """Return the lines of the atoms of a frame without their ends.

    Deuterium and tritium, which ASE does not read, as hydrogen.
    """
    lines = [decoded(line.rstrip("\r\n")) for line in entry.lines]
    properties = _properties(_value(parse_comment(entry.comment), "Properties") or _DEFAULT)
    if properties[0].name not in _SYMBOLS:
        return lines
    return [_ISOTOPE.sub(r"\1H", line) for line in lines]


def _value(about: Mapping[str, str], name: str) -> str | None:
    """Return a value of the format itself; some programs write its key in lower case."""
    found = {key: about[key] for key in about if key.lower() == name.lower()}
    if len(set(found.values())) > 1:
        raise _unreadable(" and ".join(f"{key}='{value}'" for key, value in found.items()))
    return next(iter(found.values()), None)


def _pbc(text: str | None) -> tuple[bool, bool, bool]:
    """Return along which vectors an entry is periodic.

    With a lattice and without a word about it, along all.
    """
    if text is None:
        return True, True, True
    words = [word.lower() for word in text.replace(",", " ").strip("[]{} ").split()]
    if any(word not in _TRUE for word in words) or len(words) not in {1, 3}:
        raise _unreadable(f"pbc is '{text}', not three times T or F")
    along = [_TRUE[word] for word in words] * (3 // len(words))
    return along[0], along[1], along[2]


def _columns(entry: Entry, properties: tuple[_Property, ...]) -> dict[str, NDArray[Any]]:
    """Return the columns of an entry by name: (n,) for one, (n, columns) for more."""
    rows = [line.split() for line in entry.lines]
    width = properties[-1].first + properties[-1].columns
    if set(map(len, rows)) != {width}:
        bad = next(i for i, row in enumerate(rows) if len(row) != width)
        line = entry.first + 2 + bad
        raise _unreadable(f"line {line} has {len(rows[bad])} columns, and Properties has {width}")
    columns = list(zip(*rows, strict=True))
    found: dict[str, NDArray[Any]] = {}
    for each in properties:
        mine = columns[each.first : each.first + each.columns]
        try:
            found[each.name] = _array(mine, each)
        except (ValueError, KeyError, OverflowError) as error:
            raise _unreadable(f"column {each.name}: {error}") from None
    return found


def _array(columns: list[tuple[str, ...]], each: _Property) -> NDArray[Any]:
    if each.kind == "R":
        array = np.array([list(map(float, column)) for column in columns])
    elif each.kind == "I":
        array = np.array([list(map(int, column)) for column in columns])
    elif each.kind == "L":
        array = np.array([[_TRUE[text.lower()] for text in column] for column in columns])
    else:
        array = np.array(columns, dtype=object)
    return array[0] if each.columns == 1 else array.T


def _species(columns: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Take the species out of the columns.

    Atomic numbers count where both are there, and must not contradict.
    """
    symbols = next((columns.pop(name) for name in _SYMBOLS if name in columns), None)
    numbers = next((columns.pop(name) for name in _NUMBERS if name in columns), None)
    if numbers is None:
        return numbers_of([str(symbol) for symbol in symbols]) if symbols is not None else (np.empty(0), ())
    if numbers.ndim != 1 or numbers.dtype.kind != "i":
        raise _unreadable("Z is not one column of integers")
    if symbols is not None:
        try:
            named, warnings = numbers_of([str(symbol) for symbol in symbols])
        except UnusableFrame:
            return numbers, ()  # labels of sites
        if (named != numbers).any():
            bad = int(np.argmax(named != numbers))
            raise UnusableFrame(
                FailureReason.INCOMPLETE, f"atom {bad} is {symbols[bad]} by its species and Z={numbers[bad]}"
            )
        return numbers, warnings
    return numbers, ()
