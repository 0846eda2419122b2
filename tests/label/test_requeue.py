"""Failed labels back in the queue: only those that were asked for, tried anew, with their history on
record."""

import json
import time

import pyarrow as pa
import pytest

from labelling import label_batch_of
from pesatlas.campaign.layout import below
from pesatlas.label.archive import unpack
from pesatlas.label.backend import Requeued, from_bytes
from pesatlas.label.requeue import KNOWN, find_missing_labels, requeue
from pesatlas.storage.store import Store
from pesatlas.tables import SCHEMAS, FailureReason, read_table, write_table

CRASHED, TIMEOUT, UNCONVERGED = FailureReason.CRASHED, FailureReason.TIMEOUT, FailureReason.NOT_CONVERGED


class CachedEvaluator:
    """Two batches of three snapshots each, labelled as often as asked."""

    def __init__(self, campaign, select, folder, double):
        raw = campaign.model_dump(mode="json")
        raw["select"]["target"], raw["label"]["structures_per_job"] = 6, 3
        self.campaign = type(campaign).model_validate(raw)
        self.results, self.double = folder / "results", double
        self.results.mkdir()
        self.selection = select(
            3.0, 3.5, 4.0, 4.5, 5.0, 5.5, name="results/selection", batches=(0, 0, 0, 1, 1, 1)
        )
        self.work = folder / "work"

    def run(self):
        """Make the tables that are not there, as the workflow does; return the numbers of the batches."""
        made = []
        for batch in (0, 1):
            labels = below(self.results, "labels", batch=batch)
            failures = below(self.results, "label_failures", batch=batch)
            if not (labels.exists() and failures.exists()):
                label_batch_of(self.campaign, batch, self.selection, labels, failures, self.work)
                made.append(batch)
        return made

    def missing(self, *reasons, quarantined=False):
        levels, batches = self.campaign.label.levels, self.campaign.label_batches
        return find_missing_labels(levels, batches, self.results, reasons, quarantined=quarantined)

    def requeue(self, found):
        return requeue(self.campaign.label, self.campaign.campaign, self.results, found)

    def retry(self, *reasons, quarantined=False):
        found = self.missing(*reasons, quarantined=quarantined)
        return self.requeue(found)

    def failures(self):
        rows = [
            row
            for batch in (0, 1)
            for row in read_table(below(self.results, "label_failures", batch=batch), "failures").to_pylist()
        ]
        return [(row["key"][-4:], row["level"], row["reason"], row["attempts"]) for row in rows]

    def labels(self):
        return sum(len(read_table(below(self.results, "labels", batch=batch), "labels")) for batch in (0, 1))

    def records(self):
        """Every record of the store, oldest first in each ledger."""
        from pesatlas.storage.records import records

        found = []
        for path in sorted((self.results.parent / "store/labels").glob("*.ledger")):
            with path.open("rb") as handle:
                found += [record.key for record in records(handle)]
        return found


@pytest.fixture
def bench(campaign, select, tmp_path, double):
    return CachedEvaluator(campaign, select, tmp_path, double)


def test_failures_of_the_asked_reason_are_made_again_and_nothing_else(bench):
    bench.double.fail = {("pbe", 3.0): [CRASHED], ("r2scan", 4.5): [UNCONVERGED], ("pbe", 5.0): [CRASHED]}
    assert bench.run() == [0, 1]
    assert len(bench.failures()) == 3
    before, kept = bench.double.count(), bench.records()
    bench.double.fail = {}
    assert bench.retry(UNCONVERGED) == 1
    assert bench.run() == [1]
    assert bench.double.count() == before + 1
    assert bench.failures() == [("3000", "pbe", "crashed", 2), ("5000", "pbe", "crashed", 2)]
    assert bench.retry(CRASHED, TIMEOUT) == 2
    assert bench.run() == [0, 1]
    assert (bench.double.count(), bench.failures(), bench.labels()) == (before + 3, [], 12)
    assert set(kept) <= set(bench.records())


def test_the_limit_starts_anew_and_attempts_are_counted_in_all(bench):
    bench.double.fail = {("pbe", 3.0): [TIMEOUT]}
    bench.run()
    assert bench.failures() == [("3000", "pbe", "timeout", 2)]
    calls = bench.double.count()
    for total in (4, 6):
        assert bench.retry(TIMEOUT) == 1
        assert bench.run() == [0]
        assert bench.failures() == [("3000", "pbe", "timeout", total)]
        assert bench.double.count() == calls + total - 2
    bench.double.fail = {("pbe", 3.0): [UNCONVERGED]}
    bench.retry(TIMEOUT)
    bench.run()
    assert bench.failures() == [("3000", "pbe", "not_converged", 7)]
    bench.retry(UNCONVERGED)
    bench.run()
    assert bench.failures() == [("3000", "pbe", "not_converged", 8)]


def test_a_job_killed_after_its_first_attempt_has_one_left(bench, monkeypatch):
    bench.double.fail = {("pbe", 3.0): [CRASHED]}
    bench.run()
    bench.retry(CRASHED)
    original, left = bench.double.calculate, [1]

    def killed(*arguments):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return original(*arguments)

    monkeypatch.setattr(
        "pesatlas.config.plugins.find", lambda package, name: type("B", (), {"calculate": killed})
    )
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    monkeypatch.setattr(
        "pesatlas.config.plugins.find", lambda package, name: type("B", (), {"calculate": original})
    )
    calls = bench.double.count()
    bench.run()
    assert bench.double.count() == calls + 1
    assert bench.failures() == [("3000", "pbe", "crashed", 4)]


def test_what_happened_before_is_on_record(bench):
    bench.double.fail = {("pbe", 3.0): [TIMEOUT]}
    bench.run()
    bench.retry(TIMEOUT)
    store = Store(bench.results.parent / "store/labels")
    store.refresh()
    (key,) = {key.removesuffix("-mishap") for key in bench.records() if key.endswith("-mishap")}
    for name in (key, f"{key}-mishap"):
        record = from_bytes(store.get(name))
        assert isinstance(record, Requeued)
        assert (record.reason, record.detail, record.attempts) == (TIMEOUT, "on demand", 2)


def test_quarantined_labels_go_back_only_when_asked(bench):
    bench.double.quarantine_reasons = ("changed EDIFF",)
    bench.run()
    calls = bench.double.count()
    assert bench.retry(*KNOWN) == 0
    assert bench.run() == []
    bench.double.quarantine_reasons = ()
    assert bench.retry(quarantined=True) == 12
    assert bench.run() == [0, 1]
    assert bench.double.count() == calls + 12
    verdicts = read_table(below(bench.results, "labels", batch=0), "labels")["verdict"].to_pylist()
    assert set(verdicts) == {"accepted"}


def test_labels_that_a_rule_of_the_dataset_quarantined_go_back_too(bench):
    bench.run()
    row = read_table(below(bench.results, "labels", batch=1), "labels").to_pylist()[0]
    rest = {
        field.name: [] if pa.types.is_list(field.type) else "" if field.type == pa.string() else 0
        for field in SCHEMAS["dataset"]
    }
    quarantined = {**rest, **row, "verdict": "quarantined", "verdict_rules": '["net_force"]'}
    write_table(below(bench.results, "quarantine", level="pbe"), "dataset", [quarantined], "x")
    calls = bench.double.count()
    assert bench.retry(quarantined=True) == 1
    assert bench.run() == [1]
    assert bench.double.count() == calls + 1


def test_asked_twice_or_stopped_half_way_it_does_the_rest(bench):
    bench.double.fail = {("pbe", 3.0): [CRASHED], ("pbe", 5.0): [CRASHED]}
    bench.run()
    found = bench.missing(CRASHED)
    assert bench.requeue(found) == 2
    records = bench.records()
    # the tables were not yet taken away when it was killed
    for batch in (0, 1):
        assert not below(bench.results, "labels", batch=batch).exists()
    assert bench.requeue(found) == 0
    assert bench.records() == records
    bench.double.fail = {}
    assert bench.run() == [0, 1]
    assert bench.failures() == []


def test_a_label_that_another_campaign_made_since_is_taken_and_not_made_again(bench, tmp_path):
    bench.double.fail = {("pbe", 3.0): [CRASHED]}
    bench.run()
    bench.double.fail = {}
    raw = bench.campaign.model_dump(mode="json")
    raw["campaign"]["name"], raw["label"]["attempts"] = "other", 3
    other = type(bench.campaign).model_validate(raw)
    label_batch_of(other, 0, bench.selection, tmp_path / "l.parquet", tmp_path / "f.parquet", bench.work)
    calls = bench.double.count()
    assert bench.retry(CRASHED) == 0
    assert bench.run() == [0]
    assert (bench.double.count(), bench.failures(), bench.labels()) == (calls, [], 12)


def test_the_end_of_the_campaign_is_taken_away_so_that_the_workflow_looks_again(bench):
    bench.double.fail = {("pbe", 3.0): [CRASHED]}
    bench.run()
    manifest = below(bench.results, "manifest")
    manifest.write_text("{}")
    bench.retry(TIMEOUT)
    assert json.loads(manifest.read_text()) == {}
    bench.retry(CRASHED)
    assert not manifest.exists()
    left = sorted(path.name for path in bench.results.rglob("*") if "00000" in path.name)
    assert left == []


HOUR_NS = 3_600_000_000_000


class Clock:
    """Clocks of machines that differ."""

    def __init__(self, monkeypatch):
        real = time.time_ns
        self.ahead = 0
        monkeypatch.setattr(time, "time_ns", lambda: real() + self.ahead)


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_the_order_of_records_does_not_depend_on_the_clocks_of_machines(bench, monkeypatch, hours):
    """The clock of the node that labels is ahead of, or behind, that of the machine on which people type."""
    clock = Clock(monkeypatch)
    bench.double.fail = {("pbe", 3.0): [UNCONVERGED], ("pbe", 5.0): [CRASHED]}
    for total in (2, 6):
        clock.ahead = hours * HOUR_NS
        bench.run()
        calls = bench.double.count()
        assert bench.failures()[1] == ("5000", "pbe", "crashed", total)
        clock.ahead = 0
        assert bench.retry(UNCONVERGED, CRASHED) == 2
        clock.ahead = hours * HOUR_NS
        assert bench.run() == [0, 1]
        assert bench.double.count() == calls + 3, "once for what does not converge, twice for what crashed"
        bench.retry(UNCONVERGED, CRASHED)
    bench.double.fail = {}
    bench.run()
    assert (bench.failures(), bench.labels()) == ([], 12)
    # and what was made is known, also to a machine of another clock
    calls = bench.double.count()
    for clock.ahead in (0, -hours * HOUR_NS):
        for path in (bench.results / "labels").iterdir():
            path.unlink()
        bench.run()
        assert (bench.failures(), bench.labels()) == ([], 12)
    assert bench.double.count() == calls


def test_a_store_in_which_a_retry_was_of_no_effect_is_mended_by_the_next(bench, monkeypatch):
    """As an early version left it: what went back into the queue is older than what it should replace."""
    clock = Clock(monkeypatch)
    bench.double.fail = {("pbe", 3.0): [UNCONVERGED]}
    clock.ahead = HOUR_NS
    bench.run()
    clock.ahead = 0
    with monkeypatch.context() as patch:
        patch.setattr(Store, "newest", lambda *_: 0)
        bench.retry(UNCONVERGED)
    bench.double.fail = {}
    bench.run()
    assert len(bench.failures()) == 1
    assert bench.retry(UNCONVERGED) == 1
    bench.run()
    assert (bench.failures(), bench.labels()) == ([], 12)


def test_the_outputs_that_are_shown_are_of_the_last_attempt_whatever_the_clocks_say(bench, monkeypatch):
    clock = Clock(monkeypatch)
    clock.ahead = HOUR_NS
    bench.double.fail = {("pbe", 3.0): [UNCONVERGED]}
    bench.run()
    clock.ahead = 0
    bench.retry(UNCONVERGED)
    # a campaign of another name: its ledger is another
    raw = bench.campaign.model_dump(mode="json")
    raw["campaign"]["name"] = "neighbour"
    bench.campaign = type(bench.campaign).model_validate(raw)
    bench.double.fail, bench.double.note = {}, "the last"
    bench.run()
    store = Store(bench.results.parent / "store/outputs")
    store.refresh()
    row = read_table(
        below(bench.results, "labels", batch=0), "labels", filters=[("level", "==", "pbe")]
    ).to_pylist()[0]
    (path,) = unpack(store.get(row["label_key"]), bench.results.parent / "unpacked")
    assert "the last" in path.read_text()
