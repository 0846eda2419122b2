"""Splits by material: set by name and seed, the same at every level, stable when a dataset grows.

The hash of a material's name is a number between 0 and 1: below ``test`` it is in the split test, below
``test + valid`` in valid, else in train. Two things come before the number:

- A material that a dataset of a round before holds keeps the split that it has there.
- Where three materials or more have accepted rows and none of them is in valid, one is moved there from
  train. Of the materials that no round before holds it is the one next to valid: first those that every level
  has accepted rows of, then those that leave train half of its rows, then those whose elements other
  materials of train have too, then those of the smallest number. From test none is moved but where train has
  at most one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import symbol_of
from pesatlas.config.dataset import Split
from pesatlas.tables import iter_table

SPLITS = ("train", "valid", "test")
ENOUGH_FOR_VALID = 3
"""Materials that have to be there before one of them is moved to an empty split valid."""


def split_of(name: str, split: Split, seed: int) -> str:
    """Return the split that the number of a material gives.

    It is never divided: a ``structure_id`` or a chemical system.
    """
    number = _number(name, seed)
    if number < split.test:
        return "test"
    return "valid" if number < split.test + split.valid else "train"


def chemical_system(numbers: Sequence[int]) -> str:
    """Return the elements in alphabetical order: ``Cl-Na``."""
    return "-".join(sorted({symbol_of(number) for number in numbers}))


def material_column(split: Split) -> str:
    """Return the column that names what is never divided between splits."""
    return "structure_id" if split.by == "structure" else "chemical_system"


def splits_before(datasets: Iterable[Path], split: Split) -> dict[str, str]:
    """Return the split of each material in previous datasets, without those in several splits."""
    column = material_column(split)
    found: dict[str, set[str]] = {}
    for path in datasets:
        for piece in iter_table(path, [column, "split"]):
            for name, held in set(zip(piece[column].to_pylist(), piece["split"].to_pylist(), strict=True)):
                found.setdefault(name, set()).add(held)
    return {name: min(splits) for name, splits in found.items() if len(splits) == 1}


class Materials:
    """Splits of the materials of a dataset, and which of them have accepted rows.

    Parameters
    ----------
    split : shares
    seed : of the campaign
    levels : reference levels, in their order
    before : split by material in the datasets of rounds before
    """

    def __init__(
        self, split: Split, seed: int, levels: Iterable[str], before: Mapping[str, str] | None = None
    ) -> None:
        self.split, self.seed = split, seed
        self.before = dict(before or {})
        self.moved: list[str] = []
        self._levels = tuple(levels)
        self._forget()

    def of(self, name: str) -> str:
        """Return the split of a material."""
        if name in self.moved:
            return "valid"
        return self.before.get(name) or split_of(name, self.split, self.seed)

    def accept(self, level: str, name: str, numbers: Iterable[int]) -> None:
        """Count an accepted row."""
        self._elements.setdefault(name, set()).update(numbers)
        self._rows[level][name] += 1

    def fill_valid(self) -> bool:
        """Move a material to valid at each level where it is empty and may be filled.

        Return whether any was moved.

        The rows have to be written again then, and counted again.
        """
        moved = len(self.moved)
        for level in self._levels if self.split.valid > 0 else ():
            found = self._by_split(level)
            if len(self._rows[level]) < ENOUGH_FOR_VALID or found["valid"]:
                continue
            source = "train" if len(found["train"]) > 1 else "test"
            free = [name for name in found[source] if name not in self.before]
            if free:
                self.moved.append(min(free, key=lambda name: self._order(level, name, found["train"])))
        if len(self.moved) == moved:
            return False
        self._forget()
        return True

    def as_json(self) -> dict[str, Any]:
        """Return what the manifest keeps.

        Which materials were moved, and how many materials and accepted rows each split has.
        """
        return {
            "moved_to_valid": self.moved,
            "accepted": {
                level: {
                    split: {"materials": len(names), "rows": sum(self._rows[level][name] for name in names)}
                    for split, names in self._by_split(level).items()
                }
                for level in self._levels
            },
        }

    def _by_split(self, level: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name in self._rows[level]:
            found[self.of(name)].append(name)
        return found

    def _order(self, level: str, name: str, train: list[str]) -> tuple[bool, bool, bool, float, str]:
        """Return a key that is smallest for the material to move: see the docstring of the module."""
        others = set().union(*(self._elements[other] for other in train if other != name))
        away = abs(_number(name, self.seed) - self.split.test - self.split.valid)
        missing = any(name not in self._rows[each] for each in self._levels)
        rows = self._rows[level]
        most_of_train = 2 * rows[name] > sum(rows[other] for other in train)
        return missing, most_of_train, not self._elements[name] <= others, away, name

    def _forget(self) -> None:
        self._elements: dict[str, set[int]] = {}
        self._rows: dict[str, Counter[str]] = {level: Counter() for level in self._levels}


def empty_splits(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the splits without an accepted row by level, as the manifest of a campaign counts them.

    Older ones do not.
    """
    counts = manifest.get("splits", {}).get("accepted", {})
    return {
        level: [split for split in SPLITS if not found[split]["rows"]]
        for level, found in counts.items()
        if any(not found[split]["rows"] for split in SPLITS)
    }


def split_remarks(manifest: Mapping[str, Any]) -> list[str]:
    """Return sentences on empty splits and on materials moved to valid, for users of the dataset."""
    counts = manifest.get("splits", {}).get("accepted", {})
    shares = manifest.get("configuration", {}).get("dataset", {}).get("split", {})
    return [
        *(
            f"{empty_sentence(level, splits)} {_why(splits, counts[level], shares)}"
            for level, splits in empty_splits(manifest).items()
        ),
        *moved_remarks(manifest),
    ]


def moved_remarks(manifest: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the materials that were moved to valid, if any were."""
    moved = manifest.get("splits", {}).get("moved_to_valid", [])
    return [f"Moved to the split valid, which would have been empty: {', '.join(moved)}."] if moved else []


def empty_sentence(level: str, splits: Sequence[str]) -> str:
    """Say which splits are empty."""
    many = len(splits) > 1
    named = f"{', '.join(splits[:-1])} and {splits[-1]}" if many else splits[0]
    return f"The split{'s' if many else ''} {named} {'are' if many else 'is'} empty at {level}."


def _why(splits: Sequence[str], counts: Mapping[str, Mapping[str, int]], shares: Mapping[str, Any]) -> str:
    materials = sum(found["materials"] for found in counts.values())
    why = f"{materials} material{'' if materials == 1 else 's'} with accepted rows"
    chosen = [f"dataset.split.{split} is 0" for split in splits if shares.get(split) == 0]
    told = "; ".join([why, *chosen])
    follows = {
        "train": "nothing can be trained",
        "valid": "training has no early stopping",
        "test": "nothing is left to test on",
    }
    return f"{told}: {', '.join(follows[split] for split in splits)}."


def _number(name: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:12], 16) / 16**12
