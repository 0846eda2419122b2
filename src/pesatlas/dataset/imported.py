"""Other people's datasets as a table: to compare with, to look into, and as crystals to explore or select from."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pesatlas import __version__, registry
from pesatlas.dataset.chemistry import material_group
from pesatlas.elements import reduced_formula
from pesatlas.errors import UserError
from pesatlas.progress import Progress
from pesatlas.splits import chemical_system
from pesatlas.tables import TableWriter
from pesatlas.tables.manifest import sha256_of

log = logging.getLogger(__name__)

IMPORTERS = "pesatlas.dataset.importers"
_AT_ONCE = 1000


def import_dataset(path: Path, level: str, table: Path, kind: str | None = None) -> int:
    """Read a dataset and write it as the table ``imported``; return the number of rows.

    Its rows have a level fingerprint of their own, from the bytes of the file, so that nothing takes them for this campaign's surface.

    Parameters
    ----------
    level : what its level is called, e.g. ``pbe``
    kind : its format; by the ending of its name if it is not given

    Raises
    ------
    UserError
        If it is missing, of an unknown format, or a row cannot be read; the message names the row.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file. Name one of MatPES JSON or extended XYZ.")
    if kind is not None and kind not in registry.available(IMPORTERS):
        raise UserError(
            f"--format {kind}: there is none. Choose one of {', '.join(registry.available(IMPORTERS))}."
        )
    module = registry.find(IMPORTERS, kind or _kind_of(path))
    sha = sha256_of(path)
    same = {
        "level": level,
        "level_fingerprint": f"imported-{sha[:16]}",
        "source": f"{path.name} sha256:{sha[:16]}",
        "code_version": __version__,
    }
    rows = _checked(module.read(path), path)
    progress = Progress("rows read")
    piece = list(islice(rows, _AT_ONCE))
    if not piece:
        raise UserError(f"{path} holds no rows: it is empty, or has isolated atoms alone. Name another file.")
    with TableWriter(table, "imported", sha[:16]) as writer:
        while piece:
            writer.write([{**row, **same, **_derived(row)} for row in piece])
            progress.step(len(piece))
            piece = list(islice(rows, _AT_ONCE))
    log.info("%s: %d rows of %s", table, writer.rows, path)
    return writer.rows


def _kind_of(path: Path) -> str:
    for name in registry.available(IMPORTERS):
        if path.name.lower().endswith(registry.find(IMPORTERS, name).ENDINGS):
            return name
    raise UserError(
        f"{path}: unknown format. Known: {', '.join(registry.available(IMPORTERS))}; name one with --format."
    )


def _checked(rows: Iterator[dict[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
    """Yield rows; whatever is wrong with one is said with its number."""
    i = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{path}: row {i} cannot be read ({type(error).__name__}: {error}). It needs a structure, an energy and forces."
            ) from error
        n = len(row["numbers"])
        if (
            len(row["positions_A"]) != 3 * n
            or len(row["forces_eV_per_A"]) != 3 * n
            or len(row["cell_A"]) != 9
        ):
            raise UserError(
                f"{path}: row {i} ({row['snapshot_id']}) has {n} atoms, and other numbers of positions or forces."
            )
        yield row
        i += 1


def _derived(row: dict[str, Any]) -> dict[str, Any]:
    numbers = row["numbers"]
    return {
        "n_atoms": len(numbers),
        "formula": reduced_formula(numbers),
        "chemical_system": chemical_system(numbers),
        "material_group": material_group(numbers),
    }
