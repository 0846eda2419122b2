"""Held-out frames of a campaign: the test split of its dataset at one level."""

import logging
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pesatlas.benchmark.item import BenchmarkItem
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.campaign.layout import path_of
from pesatlas.dynamics.relax import Start
from pesatlas.errors import UserError
from pesatlas.tables.io import check_metadata

log = logging.getLogger(__name__)

_COLUMNS = [
    "snapshot_id",
    "formula",
    "level_fingerprint",
    "numbers",
    "cell_A",
    "positions_A",
    "energy_eV",
    "forces_eV_per_A",
    "stress_eV_per_A3",
]


def held_out(sources: Sources, frames: int | None, split: str = "test") -> list[BenchmarkItem]:
    """Return frames of the split, drawn by a hash of their names.

    Never more than a row group and those chosen are in memory.

    Raises
    ------
    UserError
        If there is no dataset.
    """
    path = sources.dataset
    if path is None:
        raise UserError(
            "this property needs held-out frames of a campaign's dataset, and none was given. Pass "
            f"--dataset {path_of('dataset', level='LEVEL')}, or leave the property out."
        )
    check_metadata(path, "dataset")
    table = pq.read_table(path, columns=["snapshot_id", "split"])
    names = table.filter(pc.equal(table["split"], split))["snapshot_id"].to_pylist()
    if not names:
        # a small campaign may have no crystal to spare: that is no reason to stop it
        log.warning("%s: its split '%s' is empty, so nothing is measured on held-out frames", path, split)
        return []
    chosen = sorted(names, key=lambda name: sha256(f"{sources.seed}:{name}".encode()).digest())[:frames]
    wanted = pa.array(chosen, pa.string())
    found = {}
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=_COLUMNS)
            mine = rows.filter(pc.is_in(rows["snapshot_id"], value_set=wanted))
            found.update({row["snapshot_id"]: row for row in mine.to_pylist()})
    return [_case(found[name]) for name in chosen]


def _case(row: dict[str, object]) -> BenchmarkItem:
    numbers = np.array(row["numbers"], dtype=np.uint8)
    start = Start(
        numbers,
        np.array(row["cell_A"], dtype=float).reshape(3, 3),
        np.array(row["positions_A"], dtype=float).reshape(-1, 3),
    )
    arrays = {
        "energy": np.array(row["energy_eV"], dtype=float),
        "forces": np.array(row["forces_eV_per_A"], dtype=float).reshape(-1, 3),
        "stress": np.array(row["stress_eV_per_A3"], dtype=float),
    }
    # labels of another level or code are other references, and so other results
    conditions = {name: sha256(values.tobytes()).hexdigest()[:16] for name, values in arrays.items()}
    conditions["level_fingerprint"] = str(row["level_fingerprint"])
    return BenchmarkItem(
        str(row["snapshot_id"]), str(row["formula"]), start, arrays=arrays, conditions=conditions
    )
