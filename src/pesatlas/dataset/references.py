"""Reference energies: isolated atoms, elements, level against level. One pass over the labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import atomic_number, symbol_of
from pesatlas.tables import read_table

_COLUMNS = [
    "snapshot_id",
    "condition",
    "numbers",
    "level",
    "level_fingerprint",
    "energy_eV",
    "converged",
    "verdict",
]


@dataclass
class References:
    """Energies that others are measured against.

    Attributes
    ----------
    atoms : energy of an isolated atom in eV, by level and atomic number
    elements : energy of the element's crystal in eV/atom, by level and atomic number: the lowest among the
        crystals as given
    gaps : cohesive energy at the second level less that at the first, in eV/atom, by snapshot
    """

    atoms: dict[tuple[str, int], float]
    elements: dict[tuple[str, int], float] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)

    @cached_property
    def median_gap(self) -> float:
        """Median of the gaps (eV/atom); asked for once all are known."""
        return float(np.median(list(self.gaps.values()))) if self.gaps else 0.0

    def gap(self, snapshot_id: str) -> float | None:
        """Return a snapshot's gap less the median of all (eV/atom); None unless it has both levels."""
        gap = self.gaps.get(snapshot_id)
        return None if gap is None else gap - self.median_gap

    def as_json(self) -> dict[str, Any]:
        """Return them by level and chemical symbol, for the manifest."""
        return {
            "atoms_eV": _by_symbol(self.atoms),
            "elements_eV_per_atom": _by_symbol(self.elements),
            "median_level_gap_eV_per_atom": self.median_gap if self.gaps else None,
        }

    def cohesive(self, energy: float, numbers: Sequence[int], level: str) -> float | None:
        """Return the cohesive energy (eV/atom, negative is bound).

        None if the isolated atom of an element is missing.
        """
        return _relative(energy, numbers, level, self.atoms)

    def formation(self, energy: float, numbers: Sequence[int], level: str) -> float | None:
        """Return the formation energy (eV/atom); None if the crystal of an element is missing."""
        return _relative(energy, numbers, level, self.elements)


def reference_atoms(path: Path) -> dict[tuple[str, int], float]:
    """Energies of isolated atoms in eV, by level and atomic number."""
    table = read_table(path, "atoms", ["element", "level", "energy_eV"])
    return {(row["level"], atomic_number(row["element"])): row["energy_eV"] for row in table.to_pylist()}


def find_references(atoms: Path, labels: Iterable[Path], levels: Sequence[str]) -> References:
    """Return the references of a campaign.

    The crystal of an element is the one with the lowest energy among those selected as given (condition
    ``equilibrium``), so formation energies are those of this campaign's structures at this level, nobody
    else's.
    """
    found = References(reference_atoms(atoms))
    for path in labels:
        cohesive: dict[str, dict[str, float]] = {}
        for row in read_table(path, "labels", _COLUMNS).to_pylist():
            if not (row["converged"] and row["verdict"] == "accepted"):
                continue
            numbers, level = row["numbers"], row["level"]
            if row["condition"] == "equilibrium" and len(set(numbers)) == 1:
                key, energy = (level, numbers[0]), row["energy_eV"] / len(numbers)
                found.elements[key] = min(energy, found.elements.get(key, np.inf))
            value = found.cohesive(row["energy_eV"], numbers, level)
            if value is not None:
                cohesive.setdefault(row["snapshot_id"], {})[level] = value
        if len(levels) > 1:
            first, second = levels[:2]
            for name, at in cohesive.items():
                if first in at and second in at:
                    found.gaps[name] = at[second] - at[first]
    return found


def _relative(
    energy: float, numbers: Sequence[int], level: str, known: dict[tuple[str, int], float]
) -> float | None:
    counts = Counter(numbers)
    if any((level, number) not in known for number in counts):
        return None
    return (energy - sum(n * known[level, number] for number, n in counts.items())) / len(numbers)


def _by_symbol(known: dict[tuple[str, int], float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for (level, number), energy in sorted(known.items()):
        found.setdefault(level, {})[symbol_of(number)] = energy
    return found
