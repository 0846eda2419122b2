"""Chemical formulas in files, and whether a cell is a multiple of one."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from pesatlas.atoms.elements import SYMBOLS

ISOTOPES = {"D": "deuterium", "T": "tritium"}
"""Symbols of isotopes that are hydrogen to every potential."""

_KNOWN = frozenset(SYMBOLS)
_PIECE = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?(?:\(\d+\))?|([(\[{])|([)\]}])(\d+\.?\d*|\.\d+)?")
_CHARGE = re.compile(r"(?<![A-Za-z(\[])\d*[+-]\d*$")


@dataclass(frozen=True)
class Formula:
    """Atoms of a formula unit.

    Attributes
    ----------
    counts : by symbol; deuterium and tritium are hydrogen
    doubt : by symbol, how far a count may be off since it was rounded; 0 for whole numbers
    """

    counts: Mapping[str, float]
    doubt: Mapping[str, float]

    def whole(self) -> bool:
        """Whether all counts are whole numbers."""
        return all(value == round(value) for value in self.counts.values())

    def divisor(self) -> int:
        """Return by how much all counts can be divided."""
        return gcd(*(round(value) for value in self.counts.values())) if self.whole() else 1


def parse_formula(text: str) -> Formula | None:
    """Return the formula of ``Cu1 F2 H4 O2``, ``C6H12O6``, ``Ca (C O3)``, ``D2 O``, ``Fe0.95 O 2+``.

    None if it is another text.
    """
    counts: defaultdict[str, float] = defaultdict(float)
    doubt: defaultdict[str, float] = defaultdict(float)
    for part in text.replace("'", " ").split(","):
        piece = re.sub(r"(?<=[\s)\]])n$", "", part.strip()).strip()
        number = re.match(r"(\d+\.?\d*)\s*[(\[]", piece)
        times = float(number[1]) if number else 1.0
        found = _piece(piece[len(number[1]) :] if number else piece)
        if found is None:
            return None
        for symbol, (count, off) in found.items():
            counts[symbol] += count * times
            doubt[symbol] += off * times
    present = {symbol: count for symbol, count in counts.items() if count}
    return Formula(present, doubt) if present else None


def _piece(text: str) -> dict[str, tuple[float, float]] | None:
    """Return counts and their doubt of one part of a formula without commas."""
    words = [word for word in text.split() if not _CHARGE.fullmatch(word)]
    squeezed = "".join(words)
    stack: list[list[tuple[str, float, float]]] = [[]]
    at = 0
    while at < len(squeezed):
        match = _PIECE.match(squeezed, at)
        if match is None:
            return None
        at = match.end()
        symbol, count, opened, _, times = match.groups()
        if symbol:
            # two letters of one word may be two elements: "CO" is not "Co", and is matched as C
            if symbol not in _KNOWN and symbol not in ISOTOPES:
                return None
            digits = len(count.partition(".")[2]) if count else 0
            rounded = 10.0**-digits if count and "." in count else 0.0
            stack[-1].append(("H" if symbol in ISOTOPES else symbol, float(count or 1), rounded))
        elif opened:
            stack.append([])
        else:
            if len(stack) == 1:
                return None
            factor = float(times or 1)
            inner = stack.pop()
            stack[-1] += [(s, n * factor, off * factor) for s, n, off in inner]
    if len(stack) != 1 or not stack[0]:
        return None
    total: dict[str, tuple[float, float]] = {}
    for symbol, number, off in stack[0]:
        before = total.get(symbol, (0.0, 0.0))
        total[symbol] = (before[0] + number, before[1] + off)
    return total


def units_of(formula: Formula, counts: Mapping[str, int]) -> float | None:
    """Return how many formula units a cell of ``counts`` atoms holds.

    None if it is no multiple of the formula.
    """
    if set(counts) != set(formula.counts):
        return None
    units = sum(counts.values()) / sum(formula.counts.values())
    for symbol, count in counts.items():
        off = abs(count - units * formula.counts[symbol])
        slack = units * (formula.doubt[symbol] + count / sum(counts.values()) * sum(formula.doubt.values()))
        if off > slack + 1e-6 * count:
            return None
    return units


def formula_text(counts: Mapping[str, float]) -> str:
    """Return ``CuF2H4O2``: symbols in alphabetical order, counts divided by what they have in common."""
    whole = all(float(value).is_integer() for value in counts.values())
    common = gcd(*(int(value) for value in counts.values())) if whole and counts else 1
    return "".join(
        f"{symbol}{'' if value == common else f'{value / common:g}'}"
        for symbol, value in sorted(counts.items())
    )
