"""`pesatlas query` for people: questions by name, one row as a record, columns that fit."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from pesatlas.cli.query import query
from pesatlas.dataset.questions import QUESTIONS

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"


@pytest.fixture
def results(tmp_path):
    return Path(shutil.copytree(FINISHED, tmp_path / "results"))


def printed(sql, results, to=None, width=80):
    console = Console(file=io.StringIO(), width=width)
    query(sql, results, to, console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_by_its_name(results, name, tmp_path):
    told = printed(name, results, width=200)
    assert "structure_id" in told or "snapshot_id" in told or "reason" in told
    printed(name, results, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().count("\n") >= 2


def test_the_largest_forces_come_first(results):
    rows = [
        line.split("│") for line in printed("worst-forces", results, width=200).splitlines() if "│" in line
    ]
    forces = [float(cells[3]) for cells in rows]
    assert forces == sorted(forces, reverse=True)
    assert len(forces) > 2


def test_one_row_is_shown_as_a_record(results):
    told = printed("SELECT * FROM dataset LIMIT 1", results)
    assert "┃" not in told
    # every column is there, each on a line of its own
    for name in ("snapshot_id", "energy_eV", "verdict", "split"):
        assert sum(line.split()[:1] == [name] for line in told.splitlines()) == 1


def test_of_many_columns_those_that_fit_are_shown_and_the_others_named(results):
    told = printed("FROM dataset", results, width=90)
    table = [line for line in told.splitlines() if "│" in line]
    assert max(map(len, table)) <= 90
    assert "more columns: " in told
    assert "energy_eV" in told.split("more columns: ")[1]
    # an id is whole, for `pesatlas explain` wants it
    assert "…" not in printed("SELECT snapshot_id FROM dataset", results)
    # a wider terminal shows more
    assert (
        told.split(" more columns")[0][-2:]
        > printed("FROM dataset", results, width=300).split(" more columns")[0][-2:]
    )


def test_no_rows_are_a_table_without_rows(results):
    assert "snapshot_id" in printed("SELECT snapshot_id FROM dataset WHERE false", results)


def test_two_columns_of_one_name_are_both_shown(results):
    assert " 2 " in printed("SELECT 1 AS a, 2 AS a UNION ALL SELECT 3, 4", results)
    assert printed("SELECT 1 AS a, 2 AS a", results).split() == ["a", "1", "a", "2"]
