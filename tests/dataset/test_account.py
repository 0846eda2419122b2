"""The account of the picks: the same closing sum in summary, export, card and report."""

import io
import json

import pytest
from rich.console import Console

from collecting import collect
from pesatlas.campaign.account import Account, accounts
from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import below
from pesatlas.cli.import_export import export
from pesatlas.config.dataset import Card, Dataset
from pesatlas.dataset.card import write_card
from pesatlas.errors import UserError
from pesatlas.report.build import _happened
from pesatlas.report.funnel import funnel
from pesatlas.report.summary import losses, summary
from pesatlas.tables import read_table, write_table
from pesatlas.tables.failures import FailureReason, failure_row

PBE = "4 selected = 1 exported + 2 flagged (force 2) + 1 quarantined (converged 1)"
R2SCAN = "4 selected = 1 exported + 2 flagged (force 2) + 1 failed (timeout 1)"


@pytest.fixture
def results(campaign, tables, write_labels):
    """Of four picks, two have large forces, one did not converge at pbe, one has no label at r2scan."""
    results, _, labels = tables
    labels = [row for row in labels if row is not labels[-1]]
    for row in labels:
        row["forces_eV_per_A"] = [0.1, 0, 0, -0.1, 0, 0]
    for row in labels[:4]:
        row["forces_eV_per_A"] = [60.0, 0, 0, -60.0, 0, 0]
    labels[-1]["converged"] = False
    failed = [
        failure_row("label", labels[-1]["snapshot_id"], "NaCl-2", FailureReason.TIMEOUT, "", level="r2scan")
    ]
    files = write_labels(results, labels, {1: {"r2scan": 1}})
    write_table(below(results, "label_failures", batch=1), "failures", failed, "s")
    atom = failure_row("label", "atom:Ar", "atom:Ar", FailureReason.MISSING_REFERENCE_ATOM, "", level="pbe")
    write_table(below(results, "atom_failures"), "failures", [atom], "s")
    campaign.dataset = Dataset.model_validate({"rules": {"force": {"limit": 50.0, "then": "flag"}}})
    collect(campaign, results, files)
    return results


def printed(*parts):
    console = Console(file=io.StringIO(), width=200)
    for part in parts:
        console.print(part)
    return " ".join(console.file.getvalue().split())


def test_sums_close_and_name_rules_and_reasons(results):
    found = accounts(results, read_campaign_manifest(results))
    assert [(each.level, each.sentence(["accepted"])) for each in found] == [("pbe", PBE), ("r2scan", R2SCAN)]
    for each in found:
        for verdicts in (["accepted"], ["accepted", "flagged"]):
            assert sum(each.parts(verdicts).values()) == each.selected == 4
    assert (
        found[0].sentence(["accepted", "flagged"]) == "4 selected = 3 exported + 1 quarantined (converged 1)"
    )


def test_summary_export_card_and_report_tell_the_same(results):
    manifest = read_campaign_manifest(results)
    told = printed(summary(results))
    assert "exported pbe 1 of 4 selected: 2 flagged (force 2), 1 quarantined (converged 1)" in told
    assert "exported r2scan 1 of 4 selected: 2 flagged (force 2), 1 failed (timeout 1)" in told
    assert "Not exported: 4 flagged labels" in told
    assert "Nothing failed" not in told
    console = Console(file=io.StringIO(), width=300)
    export(results, "extxyz", None, console, flagged=False)
    assert PBE in console.file.getvalue()
    assert "`pesatlas export FORMAT --flagged --to FOLDER`" in console.file.getvalue()
    folder = results / "exports" / "extxyz"
    record = json.loads((folder / "export.json").read_text())
    assert record["account"] == [f"pbe: {PBE}", f"r2scan: {R2SCAN}"]
    assert sum(record["rows"]["pbe"].values()) == 1
    assert PBE in (folder / "README.md").read_text()
    write_card(Card(), results)
    assert PBE in below(results, "card_page").read_text()
    lost = losses(results, manifest)
    verdict = _happened(manifest, funnel(manifest, lost), lost, accounts(results, manifest))
    assert f"pbe: {PBE}; r2scan: {R2SCAN}." in verdict.sentence


def test_an_export_that_takes_flagged_rows_has_as_many_as_its_account_says(results):
    console = Console(file=io.StringIO(), width=300)
    with pytest.raises(UserError, match="belongs to the campaign"):
        export(results, "extxyz", None, console, flagged=True)
    folder = results.parent / "mine"
    export(results, "extxyz", folder, console, flagged=True)
    assert "pbe: 4 selected = 3 exported + 1 quarantined (converged 1)" in console.file.getvalue()
    assert "Not exported" not in console.file.getvalue()
    record = json.loads((folder / "export.json").read_text())
    assert sum(record["rows"]["pbe"].values()) == 3


def test_an_atom_that_a_level_never_has_is_no_failure_but_on_file(results):
    reasons = {reason for _, _, reason in losses(results, read_campaign_manifest(results))}
    assert reasons == {"unreadable", "timeout", "quarantined"}
    assert read_table(below(results, "atom_failures"), "failures").num_rows == 1


def test_what_is_not_calculated_yet_is_pending():
    halfway = Account("pbe", 10, {"labelled": 3}, failed={"": 1})
    assert halfway.sentence(["accepted"]) == "10 selected = 3 labelled + 1 failed + 6 pending"
