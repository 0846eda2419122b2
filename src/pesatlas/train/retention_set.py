"""The retention set: labels of the same level outside the fine-tuning set, to measure forgetting."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.errors import UserError
from pesatlas.tables.failures import BESIDE
from pesatlas.tables.manifest import sha256_of
from pesatlas.train.scan import Piece

_TABLES = ("dataset", "imported")


@dataclass(frozen=True)
class RetentionSet:
    """Rows of other tables.

    Attributes
    ----------
    left_out : rows with elements that the potential does not know
    hashes : sha256 of each file, by name
    """

    pieces: list[Piece]
    left_out: int
    hashes: dict[str, str]


def read_retention_set(path: Path, level: str, elements: tuple[int, ...]) -> RetentionSet:
    """Find the rows of a file, or of all Parquet files in a folder.

    Raises
    ------
    UserError
        If there are none, or they are of another level.
    """
    tables = [each for each in path.glob("*.parquet") if not each.name.endswith(BESIDE)]
    files = sorted(tables) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UserError(
            f"train.retention_set: {path}: no such file, or a folder without Parquet files. Name a table "
            "dataset, or one that `pesatlas import` wrote."
        )
    known = np.zeros(256, dtype=bool)
    known[list(elements)] = True
    pieces, left_out = [], 0
    for file in files:
        with pq.ParquetFile(file) as table:
            kind = (table.schema_arrow.metadata or {}).get(b"pesatlas.table", b"none").decode()
            if kind not in _TABLES:
                raise UserError(
                    f"train.retention_set: {file} contains the table '{kind}', not one of "
                    f"{', '.join(_TABLES)}."
                )
            columns = ["level", "n_atoms", "numbers", *(["verdict"] if kind == "dataset" else [])]
            for group in range(table.num_row_groups):
                rows = table.read_row_group(group, columns=columns, use_threads=False)
                others = sorted(set(rows["level"].to_pylist()) - {level})
                if others:
                    raise UserError(
                        f"train.retention_set: {file} contains labels of level {', '.join(others)}, and the "
                        f"potential is of {level}. A potential meets labels of its own level alone: name a "
                        "table of that level."
                    )
                n_atoms = rows["n_atoms"].to_numpy()
                owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
                fits = ~np.bincount(
                    owner, ~known[pc.list_flatten(rows["numbers"]).to_numpy()], len(n_atoms)
                ).astype(bool)
                taken = (
                    np.array(rows["verdict"].to_pylist()) == "accepted"
                    if kind == "dataset"
                    else np.ones_like(fits)
                )
                left_out += int((taken & ~fits).sum())
                if (taken & fits).any():
                    pieces.append(Piece(file, group, np.flatnonzero(taken & fits).astype(np.int32)))
    if not pieces:
        raise UserError(
            f"train.retention_set: {path} has no row with elements that the base knows alone. Name another."
        )
    return RetentionSet(pieces, left_out, {file.name: sha256_of(file) for file in files})
