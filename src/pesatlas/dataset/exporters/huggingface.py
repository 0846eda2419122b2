"""A folder for Hugging Face: Parquet shards by split, and the README that makes it load.

The columns are those of the dataset, with their names and units; ``datasets.load_dataset(folder)`` reads it.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.campaign.splits import SPLITS
from pesatlas.dataset.dataset_rows import Source
from pesatlas.runtime.templates import render
from pesatlas.tables import SCHEMAS

ROWS_IN_A_SHARD = 100_000
ROWS_IN_A_GROUP = 5_000
_TEMPLATE = Path(__file__).with_name("huggingface.md.j2")
_NAMES = {"train": "train", "valid": "validation", "test": "test"}


def export(source: Source, folder: Path) -> list[Path]:
    """Write ``{level}/{split}-00000.parquet`` and so on, and ``README.md``; return them."""
    shards = {split: _Shards(folder / source.level, _NAMES[split]) for split in SPLITS}
    for piece in source.batches():
        for split, each in shards.items():
            each.write(piece.filter(pc.equal(piece["split"], split)))
    files = {split: each.close() for split, each in shards.items()}
    readme = folder / "README.md"
    readme.write_text(_readme(source, folder), encoding="utf-8")
    return [*(path for paths in files.values() for path in paths), readme]


class _Shards:
    """The files of one split, written one after the other."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.paths: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0
        self._waiting: list[pa.RecordBatch] = []

    def write(self, piece: pa.RecordBatch) -> None:
        """Append rows, which are written in groups: each group of a file costs memory until it is closed."""
        if piece.num_rows:
            self._waiting.append(piece)
        if sum(each.num_rows for each in self._waiting) >= ROWS_IN_A_GROUP:
            self._write()

    def _write(self) -> None:
        if self._writer is None or self._rows >= ROWS_IN_A_SHARD:
            self._finish()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.paths.append(self.folder / f"{self.name}-{len(self.paths):05d}.parquet")
            self._writer = pq.ParquetWriter(self.paths[-1], SCHEMAS["dataset"], compression="zstd")
            self._rows = 0
        schema = SCHEMAS["dataset"]
        group = pa.Table.from_batches(self._waiting).select(schema.names).cast(schema)
        self._writer.write_table(group, row_group_size=group.num_rows)
        self._rows += group.num_rows
        self._waiting = []

    def close(self) -> list[Path]:
        """Finish the last file; return all of them. A split without rows has none."""
        if self._waiting:
            self._write()
        self._finish()
        return self.paths

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _readme(source: Source, folder: Path) -> str:
    """Return the README for all levels that are in the folder by now."""
    levels = sorted(path for path in folder.iterdir() if path.is_dir())
    configs = {
        level.name: [name for name in _NAMES.values() if any(level.glob(f"{name}-*.parquet"))]
        for level in levels
    }
    return render(_TEMPLATE, {"source": source, "configs": configs})
