"""Results that are not what the configuration makes today: named, made again, refused by a release; also
where Snakemake knows nothing."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from ase.build import bulk
from ase.io import write

from pesatlas.campaign.layout import below
from pesatlas.tables import read_entry
from small_campaign import TINY, SmallCampaign, copy_of, jobs


def pesatlas(folder, *arguments, expect=0):
    command = [sys.executable, "-m", "pesatlas.cli.main", *arguments]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == expect, output
    return " ".join(output.split())


def status(folder):
    command = [sys.executable, "-m", "pesatlas.cli.main", "status", "--json"]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def stale(folder):
    return {stage["name"]: stage["stale"] for stage in status(folder)["stages"] if stage["stale"]}


@pytest.fixture
def copied(tiny, tmp_path):
    """A finished campaign, copied as `cp -a` and rsync do, but without what is hidden."""
    folder = copy_of(tiny, tmp_path / "copied")
    shutil.rmtree(folder.path / ".snakemake")
    return folder


def test_settings_that_changed_after_a_copy_are_named_and_what_they_decide_is_made_again(copied):
    assert "Nothing to be done" in copied.run("-n")
    assert stale(copied) == {}
    pesatlas(copied, "verify")
    copied.change({"campaign.seed": 7, "explore.timestep_fs": 1.0, "explore.device": "cpu"})
    said = pesatlas(copied, "verify", expect=1)
    assert "results/snapshots/00000.parquet" in said
    assert "campaign.seed was 2026, is 7; explore.timestep_fs was auto, is 1.0" in said
    state = status(copied)
    assert not state["finished"]
    assert stale(copied)["explore"] == 1
    assert stale(copied)["label"] == 2
    assert "structures" not in stale(copied)
    assert "stale" in pesatlas(copied, "status")
    planned = jobs(copied.run("-n"))
    assert planned["run_md"] == 1
    assert planned["label_batch"] == 2
    assert planned["collect_dataset"] == planned["write_card"] == 1
    assert "prepare_structures" not in planned
    # half of it: what is behind is older than what it is made of, and nobody has to know from when
    said = " ".join(copied.run("--until", "run_md").split())
    assert "explore.timestep_fs was auto, is 1.0" in said
    assert re.findall(r"Rule: (\w+)", said) == ["run_md"]
    entry = json.loads((copied.path / "results/snapshots/00000.parquet.manifest.json").read_text())
    assert entry["made_with"]["explore"]["timestep_fs"] == 1.0
    shutil.rmtree(copied.path / ".snakemake")
    assert "explore" not in stale(copied)
    assert {"encode", "select", "label", "dataset"} <= stale(copied).keys()
    said = pesatlas(copied, "verify", expect=1)
    assert "results/snapshots/00000.parquet" in said
    planned = jobs(copied.run("-n"))
    assert "run_md" not in planned
    assert planned["encode_snapshots"] == planned["pick_snapshots"] == planned["collect_dataset"] == 1


def test_another_configuration_does_not_replace_the_results_of_the_folders_own(copied):
    own = (copied.path / "config.yaml").read_text()
    copied.change({"campaign.seed": 7})
    (copied.path / "config.yaml").rename(copied.path / "other.yaml")
    (copied.path / "config.yaml").write_text(own)
    said = pesatlas(copied, "run", "--config", "other.yaml", "--cores", "1", expect=1)
    assert "results/ are those of config.yaml, and other.yaml would make" in said
    assert "cp other.yaml ../other/config.yaml" in said
    pesatlas(copied, "verify")
    # what it would do may be asked
    assert "campaign.seed was 2026, is 7" in pesatlas(copied, "run", "-n", "--config", "other.yaml")


def test_what_the_command_line_changes_is_compared_too(copied):
    assert jobs(copied.run("-n", "--config", "explore={length_ps: 0.05}"))["run_md"] == 1
    planned = copied.run("-n", "--config", "campaign={seed: 7}")
    assert "campaign.seed was 2026, is 7" in " ".join(planned.split())
    assert jobs(planned)["run_md"] == 1
    assert "Nothing to be done" in copied.run("-n", "--config", "explore={device: cpu}")


def test_tables_of_an_older_version_are_known_by_the_manifest_of_the_campaign(copied):
    results = copied.path / "results"
    for path in results.rglob("*.manifest.json"):
        entry = json.loads(path.read_text())
        del entry["made_with"], entry["made_of"]
        path.write_text(json.dumps(entry))
    for path in results.rglob("*.npz.manifest.json"):
        path.unlink()
    assert stale(copied) == {}
    copied.change({"select.structure": {"threshold": 0.3}})
    assert "select.structure.threshold was 0.02, is 0.3" in pesatlas(copied, "verify", expect=1)
    planned = jobs(copied.run("-n"))
    assert planned["grid_structures"] == planned["pick_snapshots"] == planned["collect_dataset"] == 1
    assert not planned.keys() & {"run_md", "encode_snapshots", "fit_pca"}


def test_a_release_of_a_campaign_that_was_killed_before_its_card_is_refused(copied):
    copied.change({"dataset.split.valid": 0.4, "dataset.split.test": 0.1})
    copied.run("results/manifest.json")
    said = pesatlas(copied, "verify", expect=1)
    for name in ("card.json", "card.md", "CITATION.cff", "ro-crate-metadata.json", "report.html"):
        assert (
            f"results/{name}: describes another state of the dataset than manifest.json. `pesatlas run` "
            "makes it again." in said
        )
    assert "results/exports/matpes/export.json: describes another state of the dataset" in said
    said = pesatlas(copied, "release", "2026.1", expect=1)
    assert "describes another state of the dataset" in said
    assert not (copied.path / "releases" / "2026.1").exists()
    # Snakemake knows nothing, and a copy has new times
    shutil.rmtree(copied.path / ".snakemake")
    for name in ("card.json", "report.html", "exports/matpes/export.json"):
        (copied.path / "results" / name).touch()
    planned = jobs(copied.run("-n"))
    assert {"write_card", "build_report", "export_dataset"} <= planned.keys()
    assert "label_batch" not in planned
    copied.run()
    pesatlas(copied, "verify")
    assert stale(copied) == {}
    pesatlas(copied, "release", "2026.1")
    pesatlas(copied, "verify", "releases/2026.1")


def test_a_new_name_card_and_fewer_formats_are_shown_everywhere_and_old_exports_go(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path / "campaign")
    results = folder.path / "results"
    tables = {path: path.read_bytes() for path in results.rglob("*.parquet")}
    folder.change(
        {
            "campaign.name": "renamed",
            "dataset.card.title": "Silicon, slowly",
            "dataset.exports.formats": ["extxyz"],
        }
    )
    assert stale(folder) == {"dataset": 1, "report": 2}
    old = results / "exports" / "matpes"
    (old / "notes.txt").write_text("a person's")
    said = " ".join(folder.run().split())
    assert "campaign.name was demo, is renamed" in said
    assert "results/exports/matpes is no longer in dataset.exports.formats: removed. These stay" in said
    assert [path.name for path in old.iterdir()] == ["notes.txt"]
    assert json.loads(below(results, "manifest").read_text())["campaign"] == "renamed"
    card = json.loads(below(results, "card").read_text())
    assert (card["campaign"], card["title"]) == ("renamed", "Silicon, slowly")
    assert "Silicon, slowly" in below(results, "citation").read_text()
    assert "<h1>renamed</h1>" in below(results, "report").read_text()
    assert "renamed" in (results / "exports/extxyz/README.md").read_text()
    # to the last bit, so that nothing is trained or calculated again
    assert {path: path.read_bytes() for path in results.rglob("*.parquet")} == tables
    pesatlas(folder, "verify")
    assert stale(folder) == {}
    assert "Nothing to be done" in folder.run()
    # by somebody's own wish, and so it stays
    pesatlas(folder, "export", "mace")
    folder.change({"campaign.name": "again"})
    folder.run()
    assert below(results, "export", format="mace").is_file()


def test_a_source_that_changed_after_a_copy_is_named_and_read_again(tmp_path):
    folder = SmallCampaign(
        tmp_path / "campaign",
        TINY | {"structures.sources": [{"kind": "files", "paths": ["crystals"]}]},
    )
    crystals = folder.path / "crystals"
    crystals.mkdir()
    write(crystals / "a.cif", bulk("Si"))
    pesatlas(folder, "run", "results/structures.parquet")
    copied = copy_of(folder, tmp_path / "copied")
    shutil.rmtree(copied.path / ".snakemake")
    for path in copied.path.rglob("*"):
        os.utime(path)
    assert stale(copied) == {}
    write(copied.path / "crystals" / "b.cif", bulk("Ge"))
    assert stale(copied) == {"structures": 1}
    said = pesatlas(copied, "run", "results/structures.parquet")
    assert "a file of structures.sources differs from the one that it was made from" in said
    assert read_entry(copied.path / "results" / "structures.parquet").counts["sources_read"] == 2
    assert stale(copied) == {}
