"""A campaign half-way through, of real tables."""

import pytest
import yaml

from pesatlas.config.presets import preset
from pesatlas.tables import SCHEMAS, FailureReason, write_table
from pesatlas.tables.failures import failure_row
from pesatlas.testing.blank import value_of

LEVELS = ("pbe", "r2scan")


def rows_of(table, count):
    """Rows with a value of the right type in every column."""
    row = {field.name: value_of(field.type) for field in SCHEMAS[table]}
    return [row] * count


def failures(*reasons):
    return [failure_row("test", str(i), "s", FailureReason(reason), "") for i, reason in enumerate(reasons)]


class HalfWay:
    """Two of three explore batches and one of two label batches are there."""

    def __init__(self, folder):
        self.folder = folder
        self.results = folder / "results"
        raw = preset("demo")[0].model_dump(mode="json")
        raw["select"]["target"], raw["label"]["structures_per_job"] = 6, 3
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(raw))

    def write(self):
        self.put(
            "structures", "structures", 6, sources_read=8, accepted=6, failed=2, trajectories=9, batches=3
        )
        self.put("failures/structures", "failures", failures("duplicate", "duplicate"))
        for batch in ("00000", "00001"):
            self.explore(batch)
        self.put("features/00000", "features", 20)
        self.put("selection", "selection", 6)
        counts = {"selected": 3}
        for level in LEVELS:
            counts |= {f"labelled_{level}": 2, f"failed_{level}": 1, f"quarantined_{level}": level == "pbe"}
        self.put("labels/00000", "labels", 4, **counts)
        self.put("failures/label/00000", "failures", failures("timeout", "not_converged"))
        self.put("labels/atoms", "atoms", 3, wanted=4, labelled=3, failed=1)
        self.put("failures/atoms", "failures", failures("crashed"))

    def explore(self, batch):
        counts = {
            "trajectories_finished": 2,
            "trajectories_failed": 1,
            "equilibrium": 1,
            "equilibrium_failed": 1,
        }
        self.put(f"snapshots/{batch}", "snapshots", 20, **counts)
        self.put(f"failures/explore/{batch}", "failures", failures("exploded_volume", "not_finite"))

    def put(self, name, table, rows, **counts):
        rows = rows_of(table, rows) if isinstance(rows, int) else rows
        write_table(self.results / f"{name}.parquet", table, rows, "s", counts)


@pytest.fixture
def halfway(tmp_path):
    made = HalfWay(tmp_path / "campaign")
    made.write()
    return made
