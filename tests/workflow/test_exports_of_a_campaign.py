"""GPAW labels of a campaign in every export and at both levels, unchanged."""

import pyarrow.parquet as pq
import pytest

from export_readers import READERS, check_same
from pesatlas.dataset.export import export_dataset, formats


@pytest.mark.parametrize("kind", formats())
def test_the_dataset_of_a_campaign_is_read_back_with_the_same_numbers(tiny, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # matgl makes folders where it is
    results = tiny.path / "results"
    export_dataset(results, kind, tmp_path / kind, verdicts=["accepted", "flagged"])
    for level in ("pbe", "r2scan"):
        table = pq.read_table(results / "dataset" / level / "part-00000.parquet")
        rows = {row["snapshot_id"]: row for row in table.to_pylist()}
        assert len(rows) == 4
        assert any(abs(s) > 1e-3 for row in rows.values() for s in row["stress_eV_per_A3"])
        check_same(kind, READERS[kind](tmp_path / kind, level, list(rows)), rows)
