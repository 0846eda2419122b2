"""A second round for real: it goes on from a finished campaign, which it only reads, and can be made again
alone."""

import contextlib
import json
import shutil
import subprocess
import sys
from hashlib import sha256

import pytest
import yaml
from quick_campaign import explore, label, select

from pesatlas.campaign.layout import REFERENCE, Results, below, path_of
from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.report.advice import advise_round
from pesatlas.report.parity import evaluate_potential
from pesatlas.tables import read_table
from report_pages import built, data_of
from small_campaign import TINY, SmallCampaign
from small_potentials import save_tensornet

ROUND_1 = TINY | {
    "structures.sources": [{"kind": "demo", "names": ["NaCl", "MgO"]}],
    "select.target": 6,
    "dataset.exports.formats": [],
    "label.backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
    "label.levels": ["mlip"],
    "label.structures_per_job": 6,
    "campaign.store": "../store",
}


def state(folder):
    return {path: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A finished first round with two small potentials, which know NaCl and MgO, in place of trained ones."""
    made = SmallCampaign(tmp_path_factory.mktemp("rounds") / "round-1", ROUND_1)
    raw = made.configuration | {"campaign": {"name": "demo", "store": str(made.path.parent / "store")}}
    campaign = load_campaign(raw)
    explore(campaign, made.path)
    select(campaign, made.path)
    label(campaign, made.path)
    for seed in (1, 2):
        folder = save_tensornet(made.path / f"results/potentials/mlip-{seed}", steps=150, seed=seed)
        card = {"seed": seed, "level": "mlip", "gate": {"passed": True}}
        (folder / "card.json").write_text(json.dumps(card))
    return made.path


@pytest.fixture(scope="module")
def second(first):
    """The folder of the second round, with the configuration that `config new` writes and fewer starts."""
    folder = first.parent / "round-2"
    folder.mkdir()
    done = pesatlas(folder, "config", "new", "--previous", "../round-1")
    raw = yaml.safe_load(done)
    raw["structures"]["sources"][1]["count"] = 3
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    return folder


@pytest.fixture(scope="module")
def again(second):
    """The second round made again elsewhere, up to its picks: by the stages alone, without Snakemake."""
    folder = second.parent / "round-2-again"
    folder.mkdir()
    with contextlib.chdir(folder):
        campaign = read_campaign(second / "config.yaml")
        explore(campaign, folder)
        select(campaign, folder)
    return folder


def pesatlas(folder, *arguments, expect=0):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout if expect == 0 else done.stdout + done.stderr


def test_the_next_round_is_written_from_the_one_before(second, first):
    raw = yaml.safe_load((second / "config.yaml").read_text())
    assert raw["campaign"]["name"] == "demo-round-2"
    assert raw["structures"]["sources"][1]["kind"] == "previous_round"
    assert [member["path"] for member in raw["round"]["committee"]] == [
        f"../round-1/results/potentials/mlip-{seed}" for seed in (1, 2)
    ]
    assert raw["explore"]["potential"] == raw["round"]["committee"][0]
    assert "valid campaign" in pesatlas(second, "config", "check")


def test_it_picks_what_is_new_and_the_same_when_made_again(second, first, request):
    before = state(first / "results")
    plan = pesatlas(second, "run", "-n", "--until", "pick_snapshots")
    assert "calibrate_disagreement" in plan
    pesatlas(second, "run", "--until", "pick_snapshots")
    rows = read_table(second / path_of("selection"), "selection").to_pylist()
    assert len(rows) == 6
    assert {row["policy"] for row in rows} == {"disagree"}
    assert all("expected force error" in row["reason"] for row in rows)
    # of the pool, the two crystals as given are labelled already
    known = read_table(first / path_of("dataset", level="mlip"), "dataset").to_pylist()
    there = {(tuple(row["numbers"]), tuple(row["positions_A"])) for row in known}
    assert not there & {(tuple(row["numbers"]), tuple(row["positions_A"])) for row in rows}
    again = request.getfixturevalue("again")
    assert read_table(again / path_of("selection"), "selection").to_pylist() == rows
    # the other round is as it was
    assert state(first / "results") == before


def test_a_round_before_that_changed_or_is_another_is_refused(second, first):
    manifest = first / path_of("manifest")
    kept = manifest.read_text()
    manifest.write_text(kept + "\n")
    try:
        said = pesatlas(second, "config", "check", expect=1)
    finally:
        manifest.write_text(kept)
    assert "has changed since round 2 was written" in " ".join(said.split())
    raw = yaml.safe_load((second / "config.yaml").read_text())
    raw["round"]["number"] = 3
    (second / "other.yaml").write_text(yaml.safe_dump(raw))
    said = pesatlas(second, "config", "check", "other.yaml", expect=1)
    assert "is round 1, so the next round is 2, not 3" in " ".join(said.split())


def test_it_ends_with_advice_that_the_report_and_the_summary_repeat(
    first, second, again, tmp_path, monkeypatch
):
    # beside its first round, as its configuration names it
    folder = shutil.copytree(again, again.parent / tmp_path.name)
    monkeypatch.chdir(folder)
    campaign = read_campaign(second / "config.yaml")
    results = label(campaign, folder)
    files = Results(results, campaign.label_batches, tuple(campaign.label.levels)).files
    asked = files["disagreement"]
    advise_round(campaign.round, files, below(results, "advice"))
    found = json.loads(below(results, "advice").read_text())
    assert found["verdict"] == "go on"
    assert found["gain_eV_per_A"] == pytest.approx(
        found["expected_error_eV_per_A"] * found["share_per_1000_labels"]
    )
    # by hand: calibrated, over atoms of candidates that were not picked
    factor = next(
        row["factor"]
        for row in read_table(below(results, "calibration"), "calibration").to_pylist()
        if (row["quantity"], row["bin"]) == ("forces", 0)
    )
    picked = read_table(below(results, "selection"), "selection")["snapshot_id"].to_pylist()
    said = read_table(asked[0], "disagreement").to_pylist()
    std = [x for row in said if row["snapshot_id"] not in picked for x in row["force_std_eV_per_A"]]
    by_hand = factor * (sum(x**2 for x in std) / len(std)) ** 0.5
    assert found["expected_error_eV_per_A"] == pytest.approx(by_hand, rel=1e-6)
    evaluate_potential(
        campaign.explore,
        campaign.campaign.seed,
        below(results, "dataset", level="mlip"),
        below(results, "parity"),
    )
    before = {"frames_before": ("snapshots", "batch"), "clusters_before": ("clusters", "group")}
    report = built(
        results,
        advice=[below(results, "advice")],
        **{name: [below(results, table, **{of: REFERENCE})] for name, (table, of) in before.items()},
    )
    page = below(results, "report").read_text()
    # the map has the frames of both rounds, each coloured by its own
    points = data_of(report)["tables"]["frames"]
    kinds = dict.fromkeys(zip(points["kind"], points["round"], points["picked"], strict=True))
    assert set(kinds) == {("pool", 2, False), ("picked", 2, True), ("labelled before", 1, True)}
    known = read_table(below(first / "results", "dataset", level="mlip"), "dataset").num_rows
    assert points["kind"].count("labelled before") == known
    assert "round" in data_of(report)["figures"]["map"]["colours"]
    assert f"Blue: {known} frames labelled before this round" in page
    assert "Is another round worth it?" in page
    assert "Does disagreement predict the error?" in page
    assert "Go on. The expected force error of the committee is" in page
    assert below(results, "figure", figure="reliability_forces").stat().st_size > 5000
    assert "Round 2: Go on." in " ".join(pesatlas(folder, "summary").split())
    # a threshold that no thousand labels reach
    raw = campaign.model_dump(mode="json")
    raw["round"]["stop_below_eV_per_A"] = 100.0
    advise_round(load_campaign(raw).round, files, below(results, "advice"))
    assert "Round 2: Stop." in " ".join(pesatlas(folder, "summary").split())
