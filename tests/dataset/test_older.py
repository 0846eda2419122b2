"""Tables of every schema version that there was still open: one folder of results is kept for each.

When the schema changes, raise SCHEMA_VERSION and add a folder that the version before wrote; never write an
old one again.
"""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pesatlas
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.tables import SCHEMAS, read_table
from pesatlas.tables.check_tables import OF_CHECKS
from pesatlas.tables.potential_tables import OF_POTENTIALS
from pesatlas.tables.schemas import SCHEMA_VERSION

FOLDERS = sorted(Path(__file__).parent.glob("schema_*"))


def test_there_is_a_folder_for_every_version():
    assert [path.name for path in FOLDERS] == [f"schema_{i}" for i in range(1, SCHEMA_VERSION + 1)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_table_opens_with_nulls_for_what_its_version_did_not_have(folder):
    files = sorted(folder.rglob("*.parquet"))
    kinds = {pq.read_schema(f).metadata[b"pesatlas.table"].decode() for f in files}
    # new tables, of which nothing older depends, came without a new version
    later = {*OF_POTENTIALS, *OF_CHECKS, "trajectories"} | (
        {"candidates", "quality"} if folder.name == "schema_1" else set()
    )
    assert kinds == set(SCHEMAS) - {"imported"} - later
    for path in files:
        metadata = pq.read_schema(path).metadata
        assert metadata[b"pesatlas.schema_version"].decode() == folder.name.removeprefix("schema_")
        name = metadata[b"pesatlas.table"].decode()
        table = read_table(path, name)
        assert table.schema.names == SCHEMAS[name].names
        assert len(table) == pq.read_metadata(path).num_rows


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_campaign_of_every_version_opens_and_answers(folder):
    atlas = pesatlas.open(folder)
    assert len(list(atlas.atoms("pbe"))) == 4
    assert atlas.query("SELECT count(*) AS n FROM dataset").to_pylist() == [{"n": 8}]


@pytest.mark.parametrize("columns", [["split", "space_group"], ["space_group"]])
def test_columns_and_rows_can_be_chosen(older, columns):
    path = older / "dataset/pbe/part-00000.parquet"
    table = read_table(path, "dataset", columns, filters=[("structure_id", "==", "NaCl")])
    assert table.column_names == columns
    assert table["space_group"].null_count == len(table) == 3


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda path: path.name)
def test_rows_with_all_columns_of_today_are_verified(folder):
    assert verify(folder) == []


def test_rows_without_some_columns_of_today_are_not_said_to_be_sound(older):
    with pytest.raises(UserError, match="older schema version"):
        verify(older)
