"""Counts by domain, from tables made by hand."""

import numpy as np
import pytest

from pesatlas.campaign.domain_summary import count_by_domain, format_losses
from pesatlas.tables import read_table, write_table
from pesatlas.tables.failures import failure_row
from pesatlas.tables.schemas import FailureReason

CELL = {"n_atoms": 1, "numbers": [18], "cell_A": np.eye(3).ravel().tolist(), "positions_A": [0.0] * 3}
SAID = {"source": "test", "code_version": "0"}
POTENTIAL = {"potential": "p", "potential_hash": "h"}


def structure(variant, domain):
    return {
        "structure_id": "a", "variant": variant, "domain": domain, "formula": "Ar", "conditions": [], "batch": 0, "warnings": [], **CELL, **SAID
    }  # fmt: skip


def snapshot(variant, domain, step, lindemann=None):
    return {
        "snapshot_id": f"a:{variant}:300K:{step}", "structure_id": "a", "variant": variant, "domain": domain, "condition": "300K",
        "ensemble": "NpT", "temperature_K": 300.0, "pressure_GPa": 0.0, "step": step, "time_fs": 0.0, "min_distance_A": 1.0,
        "lindemann": lindemann, **CELL, **POTENTIAL, **SAID,
    }  # fmt: skip


def failure(stage, key, reason, level=None):
    return failure_row(stage, key, "a", reason, "why", level=level)


@pytest.fixture
def results(tmp_path):
    tables = {
        "structures.parquet": [structure("unit", "bulk"), structure("hot", "hot"), structure("surface-100", "surface")],
        "snapshots/00000.parquet": [
            snapshot("unit", "bulk", 0),
            # off their sites in between; at the end
            *(snapshot("unit", "bulk", step, value) for step, value in ((1, 0.5), (2, 0.1))),
            *(snapshot("hot", "hot", step, value) for step, value in ((1, 0.1), (2, 0.5))),
        ],
        "failures/structures.parquet": [
            failure("structures", "broken", FailureReason.UNREADABLE),
            failure("structures", "a:surface-111-t0", FailureReason.POLAR),
            failure("structures", "a:monolayer", FailureReason.NOT_APPLICABLE),
        ],
        "failures/atoms.parquet": [failure("label", "atom:Ar", FailureReason.MISSING_REFERENCE_ATOM, "pbe")],
        "failures/explore/00000.parquet": [failure("explore", "a:hot:300K", FailureReason.EXPLODED_VOLUME)],
        "failures/label/00000.parquet": [
            failure("label", "a:hot:300K:2", FailureReason.TIMEOUT, level) for level in ("pbe", "r2scan")
        ],
    }  # fmt: skip
    files = []
    for name, rows in tables.items():
        table = "failures" if name.startswith("failures") else name.split("/")[0].split(".")[0]
        write_table(tmp_path / name, table, rows, "test")
        files.append({"table": table, "file": name, "rows": len(rows)})
    return tmp_path, {"files": files, "levels": ["pbe"]}


def test_each_domain_has_its_row(results):
    rows = {row["domain"]: row for row in count_by_domain(*results)}
    assert list(rows) == ["bulk", "hot", "monolayer", "surface"]
    assert {name: (row["cells"], row["frames"], row["left_sites"]) for name, row in rows.items()} == {
        "bulk": (1, 3, 0),
        "hot": (1, 2, 1),
        "monolayer": (0, 0, 0),
        "surface": (1, 0, 0),
    }
    assert rows["hot"]["lost"] == {"exploded_volume": 1, "timeout": 2}
    assert format_losses(rows["surface"]) == "1 polar_surface"
    assert format_losses(rows["bulk"]) == "nothing"
    assert format_losses(rows["monolayer"]) == "1 not_applicable"


def test_snapshots_of_an_older_version_do_not_know_what_melted(results):
    import pyarrow.parquet as pq

    path = results[0] / "snapshots/00000.parquet"
    older = read_table(path, "snapshots").drop_columns(["lindemann"])
    pq.write_table(older, path)
    assert {row["domain"]: row["left_sites"] for row in count_by_domain(*results)}["hot"] == 0
