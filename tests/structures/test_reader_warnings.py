"""A warning of a library while it reads an entry is a warning of that entry, with the file's name; ids of
tables are text."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pesatlas.structures import readers
from pesatlas.structures.crystal import Rejected, make_crystal
from pesatlas.structures.sources import files
from pesatlas.tables import FailureReason


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def crystal(name):
    return make_crystal(name, [3], np.eye(3) * 4, [[0, 0, 0]], "own")


def test_each_entry_has_its_own_warnings_and_no_noise(monkeypatch):
    def entries(path, stem, source):
        for i in range(3):
            if i == 1:
                warnings.warn("what is odd about the second one", UserWarning, stacklevel=1)
                warnings.warn("what is odd about the second one", UserWarning, stacklevel=1)
                warnings.warn("to programmers", DeprecationWarning, stacklevel=1)
            yield crystal(f"c{i}")
        warnings.warn("why it failed", RuntimeWarning, stacklevel=1)
        yield Rejected("c3", FailureReason.UNREADABLE, "no good")

    monkeypatch.setitem(readers._READERS, "cif", entries)
    Path("a.cif").touch()
    with warnings.catch_warnings(record=True) as leaked:
        first, second, third, failed = files.load(files.Options(paths=["a.cif"]))
    assert (first.warnings, third.warnings) == ((), ())
    assert second.warnings == ("a.cif: what is odd about the second one",)
    assert failed.detail == "no good (warned: why it failed)"
    assert leaked == []


def test_a_build_that_warns(monkeypatch):
    def build(name, content, source):
        warnings.warn(f"odd content {content}", UserWarning, stacklevel=1)
        return crystal(name)

    found = list(readers._named(iter([("a", 1), ("b", 2)]), build, "x", "own", "x.db"))
    assert [each.warnings for each in found] == [("x.db: odd content 1",), ("x.db: odd content 2",)]


@pytest.mark.parametrize(
    ("ids", "kind", "expected"),
    [
        (["0012345", "12e4", "NaN"], pa.string(), ["0012345", "12e4", "NaN"]),
        ([12, 7, 12345678901], pa.int64(), ["12", "7", "12345678901"]),
        ([1.5, float("nan"), None], pa.float64(), ["1.5", "t-00001", "t-00002"]),
        (["T", "T", "x"], pa.dictionary(pa.int32(), pa.string()), ["T", "T", "x"]),
    ],
)
def test_ids_of_parquet_are_text(ids, kind, expected):
    one = {"numbers": [3], "cell_A": (np.eye(3) * 4).reshape(-1).tolist(), "positions_A": [0.0] * 3}
    table = pa.Table.from_pylist([one] * len(ids))
    pq.write_table(table.append_column("structure_id", pa.array(ids, kind)), "t.parquet")
    assert [found.structure_id for found in files.load(files.Options(paths=["t.parquet"]))] == expected
