"""Ids of exports are text, for us and for ASE."""

from itertools import cycle

import pytest
from ase.io import iread

from pesatlas.dataset.export import export_dataset
from pesatlas.dataset.imported import import_dataset
from pesatlas.tables import read_table, write_table

IDS = ["0012345", "12e4", "T", "NaN"]


@pytest.fixture
def renamed(finished):
    """A finished campaign whose crystals have names that ASE takes for numbers and booleans."""
    path = finished / "dataset/pbe/part-00000.parquet"
    rows = read_table(path, "dataset").to_pylist()
    for row, name in zip(rows, cycle(IDS), strict=False):
        row["structure_id"], row["snapshot_id"], row["split"] = name, f"{name}:{row['step']}", "train"
    write_table(path, "dataset", rows, "renamed")
    return finished


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("extxyz", "test-PBE.extxyz"),
        ("mace", "test-PBE-train.extxyz"),
        ("matpes", "test-PBE.json.gz"),
        ("matgl", "test-PBE.json.gz"),
        ("aselmdb", "test-PBE/train/data.0000.aselmdb"),
    ],
)
def test_ids_of_an_export_are_imported_as_they_were(renamed, tmp_path, kind, file):
    export_dataset(renamed, kind, tmp_path / kind, verdicts=["accepted"])
    import_dataset(tmp_path / kind / file, "pbe", tmp_path / "imported.parquet")
    found = read_table(tmp_path / "imported.parquet", "imported")
    assert set(found["structure_id"].to_pylist()) == set(IDS)
    expected = read_table(renamed / "dataset/pbe/part-00000.parquet", "dataset")["snapshot_id"].to_pylist()
    assert sorted(found["snapshot_id"].to_pylist()) == sorted(expected)
    if file.endswith(".extxyz"):
        rows = [atoms.info for atoms in iread(tmp_path / kind / file) if "structure_id" in atoms.info]
        assert {row["structure_id"] for row in rows} == set(IDS)
        assert sorted(row["snapshot_id"] for row in rows) == sorted(expected)
