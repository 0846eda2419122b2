"""Splits by material: decided by a name and the seed alone, the same at every level, and the same as a dataset grows."""

import hashlib
from collections.abc import Sequence

from pesatlas.config.dataset import Split
from pesatlas.elements import symbol_of


def split_of(name: str, split: Split, seed: int) -> str:
    """Return the split of what is never divided: a ``structure_id`` or a chemical system."""
    number = int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:12], 16) / 16**12
    if number < split.test:
        return "test"
    return "valid" if number < split.test + split.valid else "train"


def chemical_system(numbers: Sequence[int]) -> str:
    """Return the elements in alphabetical order: ``Cl-Na``."""
    return "-".join(sorted({symbol_of(number) for number in numbers}))
