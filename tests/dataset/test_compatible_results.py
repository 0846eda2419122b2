"""`pesatlas compatible` of our own results: by their levels' definitions, and an export of them by its energies."""

import shutil
from io import StringIO

import pytest
from rich.console import Console

from pesatlas.cli.compatible import show_compatible
from pesatlas.dataset.export import export_dataset
from pesatlas.errors import UserError


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
    shutil.copy(results / "selection.parquet", tmp_path / "t.parquet")
    with pytest.raises(UserError, match="holds the table 'selection'"):
        compatible(tmp_path / "t.parquet")
