"""`pesatlas report`: the page of a campaign, finished or not, and as PDF."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from browser import needs_chromium, opened, wait_for_all
from pesatlas.campaign.layout import below
from pesatlas.cli import report as module
from pesatlas.cli.main import app
from report_pages import data_of, page_of

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"


@pytest.fixture
def campaign(tmp_path):
    shutil.copytree(FINISHED, tmp_path / "campaign" / "results")
    return tmp_path / "campaign"


def typed(*words):
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_page_is_made_again_from_the_tables_of_a_campaign(campaign, tmp_path):
    page = tmp_path / "again.html"
    done = typed(campaign, "--to", page)
    assert done.exit_code == 0, done.stderr
    assert str(page) in done.stdout.replace("\n", "")
    assert "Are the dynamics equilibrated?" in page.read_text(encoding="utf-8")
    assert not below(campaign / "results", "report").exists()
    assert typed(campaign).exit_code == 0
    assert below(campaign / "results", "report").read_text() == page.read_text()


def test_without_comparison_with_the_potential_there_is_a_page_that_says_so(campaign, tmp_path):
    below(campaign / "results", "parity").unlink(missing_ok=True)
    page = tmp_path / "again.html"
    assert typed(campaign, "--to", page).exit_code == 0
    assert "Not known: no label with forces was compared with it." in page.read_text(encoding="utf-8")
    assert "Potential against label" not in page.read_text(encoding="utf-8")


@needs_chromium
def test_the_page_is_printed(campaign, tmp_path):
    done = typed(campaign, "--to", tmp_path / "page.html", "--pdf")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


def test_without_a_browser_or_with_one_that_fails_it_says_what_to_do(campaign, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = typed(campaign, "--to", tmp_path / "page.html", "--pdf")
    assert done.exit_code == 1
    assert "neither is on the PATH" in done.stderr
    assert not (tmp_path / "page.html").exists()
    monkeypatch.setattr(module, "_browser", lambda: shutil.which("false", path="/bin:/usr/bin"))
    done = typed(campaign, "--to", tmp_path / "page.html", "--pdf")
    assert done.exit_code == 1
    assert "printed no PDF (exit status 1" in done.stderr


def test_what_cannot_be_reported_is_said_at_once(campaign, tmp_path):
    assert "ends in .html" in typed(campaign, "--to", tmp_path / "page.pdf").stderr
    below(campaign / "results", "snapshots", batch=0).unlink()
    assert "a release has not all" in typed(campaign).stderr
    below(campaign / "results", "manifest").unlink()
    assert "no campaign in" in typed(campaign).stderr  # without config.yaml


# what a campaign has not, by how far it came
STOPPED = {
    "after run_md": (
        "manifest.json",
        "dataset",
        "quarantine",
        "labels",
        "selection.parquet",
        "select",
        "features",
    ),
    "after the selection": ("manifest.json", "dataset", "quarantine", "labels"),
    "after half of the labels": ("manifest.json", "dataset", "quarantine", "labels/00001.parquet"),
}


@pytest.fixture(params=STOPPED)
def stopped(campaign, request):
    """A campaign that was stopped, with its configuration."""
    results = campaign / "results"
    levels = json.loads(below(results, "manifest").read_text())["levels"]
    sources = [{"kind": "demo", "names": ["Si"]}]
    configuration = {"structures": {"sources": sources}, "label": {"levels": levels}}
    (campaign / "config.yaml").write_text(yaml.safe_dump(configuration))
    for name in STOPPED[request.param]:
        path = results / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return SimpleNamespace(path=campaign, results=results, after=request.param)


def test_the_report_of_an_unfinished_campaign_shows_what_is_there(stopped):
    before = set(stopped.path.rglob("*"))
    done = typed(stopped.path)
    assert done.exit_code == 0, done.stderr
    page = below(stopped.results, "report_so_far")
    # Snakemake sees nothing that a rule would have made
    assert set(stopped.path.rglob("*")) - before == {page}
    report = SimpleNamespace(path=page)
    text, tables = page_of(report).text, data_of(report)["tables"]
    assert "This campaign has not finished." in text
    assert "It has not finished." in text
    assert "pesatlas run" in text
    for absent in ("How was it made?", "Not known", "sha256", "pesatlas verify", "No rule was triggered"):
        assert absent not in text, absent
    drawn = data_of(report)["figures"]
    assert "md_volume" in drawn
    assert "parity_forces" not in drawn
    if stopped.after == "after run_md":
        assert "features: none yet" in text
        assert "map" not in drawn
        assert "selected" not in text
    if stopped.after == "after the selection":
        assert "labels: none yet" in text
        assert "map" in drawn
        assert any(tables["frames"]["picked"])
        assert "4 pending" in text
    if stopped.after == "after half of the labels":
        assert "labels: 1 of 2" in text
        assert {"forces", "label_time", "level_parity"} <= drawn.keys()
        assert set(tables["labels"]["verdict"]) == {"labelled"}
        assert "2 not calculated yet" in text


@needs_chromium
def test_the_page_of_an_unfinished_campaign_has_no_errors(stopped):
    assert typed(stopped.path).exit_code == 0
    with opened(below(stopped.results, "report_so_far")) as page:
        wait_for_all(page)
