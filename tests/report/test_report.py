"""Statements of the report: losses, row counts, origins; and its refusals."""

import json
import re
import subprocess
import sys

import pytest

import pesatlas
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.report.figure_names import FIGURES, SECTIONS
from pesatlas.report.funnel import funnel
from pesatlas.report.summary import losses
from report_pages import built, data_of, page_of


def test_the_head_says_what_came_of_it(small, large):
    assert (
        "pbe: 4 selected = 4 exported; r2scan: 4 selected = 4 exported. Refused crystals or cells: 1. "
        "Nothing else failed." in page_of(small).text
    )
    assert "mlip: 5,000 selected = " in page_of(large).text


def test_crystals_read_with_warnings_are_counted(small, large):
    told = "1 of 2 crystals were read with warnings: deuterium (D) is read as hydrogen (1)."
    assert told in page_of(small).text
    assert "read with warnings" not in page_of(large).text


def test_labels_of_a_potential_are_not_called_dft(large):
    text = page_of(large).text
    assert "NOT DFT" in text
    assert "DFT" not in text.replace("NOT DFT", "")


def test_what_only_a_calculation_has_is_in_no_report_of_a_potentials_labels(small, large):
    assert "How hard was convergence?" in page_of(small).text
    assert "the cost of DFT grows" in page_of(small).text
    assert "How hard was convergence?" not in page_of(large).text


def test_every_step_of_the_funnel_closes_and_names_its_losses(large):
    manifest = read_campaign_manifest(large.results)
    steps = funnel(manifest, losses(large.results, manifest))
    assert all(step.closes for step in steps)
    assert [step.kept for step in steps] == [500, 499, 5000, 4998]
    assert steps[-1].lost == {"not_converged": 1, "timeout": 1}
    assert steps[0].lost == {"duplicate": 1, "overlapping_atoms": 1}


def test_a_step_that_does_not_close_is_pointed_out(large):
    manifest = read_campaign_manifest(large.results)
    steps = funnel(manifest, {})
    assert [step.closes for step in steps] == [False, True, True, False]


def test_every_figure_says_how_many_rows_and_gives_a_query_that_works(small):
    page = page_of(small)
    # no empty panel: too few picks for a curve, no loss with known elements, no dynamics
    drawn = set(data_of(small)["figures"])
    assert len(page.queries) == len(drawn)
    none = {"gain", "fill_atoms", "fill_structures", "losses_by_element", "md_temperature"}
    assert FIGURES.keys() - drawn == none
    atlas = pesatlas.open(small.results)
    for line in page.queries:
        sql = re.fullmatch(r'pesatlas query "(.*)" --to \w+\.parquet', line)[1].replace('\\"', '"')
        found = atlas.query(sql.replace("results/report", f"{small.results}/report"))
        assert found.num_columns >= 1
        if "failures" not in sql and "quality" not in sql:
            assert found.num_rows > 0, sql


def test_losses_are_as_many_as_their_query_gives(large):
    page = page_of(large)
    (sql,) = (line.split('"')[1] for line in page.queries if "FROM failures WHERE" in line)
    rows = pesatlas.open(large.results).query(sql)["rows"].to_pylist()
    assert f"in which it happened: {sum(rows):,} in all" in page.text


def test_a_sample_says_how_large_it_is_and_of_what(large):
    data = data_of(large)
    assert len(data["tables"]["atoms"]["force_eV_per_A"]) == 6000
    assert re.search(r"6,000 drawn of [\d,]+ atoms", page_of(large).text)
    assert re.search(r"drawn of 10,000 snapshots", page_of(large).text)


def test_the_potentials_softness_is_what_its_forces_were_made_with(small, large):
    for report, level in ((small, "pbe"), (large, "mlip")):
        told = re.search(rf"slope of its forces against {level} ([\d.]+)", page_of(report).text)
        assert float(told[1]) == pytest.approx(0.8, abs=0.02)


def test_counts_of_elements_are_those_of_the_tables(large):
    table = data_of(large)["tables"]["elements"]
    counted = {
        symbol: rows
        for of, symbol, rows in zip(table["of"], table["symbol"], table["rows"], strict=True)
        if of == "mlip" and rows
    }
    wanted = pesatlas.open(large.results).query(
        "SELECT z, count(*) AS n FROM (SELECT unnest(list_distinct(numbers)) AS z FROM dataset) GROUP BY z"
    )
    from pesatlas.atoms.elements import symbol_of

    assert counted == {symbol_of(row["z"]): row["n"] for row in wanted.to_pylist()}


def test_it_is_small_and_holds_no_address_to_load_from(large):
    page = large.path.read_text(encoding="utf-8")
    assert len(page.encode()) < 20e6
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_text_from_outside_cannot_break_out_of_the_page(small, tmp_path):
    import shutil

    results = tmp_path / "results"
    shutil.copytree(small.results, results)
    manifest = json.loads(below(results, "manifest").read_text())
    manifest["campaign"] = "</script><script>alert(1)</script>"
    below(results, "manifest").write_text(json.dumps(manifest))
    built(results)
    assert "<script>alert(1)" not in below(results, "report").read_text()


def test_the_same_figures_are_pictures_for_snakemakes_report(small):
    assert {path.stem for path in small.pictures.iterdir()} == set(FIGURES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in small.pictures.iterdir())
    assert set(FIGURES.values()) == set(SECTIONS)


def test_names_of_figures_cost_a_dry_run_nothing():
    program = (
        "import sys, pesatlas.report.figure_names; print(any(name in sys.modules for name in ('altair', "
        "'pymatgen', 'torch')))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_an_isolated_atom_that_failed_is_no_lost_pick(small, tmp_path):
    import shutil

    from pesatlas.tables import FailureReason, write_table
    from pesatlas.tables.failures import failure_row
    from pesatlas.tables.manifest import read_entry

    results = tmp_path / "results"
    shutil.copytree(small.results, results)
    row = failure_row("label", "atom:Na", "atom:Na", FailureReason.NOT_CONVERGED, "made up", level="pbe")
    write_table(below(results, "atom_failures"), "failures", [row], "test")
    manifest = read_campaign_manifest(results)
    entry = next(each for each in manifest["files"] if each["file"] == "failures/atoms.parquet")
    entry.update(vars(read_entry(below(results, "atom_failures"))), file="failures/atoms.parquet")
    lost = losses(results, manifest)
    assert lost == {("isolated atoms", "pbe", "not_converged"): 1, ("structures", "-", "unreadable"): 1}
    assert all(step.closes for step in funnel(manifest, lost))


def test_the_next_thousand_costs_what_those_so_far_cost():
    from pesatlas.report.cost import Cost, next_thousand

    found = [Cost("label", 4, wall_h=50.0, core_h=200.0, gpu_h=0.0, disk_bytes=0)]
    said = next_thousand(found, labels=1600, picks=800, gain=0.042)
    assert "would take 250.0 h on all cores (8 min a label so far)" in said
    assert "to the nearest pick by 4.2 %." in said
    assert "cannot be estimated" in next_thousand(found, labels=1600, picks=800, gain=None)
