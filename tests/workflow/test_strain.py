"""A strain test that comes after the dataset: card and report show it; a level that failed labels no more."""

import json

import pytest

from small_campaign import copy_of, jobs
from strain_files import definitions, store

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(tiny, tmp_path):
    """A copy of a finished campaign."""
    return copy_of(tiny, tmp_path / "copied")


def test_a_later_test_is_shown_and_a_level_that_failed_labels_no_more(copied):
    results = copied.path / "results"
    dataset = (results / "dataset/pbe/part-00000.parquet").read_bytes()
    manifest = (results / "manifest.json").read_bytes()
    levels = definitions(results)
    store(results, levels["pbe"])
    assert jobs(copied.run("-n")) == {"write_card": 1, "build_report": 1}
    said = " ".join(copied.run().split())
    assert "it shows other strain tests of the levels than there are" in said
    assert "At pbe, stress against strain: 0.03 GPa off at strains of 0.5 %" in said
    assert "At r2scan, stress against strain: not tested." in said
    assert "pbe: 0.03 GPa off at strains of 0.5 %" in (results / "report.html").read_text()
    assert "Nothing to be done" in copied.run("-n")
    store(results, levels["r2scan"], off_gpa=9.0)
    said = " ".join(copied.run().split())
    assert "Warning: level r2scan failed its strain test" in said
    assert "Warning: stresses at r2scan differ from slopes of the energy by up to 9.00 GPa." in said
    card = json.loads((results / "card.json").read_text())
    assert card["caveats"][-1].startswith("stresses at r2scan differ")
    assert "r2scan: FAILED, 9.00 GPa off" in (results / "report.html").read_text()
    copied.change({"select.target": 3})
    said = " ".join(copied.run(expect=1).split())
    assert "the campaign does not start: level r2scan failed its strain test" in said
    assert "`pesatlas run` will refuse: level r2scan" in " ".join(copied.run("-n").split())
    assert (results / "dataset/pbe/part-00000.parquet").read_bytes() == dataset
    assert (results / "manifest.json").read_bytes() == manifest
