"""The comparison of a campaign before it runs: the difference that it can show, and what would show more."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from ase.build import bulk

from pesatlas.campaign.layout import below
from pesatlas.campaign.load import read_campaign
from pesatlas.config.campaign import Campaign
from pesatlas.config.presets import preset
from pesatlas.monitor.comparison_design import WANTED, design_of
from pesatlas.tables import write_table
from pesatlas.train.comparison_power import ASSUMED, detectable_ratio
from small_campaign import ROOT


def campaign_of(test=0.2, **compare):
    raw = preset("demo")[0].model_dump(mode="json")
    raw["dataset"]["split"]["test"] = test
    return Campaign.model_validate(raw | {"train": {}, "compare": compare})


def test_the_design_of_a_configuration_shows_what_the_assumed_spreads_say(tmp_path):
    design = design_of(campaign_of(), 200, tmp_path)
    assert (design.materials, design.frames, design.seeds) == (40, 400, 5)
    assert design.ratio == detectable_ratio(ASSUMED, 40, 400, 5)
    assert design.sentence.startswith(
        "compare: with about 40 held-out materials, 400 test frames and 5 seeds, it shows differences of "
        "errors from 13 % on (chance 80 %; spreads: 24 % between materials, 5 % between trainings, assumed"
    )
    assert design_of(preset("demo")[0], 200, tmp_path) is None
    assert design_of(campaign_of(), 120, tmp_path).sentence in (ROOT / "docs" / "compare.md").read_text()


def test_what_it_advises_is_enough_and_no_more_than_that(tmp_path):
    design = design_of(campaign_of(), 500, tmp_path)
    seeds, materials = map(
        int, re.search(r"To show 10 %, take (\d+) seeds .* or (\d+) held-out", design.sentence).groups()
    )
    assert design_of(campaign_of(seeds=list(range(seeds))), 500, tmp_path).ratio >= WANTED
    assert design_of(campaign_of(seeds=list(range(seeds - 1))), 500, tmp_path).ratio < WANTED
    assert not design_of(campaign_of(), 5 * materials, tmp_path).weak
    assert design_of(campaign_of(), 5 * (materials - 1), tmp_path).weak


@pytest.mark.parametrize(
    ("crystals", "compare", "said"),
    [
        (10, {}, r"shows no difference: that takes 5 held-out materials .*To show 10 %, take \d+ held-out"),
        (100, {"test_frames": 10, "seeds": [0, 1]}, r"To show 10 %, take [\d.]+ times as many of each"),
        (10_000, {}, r"and docs/evidence.md\)\.$"),
    ],
)
def test_a_design_that_is_too_small_says_what_is_missing(tmp_path, crystals, compare, said):
    assert re.search(said, design_of(campaign_of(**compare), crystals, tmp_path).sentence)


def test_trainings_that_have_finished_replace_what_is_assumed(tmp_path):
    campaign, rng = campaign_of(), np.random.default_rng(0)
    for policy, share, seed in campaign.compare.runs:
        rows = [
            {
                "arm": policy, "cost_share": share, "seed": seed, "level": "pbe", "snapshot_id": f"{k}:{step}",
                "structure_id": f"{k}", "equilibrium": False, "n_atoms": 2, "energy_mae_meV_per_atom": 1.0,
                "force_mae_meV_per_A": 100 * rng.lognormal(0, 0.1), "stress_mae_GPa": 0.1,
            }
            for k in range(12)
            for step in range(4)
        ]  # fmt: skip
        path = below(tmp_path, "arm_errors", policy=policy, share=f"{share:g}", seed=seed)
        write_table(path, "arm_errors", rows, "test")
    design = design_of(campaign, 200, tmp_path)
    assert (design.materials, design.frames) == (12, 48)
    assert design.spreads.source == "measured on trainings of this comparison"
    assert design.ratio > detectable_ratio(ASSUMED, 12, 48, 5)


def told(folder, *arguments):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_commands_say_it_before_anything_runs(tmp_path):
    for k in range(40):
        bulk("Cu", a=3.5 + 0.02 * k).write(tmp_path / f"Cu-{k:02d}.cif")
    settings = {
        "campaign": {"name": "policies"},
        "structures": {"sources": [{"kind": "files", "paths": ["*.cif"]}], "remove_duplicates": False},
        "select": {"target": 400},
        "dataset": {"split": {"test": 0.2}},
        "train": {},
        "compare": {},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    sentence = design_of(read_campaign(tmp_path / "config.yaml", extensions=False), 40, tmp_path).sentence
    assert sentence in told(tmp_path, "plan")
    assert f"Warning: {sentence}" in told(tmp_path, "config", "check")
    found = json.loads(told(tmp_path, "plan", "--json"))["comparison"]
    assert (found["materials"], found["seeds"]) == (8, 5)
    assert found["detectable_ratio"] == detectable_ratio(ASSUMED, 8, 400, 5)
