"""A batch of labels with VASP: retries, verdicts, the store, the archive; faults on the way change no
label."""

import json

import pytest

from labelling import label_batch_of
from pesatlas.config.campaign import Campaign
from pesatlas.tables import read_table
from vasp_cases import options, runs, set_up
from vasp_faults import FAULTS

# Faults after which the same label is made, and what a campaign allows for that.
MENDED = [
    "unconverged:1",
    "edddav:1",
    "zpotrf:1",
    "truncated:1",
    "no_outcar:1",
    "stale_outcar:1",
    "exit:1",
    "killed:1",
    "ghosts",
]


@pytest.fixture
def batch(campaign, select, tmp_path, monkeypatch):
    """Return a function that labels a batch, each time with a store of its own, and returns its tables as
    rows."""
    set_up(tmp_path, monkeypatch)

    def run(name, *xs, plan=None, memory_mb=0, **label):
        raw = campaign.model_dump(mode="json")
        raw["campaign"]["store"] = str(tmp_path / name / "store")
        raw["label"] |= {"backend": options().model_dump(), "scratch": str(tmp_path / "scratch"), **label}
        monkeypatch.setenv("VASP_DOUBLE_MEMORY", str(tmp_path / name / "memory"))
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.delenv("VASP_DOUBLE_FAULTS", raising=False)
        if plan:
            (tmp_path / name / "plan.json").write_text(json.dumps(plan))
            monkeypatch.setenv("VASP_DOUBLE_FAULTS", str(tmp_path / name / "plan.json"))
        tables = [tmp_path / name / f"{table}.parquet" for table in ("labels", "failures")]
        work = tmp_path / name / "work"
        label_batch_of(Campaign.model_validate(raw), 0, select(*xs), *tables, work, memory_mb=memory_mb)
        return [
            read_table(path, table).to_pylist()
            for path, table in zip(tables, ("labels", "failures"), strict=True)
        ]

    return run


PHYSICS = (
    "snapshot_id",
    "level",
    "energy_eV",
    "free_energy_eV",
    "forces_eV_per_A",
    "stress_eV_per_A3",
    "magmoms_muB",
    "verdict",
)


def physics(rows):
    return sorted([row[name] for name in PHYSICS] for row in rows)


XS = [3.0 + 0.05 * i for i in range(8)]


@pytest.mark.first
def test_faults_on_the_way_change_no_label(batch, tmp_path):
    quiet, none = batch("quiet", *XS)
    assert (len(quiet), none) == (16, [])
    plan = {"fraction": 0.6, "faults": MENDED}
    faulty, failures = batch("faulty", *XS, plan=plan, attempts=3, parallel=2)
    assert failures == []
    assert physics(faulty) == physics(quiet)
    assert any(json.loads(row["corrections"]) for row in faulty)
    assert runs(tmp_path / "faulty") > runs(tmp_path / "quiet") == 16


def test_what_cannot_be_mended_is_explained(batch):
    always = ["unconverged", "truncated", "wrong_version", "nan", "entropy", "zbrent"]
    labels, failures = batch("faulty", *XS, plan={"fraction": 1.0, "faults": always})
    assert len(labels) + len(failures) == 16
    assert {row["reason"] for row in failures} >= {"not_converged", "crashed"}
    for row in failures:
        assert row["attempts"] == (2 if row["reason"] in {"crashed", "out_of_memory"} else 1)
        assert row["detail"]
    assert {row["verdict"] for row in labels} <= {"quarantined"}
    assert all(json.loads(row["verdict_rules"]) for row in labels)


def test_nothing_is_calculated_twice_and_outputs_are_archived(batch, tmp_path):
    first, _ = batch("one", *XS[:2])
    again, _ = batch("one", *XS[:2])
    assert again == first
    assert runs(tmp_path / "one") == 4
    archived = [path for path in (tmp_path / "one/store/outputs").rglob("*") if path.is_file()]
    assert archived
    assert not list((tmp_path / "scratch").iterdir())


def test_faults_by_chance_are_those_of_the_double():
    assert {fault.partition(":")[0] for fault in MENDED} <= set(FAULTS)


def test_what_ran_out_of_memory_is_tried_again_where_there_is_more_of_it(batch, tmp_path):
    quiet, _ = batch("quiet", 3.0)
    plan = {"structures": {"*": "pbe/sigkill:4"}}
    for memory_mb, attempts, made in ((2000, 2, 2), (2000, 2, 2), (1000, 2, 2), (4000, 4, 4)):
        labels, failures = batch("killed", 3.0, plan=plan, memory_mb=memory_mb, attempts=2)
        assert labels == []
        assert {(row["reason"], row["attempts"]) for row in failures} == {("out_of_memory", attempts)}
        assert runs(tmp_path / "killed", "PBE") == made
    labels, failures = batch("killed", 3.0, plan=plan, memory_mb=8000, attempts=2)
    assert failures == []
    assert physics(labels) == physics(quiet)
