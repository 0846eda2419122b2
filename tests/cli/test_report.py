"""`pesatlas report`: the page of a finished campaign again, and as PDF."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from browser import needs_chromium
from pesatlas.campaign.layout import below
from pesatlas.cli import report as module
from pesatlas.cli.main import app

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
    assert "has not finished" in typed(campaign).stderr
