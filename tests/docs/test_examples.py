"""The campaigns of docs/examples: valid, their crystals usable, and the chain of two of them works."""

import os
import subprocess
import sys

import pytest
import yaml
from ase.io import read

from pesatlas.campaign.load import load_campaign
from small_campaign import ROOT

EXAMPLES = ROOT / "docs" / "examples"
NAMES = ("salts", "polymorphs", "layers")
QUICK = {
    "structures": {"domains": [{"kind": "bulk", "supercell": None}]},
    "explore": {"potential": {"kind": "chgnet"}, "length_ps": 0.1, "frame_interval_ps": 0.01},
    "select": {"target": 18},
    "label": {
        "backend": {"kind": "mlip", "potential": {"kind": "chgnet", "version": "0.2.0"}},
        "levels": ["mlip"],
        "structures_per_job": 18,
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_valid_campaign_of_usable_crystals(name):
    raw = yaml.safe_load((EXAMPLES / name / "config.yaml").read_text())
    campaign = load_campaign(raw, extensions=False)
    assert campaign.campaign.name == name
    for path in (EXAMPLES / name).glob("cells/*"):
        assert sorted(read(path).symbols.species()) == sorted(
            read(
                next((EXAMPLES / "salts" / "cells").glob(f"{path.stem.partition('-')[0]}-*"))
            ).symbols.species()
        )


def test_there_are_these_examples():
    assert {path.parent.name for path in EXAMPLES.glob("*/config.yaml")} == set(NAMES)


def test_the_worked_example_from_crystals_to_a_fine_tuned_potential(tmp_path):
    """As on the page, with labels of a potential and little of everything."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"}
    for name, replaced in (("salts", "references"), ("polymorphs", "retention_set")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cells").symlink_to(EXAMPLES / name / "cells")
        raw = yaml.safe_load((EXAMPLES / name / "config.yaml").read_text()) | QUICK
        raw["structures"] = {"sources": [{"kind": "files", "paths": ["cells"]}], **QUICK["structures"]}
        raw["train"] |= {"level": "mlip", "epochs": 3}
        if replaced == "references":
            raw["train"]["references"] = "fit"
        else:
            raw["train"] |= {
                "base": {"path": "../salts/results/potentials/mlip-0"},
                "retention_set": "../salts/results/dataset/mlip",
            }
        (folder / "config.yaml").write_text(yaml.safe_dump(raw))
        run = [
            sys.executable,
            "-m",
            "pesatlas.cli.main",
            "run",
            "--cores",
            "2",
            "-s",
            str(ROOT / "Snakefile"),
        ]
        done = subprocess.run(
            run, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    card = (tmp_path / "polymorphs/results/potentials/mlip-0/card.md").read_text()
    assert "the base, before it was fine-tuned" in card
    assert "fine-tuned from weights" in card
