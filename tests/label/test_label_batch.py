"""Labelling: nothing twice, nothing lost, failures as rows."""

import json

import numpy as np
import pytest

from labelling import label_batch_of
from pesatlas.label.backends.gpaw import Options
from pesatlas.label.batch import task_of
from pesatlas.label.calculate import content_key
from pesatlas.levels.gpaw import levels
from pesatlas.tables import FailureReason, read_entry, read_table


@pytest.fixture
def label(campaign, tmp_path):
    def run(selection, name="out", batch=0, campaign=campaign):
        labels, failures = tmp_path / name / "labels.parquet", tmp_path / name / "failures.parquet"
        label_batch_of(campaign, batch, selection, labels, failures, tmp_path / "work")
        return (
            read_table(labels, "labels").to_pylist(),
            read_table(failures, "failures").to_pylist(),
            read_entry(labels).counts,
        )

    return run


def test_every_pick_is_labelled_at_every_level(double, select, label):
    rows, failures, counts = label(select(3.0, 3.5))
    assert [(r["snapshot_id"][-4:], r["level"]) for r in rows] == [
        ("3000", "pbe"),
        ("3000", "r2scan"),
        ("3500", "pbe"),
        ("3500", "r2scan"),
    ]
    assert failures == []
    assert counts == {
        "selected": 2,
        "labelled_pbe": 2,
        "labelled_r2scan": 2,
        "failed_pbe": 0,
        "failed_r2scan": 0,
        "quarantined_pbe": 0,
        "quarantined_r2scan": 0,
    }
    assert {r["verdict"] for r in rows} == {"accepted"}
    for row in rows:
        positions = np.reshape(row["positions_A"], (3, 3))
        assert np.allclose(np.reshape(row["forces_eV_per_A"], (3, 3)), positions.mean(axis=0) - positions)


def test_a_second_run_and_another_selection_calculate_only_what_is_new(double, select, label):
    first = label(select(3.0, 3.5))
    assert double.count() == 4
    assert label(select(3.0, 3.5), "again") == first
    assert double.count() == 4
    label(select(3.5, 4.0, name="other"), "other")
    assert double.count() == 6


def test_another_order_of_atoms_is_found_with_forces_in_its_order(double, select, label):
    rows, _, _ = label(select(3.0))
    permuted, _, _ = label(select(3.0, name="permuted", order=(2, 0, 1)), "permuted")
    assert double.count() == 2
    forces = np.reshape(rows[0]["forces_eV_per_A"], (3, 3))
    assert np.allclose(np.reshape(permuted[0]["forces_eV_per_A"], (3, 3)), forces[[2, 0, 1]])
    assert not np.allclose(forces, forces[[2, 0, 1]])


def test_the_key_is_of_the_content():
    pbe, r2scan = levels(Options(quality="demo"), ["pbe", "r2scan"]).values()
    row = {
        "numbers": [8, 12],
        "cell_A": [5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0],
        "positions_A": [0.0, 0, 0, 1, 1, 1],
    }
    key = content_key(task_of(row, pbe))
    assert key == content_key(task_of({**row, "positions_A": [-0.0, 1e-10, 0, 1, 1, 1]}, pbe))
    assert key == content_key(task_of({**row, "numbers": [12, 8], "positions_A": [1.0, 1, 1, 0, 0, 0]}, pbe))
    assert key != content_key(task_of({**row, "positions_A": [1e-6, 0, 0, 1, 1, 1]}, pbe))
    assert key != content_key(task_of({**row, "numbers": [8, 20]}, pbe))
    assert key != content_key(task_of(row, r2scan))


def test_a_failure_is_a_row_with_its_reason_and_costs_no_other(double, select, label):
    double.fail = {("r2scan", 3.5): [FailureReason.NOT_CONVERGED]}
    rows, failures, counts = label(select(3.0, 3.5, 4.0))
    assert len(rows) == 5
    assert [(f["key"][-4:], f["level"], f["reason"], f["attempts"]) for f in failures] == [
        ("3500", "r2scan", "not_converged", 1)
    ]
    assert (counts["labelled_r2scan"], counts["failed_r2scan"]) == (2, 1)
    calls = double.count()
    assert label(select(3.0, 3.5, 4.0), "again")[1] == failures
    assert double.count() == calls  # what fails for what it is, is not tried again


def test_a_crash_is_tried_again_as_often_as_configured(double, select, label):
    double.fail = {("pbe", 3.0): [FailureReason.CRASHED]}
    _, failures, _ = label(select(3.0))
    assert [(f["reason"], f["attempts"]) for f in failures] == [("crashed", 2)]
    assert double.count() == 3
    label(select(3.0), "again")
    assert double.count() == 3


def test_a_crash_that_passes_becomes_a_label(double, select, label, monkeypatch):
    double.fail = {("pbe", 3.0): [FailureReason.TIMEOUT, None]}
    original = double.calculate

    def once(task, *rest):
        if task.level.name == "pbe" and double.count() >= 1:
            double.fail = {}
        return original(task, *rest)

    monkeypatch.setattr(
        "pesatlas.config.plugins.find", lambda package, name: type("B", (), {"calculate": staticmethod(once)})
    )
    rows, failures, _ = label(select(3.0))
    assert (len(rows), failures) == (2, [])


def test_a_label_that_its_own_calculation_objects_to_is_quarantined(double, select, label):
    double.quarantine_reasons = ("changed EDIFF",)
    rows, failures, counts = label(select(3.0))
    assert {r["verdict"] for r in rows} == {"quarantined"}
    assert json.loads(rows[0]["verdict_rules"]) == ["changed EDIFF"]
    assert failures == []
    assert (counts["labelled_pbe"], counts["quarantined_pbe"]) == (1, 1)


def test_a_batch_with_no_picks_gives_empty_tables(double, select, label):
    rows, failures, counts = label(select(3.0), batch=7)
    assert (rows, failures, counts["selected"], double.count()) == ([], [], 0, 0)


def test_a_label_made_with_more_attempts_is_not_hidden_by_the_failure_before(
    double, select, label, campaign, tmp_path
):
    double.fail = {("pbe", 3.0): [FailureReason.CRASHED]}
    assert label(select(3.0))[1][0]["attempts"] == 2
    # files of a store are read by name: the failure comes last
    (written,) = (tmp_path / "store/labels").glob("*.ledger")
    written.rename(written.with_name("zzz.ledger"))
    double.fail = {}
    raw = campaign.model_dump(mode="json")
    raw["label"]["attempts"] = 3
    more = type(campaign).model_validate(raw)
    for name in ("more", "again"):
        rows, failures, _ = label(select(3.0), name, campaign=more)
        assert (len(rows), failures, double.count()) == (2, [], 4)
    assert len(label(select(3.0), "as before")[0]) == 2
