"""`pesatlas query` for people: questions by name, one row as a record, columns that fit."""

import io
import json
import shutil
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import pesatlas
from pesatlas.cli.main import app
from pesatlas.cli.query import query
from pesatlas.dataset.questions import QUESTIONS
from pesatlas.errors import UserError

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


def test_of_one_level_it_is_said_that_nothing_can_be_apart(results):
    path = results / "manifest.json"
    manifest = json.loads(path.read_text()) | {"levels": ["pbe"]}
    path.write_text(json.dumps(manifest))
    told = " ".join(printed("levels-apart", results).split())
    assert told == "This campaign has one level, pbe: there is none to compare it with."


def test_the_largest_forces_come_first(results):
    rows = [
        line.split("│") for line in printed("worst-forces", results, width=200).splitlines() if "│" in line
    ]
    forces = [float(cells[2]) for cells in rows]
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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("worst-force", "Did you mean worst-forces?"),
        ("by_crystal", "Did you mean by-crystal?"),
        ("best", "Questions: by-crystal, worst-forces, levels-apart, failures."),
        ("dataset", '"FROM dataset"'),
    ],
)
def test_a_name_of_no_question_is_answered_with_those_there_are(results, typed, expected):
    with pytest.raises(UserError) as caught:
        printed(typed, results)
    assert expected in str(caught.value)
    assert "Parser Error" not in str(caught.value)


def test_rows_go_to_a_sheet_of_excel(results, tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    chosen = "snapshot_id, energy_eV, numbers, '=1+1' AS sum, 0/0::DOUBLE AS nothing"
    sql = f"SELECT {chosen} FROM dataset ORDER BY ALL"
    printed(sql, results, tmp_path / "rows.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "rows.xlsx")["rows"]
    rows = list(sheet.values)
    expected = pesatlas.open(results).query(sql).to_pylist()
    assert rows[0] == tuple(expected[0])
    assert len(rows) == len(expected) + 1
    for row, wanted in zip(rows[1:], expected, strict=True):
        assert row[0] == wanted["snapshot_id"]
        assert row[1] == pytest.approx(wanted["energy_eV"])
        assert json.loads(row[2]) == wanted["numbers"]
    assert sheet.cell(2, 4).data_type == "s"  # a text, no formula
    with pytest.raises(UserError, match="column long has a value of 40,000 characters"):
        printed("SELECT repeat('a', 40000) AS long", results, tmp_path / "long.xlsx")
    assert not (tmp_path / "long.xlsx").exists()


def test_without_openpyxl_the_extra_is_named(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    done = CliRunner().invoke(
        app, ["query", "FROM dataset", str(results), "--to", str(tmp_path / "rows.xlsx")]
    )
    assert done.exit_code == 1
    assert 'pip install "pesatlas[xlsx]"' in done.stderr


def test_rows_with_a_structure_go_to_extended_xyz_with_their_labels(results, tmp_path):
    printed("SELECT * FROM dataset ORDER BY snapshot_id, level", results, tmp_path / "rows.extxyz")
    rows = pesatlas.open(results).query("SELECT * FROM dataset ORDER BY snapshot_id, level").to_pylist()
    frames = ase.io.read(tmp_path / "rows.extxyz", ":")
    assert len(frames) == len(rows)
    for atoms, row in zip(frames, rows, strict=True):
        assert atoms.numbers.tolist() == row["numbers"]
        assert atoms.positions.ravel() == pytest.approx(row["positions_A"], abs=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(row["energy_eV"])
        assert atoms.get_forces().ravel() == pytest.approx(row["forces_eV_per_A"], abs=1e-7)
        assert atoms.info["snapshot_id"] == row["snapshot_id"]
        assert atoms.info["level"] == row["level"]


def test_a_question_goes_to_extended_xyz_with_the_structures_of_its_rows(results, tmp_path):
    printed("worst-forces", results, tmp_path / "worst.xyz")
    rows = pesatlas.open(results).query(QUESTIONS["worst-forces"]).to_pylist()
    frames = ase.io.read(tmp_path / "worst.xyz", ":", format="extxyz")
    # in the order of the answer
    assert [(a.info["snapshot_id"], a.info["level"]) for a in frames] == [
        (row["snapshot_id"], row["level"]) for row in rows
    ]
    largest = [np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames]
    assert largest == pytest.approx([row["max_force_eV_per_A"] for row in rows], abs=1e-6)
    with pytest.raises(UserError, match="have no structure"):
        printed("failures", results, tmp_path / "failures.xyz")


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("sql", ["FROM dataset", "SELECT * FROM dataset LIMIT 1", "worst-forces"])
def test_a_narrow_terminal_breaks_no_line(results, sql, width):
    told = printed(sql, results, width=width)
    lines = [line for line in told.splitlines() if "more columns" not in line]
    assert max(map(len, lines)) <= width
    # a heading is whole: what stands below it can be named in a query
    assert "snapshot_id" in told


def test_a_narrow_terminal_shows_what_a_question_is_about(results):
    told = printed("worst-forces", results, width=60)
    heading, first = told.splitlines()[:2]
    assert heading.split() == ["snapshot_id", "max_force_eV_per_A", "level"]
    assert float(first.split()[1]) > 0


def test_a_long_id_does_not_hide_what_a_question_is_about(results):
    name = "'POSCAR-CuO-4:supercell-2x2x2:300K-0.000101325GPa:0000300'"
    told = printed(
        f"SELECT {name} AS snapshot_id, 1.5 AS max_force_eV_per_A, 1 AS more FROM range(2)", results
    )
    assert told.splitlines()[0].split() == ["snapshot_id", "max_force_eV_per_A"]


def test_numbers_are_short_on_the_screen_and_whole_in_json(results):
    assert "0.333333333 " in printed("SELECT 1 / 3 AS third, [2 / 3] AS more", results)
    done = CliRunner().invoke(app, ["query", "SELECT 1 / 3 AS third", str(results), "--json"])
    assert json.loads(done.stdout) == [{"third": 1 / 3}]
