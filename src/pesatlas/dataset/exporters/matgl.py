"""MatPES JSON for matgl 4.1: as in the export ``matpes``, but with the stress as three rows of three.

matgl reads six numbers too, and then stops in its first training step: its loss compares them with a (3, 3)
tensor.
"""

from pathlib import Path
from typing import Any

from pesatlas.dataset.dataset_rows import Source
from pesatlas.dataset.exporters import matpes


def export(source: Source, folder: Path) -> list[Path]:
    """Write the files of the export ``matpes``, with stress as (3, 3) in kbar, compression positive.

    Return them.
    """
    return matpes.export(source, folder, document)


def document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as matgl wants it."""
    found = matpes.document(row)
    xx, yy, zz, yz, xz, xy = found["stress"]
    return {**found, "stress": [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]}
