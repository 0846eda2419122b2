"""Chemical class of a composition."""

from collections.abc import Sequence

from pesatlas.atoms.elements import SYMBOLS, symbol_of

# By the anion, in order of electronegativity: the first that is there is the anion.
_ANIONS = {
    "fluoride": ("F",),
    "oxide": ("O",),
    "halide": ("Cl", "Br", "I", "At"),
    "nitride": ("N",),
    "chalcogenide": ("S", "Se", "Te", "Po"),
    "pnictide": ("P", "As", "Sb", "Bi"),
    "carbide": ("C",),
    "hydride": ("H",),
    "boride": ("B",),
    "silicide or germanide": ("Si", "Ge"),
}
_NOBLE = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})
_METALS = frozenset(SYMBOLS) - _NOBLE - {symbol for anions in _ANIONS.values() for symbol in anions}
# Salts of several of these have no one anion; S, P, N and C beside O are sulfates, phosphates, ... and count
# as oxides.
_MIXED = ("fluoride", "oxide", "halide")


def material_group(numbers: Sequence[int]) -> str:
    """Return the kind of compound by its most electronegative elements; a convention, made for grouping."""
    symbols = {symbol_of(number) for number in numbers}
    if len(symbols) == 1:
        return "element"
    if symbols <= _METALS:
        return "intermetallic"
    if symbols & _NOBLE:
        return "noble-gas compound"
    present = [group for group, anions in _ANIONS.items() if symbols.intersection(anions)]
    if sum(group in _MIXED for group in present) > 1:
        return "mixed-anion"
    return present[0]
