"""`pesatlas compatible` of our own results: by their levels' definitions, and an export of them by its
energies."""

import shutil
from io import StringIO

import pytest
from rich.console import Console

import pesatlas
from existing_runs import make_run, potcars_called_as_vasps
from pesatlas.campaign.layout import below
from pesatlas.cli.compatible import show_compatible
from pesatlas.dataset.export import export_dataset
from pesatlas.dataset.imported_runs import write_runs
from pesatlas.errors import UserError
from pesatlas.structures.sources.files import expand
from pesatlas.tables import SCHEMAS, FailureReason
from pesatlas.tables.failures import Failure


def compatible(place, level="pbe", other=None):
    said = StringIO()
    return show_compatible(
        str(place), level, other and str(other), Console(file=said, width=200)
    ), said.getvalue()


@pytest.fixture
def results(finished):
    return finished


def test_results_are_compatible_with_themselves_and_not_with_matpes(results):
    well, said = compatible(results, other=results)
    assert well, said
    assert "by their settings" in said
    well, said = compatible(results)
    assert not well
    assert "4 of 4 labels differ in code" in said
    assert "VASP" in said


@pytest.mark.parametrize("kind", ["matpes", "extxyz"])
def test_an_export_is_told_by_energies(results, tmp_path, kind):
    export_dataset(results, kind, tmp_path / "x", verdicts=["accepted", "flagged"])
    (file,) = [
        path
        for path in (tmp_path / "x").iterdir()
        if "PBE" in path.name.upper()
        and path.name.endswith((".json.gz", ".extxyz"))
        and "split" not in path.name
    ]
    well, said = compatible(file, other=results)
    assert well, said
    assert "by energies of the same geometry" in said
    well, said = compatible(file, "r2scan", other=results)
    assert not well
    assert "labels have other energies" in said


def test_a_level_that_is_not_there_is_said(results):
    with pytest.raises(UserError, match="has no level 'hse06'"):
        compatible(results, "hse06", other=results)


def test_a_table_of_another_kind_is_refused(results, tmp_path):
    shutil.copy(below(results, "selection"), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="contains the table 'selection'"):
        compatible(tmp_path / "t.parquet")


def test_runs_of_vasp_are_of_another_code_than_a_campaign_of_none(results, tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        make_run(tmp_path / "runs" / "metal")
    well, said = compatible(tmp_path / "runs", other=results)
    assert not well
    assert "1 of 1 labels differ in code" in said


def test_failures_beside_an_imported_table_are_no_rows_and_no_crystals(results):
    """Whoever reads a folder of imported tables: the campaign, the training's retention set, structures to
    explore."""
    row = pesatlas.open(results).table("dataset").to_table().to_pylist()[0]
    table = results / "imported" / "theirs.parquet"
    runs = [
        ("good", {**row, "level_fingerprint": "x"}),
        ("bad", Failure(FailureReason.NOT_STATIC, "3 ionic steps")),
    ]
    counts = write_runs(
        [(name, known(each)) for name, each in runs], table, level="pbe", source="s", fingerprint="f"
    )
    assert (counts.runs, counts.rows, dict(counts.failures)) == (2, 1, {"not_static": 1})
    assert (results / "imported" / "theirs.failures.parquet").is_file()
    assert pesatlas.open(results).query("SELECT count(*) AS n FROM imported").to_pylist() == [{"n": 1}]
    assert expand(str(results / "imported")) == [table]


def known(row):
    return {k: v for k, v in row.items() if k in SCHEMAS["imported"].names} if isinstance(row, dict) else row
