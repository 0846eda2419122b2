"""Rows of a dataset one by one, for exporters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pesatlas.config.label import MLIP
from pesatlas.runtime.progress import Progress
from pesatlas.tables.io import check_metadata, iter_table
from pesatlas.tables.manifest import read_entry

FUNCTIONALS = {"pbe": "PBE", "r2scan": "r2SCAN", MLIP: "mlip-not-DFT"}
"""Usual spelling of a level's functional; a level without one says so, in names of files too."""


@dataclass(frozen=True)
class Source:
    """One level of a dataset.

    Attributes
    ----------
    path : the table
    level : its level
    verdicts : rows with these are given
    name : of the campaign, for names of files
    atoms : energies of isolated atoms in eV by symbol
    version : of pesatlas that made the dataset
    caveats : what has to be said of its labels first
    """

    path: Path
    level: str
    verdicts: tuple[str, ...]
    name: str
    atoms: dict[str, float]
    version: str
    caveats: tuple[str, ...] = ()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in pieces of some hundred."""
        check_metadata(self.path, "dataset")
        allowed = pa.array(self.verdicts, pa.string())
        names = None if columns is None else list(dict.fromkeys([*columns, "verdict"]))
        # some columns are read in no time
        progress = Progress(f"rows at {self.level}", read_entry(self.path).rows) if columns is None else None
        for piece in iter_table(self.path, names):
            if progress is not None:
                progress.step(piece.num_rows)
            kept = piece.filter(pc.is_in(piece["verdict"], value_set=allowed))
            if kept.num_rows:
                yield kept

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows, one by one."""
        for piece in self.batches(columns):
            yield from piece.to_pylist()

    @property
    def stem(self) -> str:
        """Return how files of this level are named: ``demo-PBE``."""
        return f"{self.name}-{FUNCTIONALS.get(self.level, self.level)}"


def provenance(row: dict[str, Any]) -> dict[str, Any]:
    """Return where a row comes from, for formats that keep it beside the numbers."""
    return {
        name: row[name]
        for name in (
            "snapshot_id",
            "structure_id",
            "condition",
            "level",
            "level_fingerprint",
            "split",
            "verdict",
            "source",
            "label_key",
        )
    }


def as_json(value: Any) -> bytes:
    """Return a value as JSON in one line; numbers keep all their digits."""
    return orjson.dumps(value)
