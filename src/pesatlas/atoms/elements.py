"""Chemical symbols by atomic number; imports no chemistry package, because the configuration needs them."""

import difflib
from collections import Counter
from collections.abc import Sequence
from math import gcd
from typing import Annotated

from pydantic import AfterValidator

SYMBOLS: tuple[str, ...] = (
    *("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"),
    *(
        "K",
        "Ca",
        "Sc",
        "Ti",
        "V",
        "Cr",
        "Mn",
        "Fe",
        "Co",
        "Ni",
        "Cu",
        "Zn",
        "Ga",
        "Ge",
        "As",
        "Se",
        "Br",
        "Kr",
    ),
    *(
        "Rb",
        "Sr",
        "Y",
        "Zr",
        "Nb",
        "Mo",
        "Tc",
        "Ru",
        "Rh",
        "Pd",
        "Ag",
        "Cd",
        "In",
        "Sn",
        "Sb",
        "Te",
        "I",
        "Xe",
    ),
    *("Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"),
    *("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn"),
    *("Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr"),
    *("Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"),
)

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}


def atomic_number(symbol: str) -> int:
    """Return the atomic number of a chemical symbol.

    Raises
    ------
    ValueError
        If there is no such element; the message suggests one.
    """
    if symbol not in _NUMBERS:
        close = difflib.get_close_matches(symbol.capitalize(), SYMBOLS, n=1, cutoff=0.5)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"'{symbol}' is not a chemical symbol{hint}")
    return _NUMBERS[symbol]


def symbol_of(number: int) -> str:
    """Return the chemical symbol of an atomic number.

    ``Z=0`` and the like for numbers that are no element.
    """
    return SYMBOLS[number - 1] if 1 <= number <= len(SYMBOLS) else f"Z={number}"


def reduced_formula(numbers: Sequence[int]) -> str:
    """Return the reduced formula, elements in alphabetical order as in tables of labels: ``ClNa``."""
    counts = Counter(symbol_of(number) for number in numbers)
    divisor = gcd(*counts.values())
    return "".join(f"{symbol}{n // divisor if n > divisor else ''}" for symbol, n in sorted(counts.items()))


def shown_formula(numbers: Sequence[int]) -> str:
    """Return the reduced formula as chemists write it, by electronegativity: ``NaCl``.

    For people; tables of labels have ``reduced_formula``.
    """
    from pymatgen.core import Composition  # noqa: PLC0415 - slow to import

    formula: str = Composition(reduced_formula(numbers)).reduced_formula
    return formula


def _are_elements(symbols: list[str]) -> list[str]:
    for symbol in symbols:
        atomic_number(symbol)
    return symbols


Symbols = Annotated[list[str], AfterValidator(_are_elements)]
"""A list of chemical symbols in the configuration."""
