"""The wheel carries the workflow: installed without a checkout, it runs a campaign in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from made_once import made_once
from small_campaign import ROOT, TINY, SmallCampaign

SMALL = TINY | {
    "label.backend": {"kind": "mlip", "potential": {"kind": "chgnet"}},
    "label.levels": ["mlip"],
    "dataset.exports.formats": ["extxyz"],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment variables with which Python finds the installed wheel, and no checkout."""
    with made_once(tmp_path_factory, "wheel") as (place, is_made):
        if not is_made:
            _install(place)
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return found | {"PYTHONPATH": str(place / "site")}


def _install(place):
    source = place / "source"
    kept = ("src", "workflow", "scripts", "profiles", "envs", "config")
    for name in kept:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    files = ("Snakefile", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "config.yaml")
    for name in files:
        shutil.copy2(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    ours = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", "--quiet", *ours, "--no-build-isolation", "--wheel-dir", place, source], check=True
    )
    (wheel,) = place.glob("pesatlas-*.whl")
    subprocess.run([*pip, "install", "--quiet", *ours, "--target", place / "site", wheel], check=True)
    shutil.rmtree(source)


@pytest.fixture
def pesatlas(installed, tmp_path):
    """A function that types a command in a folder of its own."""
    folder = tmp_path / "campaign"
    folder.mkdir()

    def type_in(*words, expect=0):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pesatlas.cli.main", *words],
            cwd=folder,
            env=installed,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    type_in.folder = folder
    return type_in


def test_an_installed_wheel_runs_a_campaign_in_an_empty_folder(pesatlas, installed):
    written = pesatlas("config", "new")
    schema = Path(re.match(r"# yaml-language-server: \$schema=(.+)", written)[1])
    assert schema.is_relative_to(installed["PYTHONPATH"])
    assert "properties" in schema.read_text()
    (pesatlas.folder / "config.yaml").write_text(written)
    SmallCampaign(pesatlas.folder, {}).change(SMALL)
    assert "is a valid campaign" in pesatlas("config", "check")
    pesatlas("run")
    assert "4" in pesatlas("query", "SELECT count(*) FROM dataset")
    pesatlas("verify")
    assert (pesatlas.folder / "results" / "report.html").is_file()
    snakefile = next((Path(installed["PYTHONPATH"]) / "pesatlas").rglob("Snakefile"))
    assert str(ROOT) not in snakefile.read_text()


def test_the_demo_is_shown_without_a_checkout_and_refuses_the_folder_of_another_campaign(pesatlas):
    (pesatlas.folder / "taken").mkdir()
    other = yaml.safe_load(pesatlas("config", "new")) | {"campaign": {"name": "mine"}}
    (pesatlas.folder / "taken" / "config.yaml").write_text(yaml.safe_dump(other))
    pesatlas("demo", "taken", expect=1)
    assert yaml.safe_load((pesatlas.folder / "taken" / "config.yaml").read_text()) == other
