"""ASE databases on LMDB, as fairchem trains from them: one folder per split, with shards."""

from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.campaign.splits import SPLITS
from pesatlas.dataset.convert import to_ase
from pesatlas.dataset.dataset_rows import Source, provenance
from pesatlas.errors import UserError

ROWS_IN_A_SHARD = 20_000
"""The library looks through a list of all rows of a file for each row it writes."""

_KEYS = ("split", "verdict", "level")


def export(source: Source, folder: Path) -> list[Path]:
    """Write ``{split}/data.0000.aselmdb`` and so on, each folder with fairchem's ``metadata.npz``.

    Return them.

    Raises
    ------
    UserError
        If ase-db-backends is not installed.
    """
    shards = {split: _Shards(folder / f"{source.stem}" / split) for split in SPLITS}
    for row in source.rows():
        shards[row["split"]].write(row)
    return [path for each in shards.values() for path in each.close()]


class _Shards:
    """The files of one split, written one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.sizes: list[int] = []
        self._open: Any = None
        self._rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        if self._open is None or self._rows == ROWS_IN_A_SHARD:
            self._next()
        atoms = to_ase(row)
        # the calculator was made for these atoms: comparing them with a copy, property by property, takes
        # most of the time
        atoms.calc.check_state = lambda *_, **__: []
        about = {key: value for key, value in provenance(row).items() if value is not None}
        self._open.write(
            atoms, key_value_pairs={key: row[key] for key in _KEYS}, data={**about, "sid": row["snapshot_id"]}
        )
        self._rows += 1
        self.sizes.append(row["n_atoms"])

    def close(self) -> list[Path]:
        """Finish the last file; return all of them. A split without rows has none."""
        self._finish()
        if not self.paths:
            return []
        metadata = self.folder / "metadata.npz"
        np.savez_compressed(metadata, natoms=np.array(self.sizes))
        return [*self.paths, metadata]

    def _next(self) -> None:
        self._finish()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.paths.append(self.folder / f"data.{len(self.paths):04d}.aselmdb")
        self._open = _database(self.paths[-1])
        # one transaction for a file: one for each row would wait for the disk each time
        self._open.__enter__()
        self._rows = 0

    def _finish(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
            # LMDB's lock file says nothing to whoever reads the data
            Path(f"{self.paths[-1]}-lock").unlink(missing_ok=True)


def _database(path: Path) -> Any:
    try:
        from ase_db_backends.aselmdb import LMDBDatabase  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            f"{error}: the export aselmdb needs ase-db-backends. Install it with `pip install "
            "'pesatlas[export]'`, or remove aselmdb from dataset.exports."
        ) from error
    return LMDBDatabase(path, use_lock_file=False, serial=True)
