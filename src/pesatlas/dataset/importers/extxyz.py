"""Extended XYZ with labels in eV, eV/Å, eV/Å³: names of ASE, MACE (``REF_``), GAP and NEP (virials)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pesatlas.dataset.importers._rows import rows
from pesatlas.frames import xyz
from pesatlas.frames.frame import Refusal

ENDINGS = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz")


def read(path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield a row or a refusal for each entry of a file."""
    yield from rows(xyz.items(path), path)
