"""ASE databases (``.db``, ``.aselmdb``): results of a calculation, or labels in key-value pairs or data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pesatlas.dataset.importers._rows import rows
from pesatlas.frames import ase_rows
from pesatlas.frames.frame import Refusal

ENDINGS = (".db", ".aselmdb")


def read(path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield a row or a refusal for each row of a database."""
    yield from rows(ase_rows.items(path), path)
