"""The campaign as a user runs it: end to end, again, changed, killed, looked at."""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from pesatlas.campaign.layout import path_of
from pesatlas.campaign.load import read_campaign
from pesatlas.dataset.verify import verify
from pesatlas.monitor.status import read_status
from small_campaign import ROOT, copy_of, jobs


@pytest.mark.proof
def test_a_campaign_ends_with_a_dataset_at_both_levels_and_a_summary(tiny):
    assert verify(tiny.path / "results") == []
    for level in ("pbe", "r2scan"):
        rows = tiny.dataset(level)
        assert len(rows) == 4
        assert sum(row["condition"] == "equilibrium" for row in rows) == 1
        assert all(
            row["cohesive_energy_eV_per_atom"] < -3 for row in rows
        )  # silicon: -4.6 eV/atom measured, PBE -4.5
    assert re.search(r"exported pbe\W+4", tiny.output)
    assert "results/report.html" in tiny.output
    assert not {"\x1b", "█", "░"} & set(tiny.output)  # no bars, no codes: this is a pipe
    assert (tiny.path / "results" / "report.html").stat().st_size > 10_000


def test_the_potential_says_of_labelled_snapshots_what_it_said_when_it_explored_them(tiny):
    said = {row["snapshot_id"]: row for row in rows_of(tiny, "report/parity.parquet")}
    explored = {row["snapshot_id"]: row for row in rows_of(tiny, "snapshots/00000.parquet")}
    assert set(said) == {row["snapshot_id"] for row in tiny.dataset("pbe")}
    for name, row in said.items():
        assert row["mlip_energy_eV"] == pytest.approx(explored[name]["mlip_energy_eV"], abs=1e-5)
        largest = np.linalg.norm(np.reshape(row["mlip_forces_eV_per_A"], (-1, 3)), axis=1).max()
        assert largest == pytest.approx(explored[name]["mlip_max_force_eV_per_A"], abs=1e-5)
        assert row["mlip_stress_eV_per_A3"] == pytest.approx(
            explored[name]["mlip_stress_eV_per_A3"], abs=1e-6
        )


def rows_of(campaign, name):
    return pq.read_table(campaign.path / "results" / name).to_pylist()


@pytest.mark.proof
def test_run_again_there_is_nothing_to_do(tiny, tmp_path):
    assert "Nothing to be done" in copy_of(tiny, tmp_path / "twin").run("-n")


def test_a_finished_campaign_is_not_made_again_by_a_newer_version_of_the_scripts(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path / "older")
    ten_years = 10 * 365 * 24 * 3600 * 10**9
    for path in folder.path.rglob("*"):
        if not path.is_symlink():
            times = path.stat()
            os.utime(path, ns=(times.st_atime_ns - ten_years, times.st_mtime_ns - ten_years))
    assert "Nothing to be done" in folder.run("-n")
    assert "Nothing to be done" not in folder.run("-n", "--rerun-triggers", "code")


def test_a_dry_run_before_anything_exists_shows_the_jobs(make_folder):
    found = jobs(make_folder().run("-n"))
    assert found["prepare_structures"] == 1
    assert found["label_batch"] == 2
    assert "results" not in {p.name for p in make_folder().path.iterdir()}


LAST = dict.fromkeys(
    ("collect_dataset", "evaluate_potential", "export_dataset", "write_card", "build_report"), 1
)
LATER = ["manifest.json", "report.html", "card.*", "dataset", "quarantine", "exports", "failures/dataset.*"]
SELECTING = (
    "fit_pca",
    "grid_structures",
    "cluster_structures",
    "grid_atoms",
    "cluster_atoms",
    "reduce_frames",
    "pick_snapshots",
    "measure_selection",
)


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        (["labels/00001.*", "failures/label/00001.*"], {"label_batch": 1}),
        (
            ["labels/0*", "failures/label", "selection.*", "select"],
            {"label_batch": 2} | dict.fromkeys(SELECTING, 1),
        ),
    ],
    ids=["one batch of labels", "from selection on"],
)
def test_a_dry_run_half_way_shows_the_jobs_that_are_left(tiny, tmp_path, lost, left):
    half = copy_of(tiny, tmp_path / "half")
    for pattern in LATER + lost:
        found = list((half.path / "results").glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(path for path in (half.path / "results").rglob("*"))
    assert jobs(half.run("-n")) == LAST | left
    assert sorted(path for path in (half.path / "results").rglob("*")) == before


def test_a_finished_campaign_that_asks_for_training_trains_and_shows_it(tiny, tmp_path):
    twin = copy_of(tiny, tmp_path / "twin")
    small = {"kind": "tensornet", "units": 8, "blocks": 1}
    twin.change({"train": {"architecture": small, "epochs": 2, "seeds": [7]}})
    assert jobs(twin.run("-n")) == {"train_potential": 1, "build_report": 1}
    twin.run()
    card = json.loads((twin.path / path_of("potential_card", level="pbe", seed=7)).read_text())
    assert (card["level"], card["elements"], card["training"]["epochs"]) == ("pbe", ["Si"], 2)
    assert "What can be trained on it?" in (twin.path / path_of("report")).read_text()
    assert (twin.path / path_of("figure", figure="learning")).stat().st_size > 1000
    assert "epoch 1: loss" in twin.log("train_potential/pbe-7.log")
    stages = read_status(twin.path, read_campaign(twin.path / "config.yaml"), "").stages
    assert [(stage.total, stage.done) for stage in stages if stage.name == "train"] == [(1, 1)]
    assert "Nothing to be done" in twin.run("-n")


def test_a_dry_run_of_a_comparison_trains_each_arm_and_labels_in_one_place(make_folder):
    changes = {
        "train": {},
        "compare": {"policies": [{"kind": "cover"}, {"kind": "random"}], "test_frames": 3},
    }
    found = jobs(make_folder(changes | {"structures.sources": [{"kind": "demo"}]}).run("-n"))
    # two arms of four labels and at most six of the test, two in a job; two arms, three shares, five seeds
    assert {name: found[name] for name in ("label_batch", "pick_arms", "train_arm", "compare_arms")} == {
        "label_batch": 7,
        "pick_arms": 1,
        "train_arm": 30,
        "compare_arms": 1,
    }
    assert "pick_snapshots" not in found


def test_ci_would_notice_a_demo_with_too_few_labels(tiny):
    sql = (ROOT / ".ci" / "demo_is_enough.sql").read_text()
    command = [sys.executable, "-m", "pesatlas.cli.main", "query", sql]
    done = subprocess.run(command, cwd=tiny.path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "the demo holds too little: {'pbe': 3, 'r2scan': 3, 'crystals_pbe': 1, 'crystals_r2scan': 1}"
        in " ".join(done.stderr.split())
    )
    enough = sql.replace(">= 8", ">= 3").replace(">= 4", ">= 1")
    assert (
        "enough"
        in subprocess.run(
            [*command[:-1], enough], cwd=tiny.path, capture_output=True, text=True, check=True
        ).stdout
    )


def test_a_changed_split_collects_again_and_calculates_nothing(tiny, tmp_path):
    twin = copy_of(tiny, tmp_path / "twin")
    twin.change({"dataset.split": {"valid": 0.0, "test": 0.999}})
    after = {"evaluate_potential", "build_report", "export_dataset", "write_card"}
    assert set(jobs(twin.run("-n"))) == {"collect_dataset", *after}
    twin.run()
    assert {row["split"] for row in twin.dataset("pbe")} == {"test"}


@pytest.mark.first
def test_a_changed_selection_takes_labels_from_the_store(tiny, tmp_path):
    twin = copy_of(tiny, tmp_path / "twin")
    twin.change({"select.target": 2})
    twin.run()
    assert {row["snapshot_id"] for row in twin.dataset("pbe")} < {
        row["snapshot_id"] for row in tiny.dataset("pbe")
    }
    assert json.loads((twin.path / path_of("manifest")).read_text())["label_batches"] == 1
    assert "0 calculations" in twin.log("label_batch/00000.log")


def test_lost_outputs_come_back_from_the_stores(tiny, tmp_path):
    twin = copy_of(tiny, tmp_path / "twin")
    shutil.rmtree(twin.path / "results")
    twin.run()
    for level in ("pbe", "r2scan"):
        assert twin.dataset(level) == tiny.dataset(level)
    assert "0 calculations" in twin.log("label_batch/00000.log")


@pytest.mark.proof
def test_killed_again_and_again_it_gives_the_same_dataset(tiny, make_folder):
    folder = make_folder()
    dice = random.Random(1)
    kills = sum(folder.kill_after(dice.uniform(4, 25)) for _ in range(4))
    folder.run()
    assert kills >= 3
    assert verify(folder.path / "results") == []
    for level in ("pbe", "r2scan"):
        assert folder.dataset(level) == tiny.dataset(level)


def test_a_second_run_in_the_same_folder_is_refused(make_folder):
    import fcntl

    folder = make_folder()
    with (folder.path / ".pesatlas.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another `pesatlas run` works in" in folder.run(expect=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"explore.timestep_fs": 20.0}, "explore.timestep_fs: 20 fs is longer"),
        ({"explore.timestp_fs": 2.0}, "Did you mean 'timestep_fs'?"),
        ({"structures.sources": [{"kind": "files", "paths": ["nowhere/*.cif"]}]}, "nowhere/*.cif"),
    ],
)
def test_a_wrong_configuration_stops_before_any_job(make_folder, changes, message):
    folder = make_folder(changes)
    assert message in folder.run(expect=1)
    assert not (folder.path / "results").exists()


def test_a_campaign_that_grows_picks_what_is_new(tiny, make_folder, tmp_path):
    known = copy_of(tiny, tmp_path / "known")
    grown = make_folder(
        {
            "structures.sources": [{"kind": "demo", "names": ["Al", "Si"]}],
            "select.reference": [str(known.path / "results" / "dataset" / "pbe")],
            "campaign.store": str(known.path / "store"),
            "select.target": 3,
        },
        "grown",
    )
    planned = jobs(grown.run("-n"))
    assert planned["read_reference"] == 1
    grown.run("results/selection.parquet", "results/select/quality.parquet")
    counts = json.loads((grown.path / "results/selection.parquet.manifest.json").read_text())["counts"]
    assert counts["known"] == 4  # what is labelled
    picked = pq.read_table(grown.path / "results" / "selection.parquet").to_pylist()
    labelled = {tuple(row["positions_A"]) for row in tiny.dataset("pbe")}
    assert not {tuple(row["positions_A"]) for row in picked} & labelled
    assert picked[0]["structure_id"] == "demo-Al"  # its crystal; that of silicon is labelled
