"""Releases never change, and say what is new and why."""

import json
import os
import shutil
import subprocess

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import pesatlas
from collecting import collect
from pesatlas.cli.main import app
from pesatlas.cli.reproduce import reproduce
from pesatlas.config.dataset import Card, Dataset, Rule, Rules, Split
from pesatlas.dataset.card import write_card
from pesatlas.dataset.changes import compare
from pesatlas.dataset.explain import explain
from pesatlas.dataset.export import export_dataset
from pesatlas.dataset.release import latest, release
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from strain_files import definitions, store


@pytest.fixture
def released(finished, tmp_path):
    write_card(Card(), finished)
    export_dataset(finished, "extxyz", finished / "exports/extxyz", verdicts=["accepted"])
    return release(finished, "2026.1", tmp_path / "releases")


def test_a_release_is_whole_opens_and_cannot_be_made_twice(finished, released):
    assert verify(released) == []
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=released, check=True)
    atlas = pesatlas.open(released)
    assert len(list(atlas.atoms("pbe"))) == 4
    assert "snapshots" not in atlas.tables
    story = dict(explain(atlas, "NaCl:unit:300K-0GPa:0000050"))
    assert story.keys() >= {"snapshot", "selection", "label at pbe"}
    with pytest.raises(UserError, match="Of NaCl there are 3"):
        explain(atlas, "NaCl:unit:300K-0GPa:0000051")
    assert (released / "exports/extxyz/test-PBE.extxyz").is_file()
    assert (released / "CITATION.cff").is_file()
    assert all(not path.stat().st_mode & 0o222 for path in released.rglob("*") if path.is_file())
    with pytest.raises(UserError, match="a release never changes"):
        release(finished, "2026.1", released.parent)
    with pytest.raises(UserError, match="not a valid name for a release"):
        release(finished, "../x", released.parent)


def test_the_citation_of_a_release_has_its_version(finished, released):
    before, after = (yaml.safe_load((folder / "CITATION.cff").read_text()) for folder in (finished, released))
    assert "version" not in before
    assert after == {**before, "version": "2026.1"}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda r: (r / "card.md").unlink(), "lost since the release"),
        (lambda r: (r / "extra.txt").write_text("x"), "is not part of the release"),
        (lambda r: (r / "exports/extxyz/test-PBE.extxyz").write_text("x"), "changed since the release"),
    ],
)
def test_a_release_that_was_changed_is_refused(released, damage, complaint):
    for path in released.rglob("*"):
        path.chmod(0o755)
    damage(released)
    assert any(complaint in problem for problem in verify(released))


def test_what_is_not_sound_is_not_released(finished, tmp_path):
    path = finished / "dataset/pbe/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="fails verification"):
        release(finished, "1", tmp_path / "releases")
    assert latest(tmp_path / "releases") is None


def test_an_export_of_another_state_is_not_released(campaign, tables, tmp_path):
    results, files, _ = tables
    collect(campaign, results, files)
    export_dataset(results, "extxyz", results / "exports/extxyz", verdicts=["accepted"])
    campaign.dataset = Dataset(split=Split(valid=0.0, test=0.9))
    collect(campaign, results, files)
    with pytest.raises(UserError, match="another state of the dataset"):
        release(results, "1", tmp_path / "releases")


def test_a_release_says_what_is_new_and_why(campaign, tables, write_labels, tmp_path):
    results, _, labels = tables
    labels[0]["forces_eV_per_A"][0] += 0.03  # its net force breaks the rule
    campaign.dataset = Dataset(rules=Rules(net_force=Rule(limit=0.05, then="quarantine")))
    collect(campaign, results, write_labels(results, labels))
    first = release(results, "2026.1", tmp_path / "releases")
    # a stricter rule takes one away; another label was made again; one failed
    campaign.dataset = Dataset()
    labels[2]["energy_eV"] -= 0.1
    labels[2]["free_energy_eV"] -= 0.1
    collect(campaign, results, write_labels(results, labels))
    second = release(results, "2026.2", tmp_path / "releases")
    about = json.loads((second / "release.json").read_text())
    assert about["since"] == "2026.1"
    pbe, r2scan = (about["changes"]["levels"][level] for level in ("pbe", "r2scan"))
    assert pbe["rows"] == [4, 3]
    assert pbe["removed"]["why"] == {"now in quarantine (net_force)": 1}
    assert pbe["removed"]["examples"] == [labels[0]["snapshot_id"]]
    assert pbe["changed"]["why"] == {"label, cohesive or formation energy": 1}
    assert pbe["changed"]["examples"] == [labels[2]["snapshot_id"]]
    assert r2scan["added"]["rows"] == r2scan["removed"]["rows"] == r2scan["changed"]["rows"] == 0
    assert about["changes"]["settings"] == {"dataset.rules.net_force.limit": [0.05, 0.02]} | (
        {"dataset.rules.net_force.source": about["changes"]["settings"]["dataset.rules.net_force.source"]}
    )
    assert "now in quarantine (net_force): 1" in (second / "CHANGES.md").read_text()
    back = compare(second, first)["levels"]["pbe"]
    assert back["added"]["why"] == {"was in quarantine (net_force)": 1}


def test_a_diff_against_an_older_schema_says_that_it_is_no_other_label(finished, older, tmp_path):
    shutil.copytree(older, tmp_path / "old")
    changes = compare(tmp_path / "old", finished)
    assert changes["levels"]["pbe"]["rows"] == [4, 4]
    assert set(changes["levels"]["pbe"]["changed"]["why"]) == {
        "label, level"
    }  # other stresses in this fixture


def test_the_commands_tell(finished, released, tmp_path):
    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        return done.output

    assert "0 changed." in invoke("diff", released, finished)
    assert json.loads(invoke("diff", released, finished, "--json"))["settings"] == {}
    assert "2026.2 against 2026.1" in invoke("release", "2026.2", finished, "--to", released.parent)
    assert "whole" in invoke("verify", released.parent / "2026.2")


def test_the_last_release_is_told_by_what_it_was_compared_with_not_by_the_time_of_a_copy(finished, tmp_path):
    folder = tmp_path / "releases"
    for version in ("2026.1", "2026.2"):
        release(finished, version, folder)
    path = folder / "2026.1" / "release.json"
    os.utime(path, (path.stat().st_mtime + 3600,) * 2)
    assert latest(folder).name == "2026.2"


def test_a_release_keeps_the_strain_tests_of_its_levels_and_no_others(finished, tmp_path):
    levels = definitions(finished)
    path = store(finished, levels["pbe"])
    store(finished, levels["r2scan"] | {"settings": {"cutoff_eV": 500.0}})
    write_card(Card(), finished)
    found = release(finished, "2026.1", tmp_path / "releases")
    assert verify(found) == []
    kept = {each.name for each in (found / "strain").iterdir()}
    assert kept == {path.name}
    raw = json.loads((found / "strain" / path.name).read_text())
    assert raw == json.loads(path.read_text()) | {"command": None}
    shown = [json.loads((each / "card.json").read_text())["strain_tests"] for each in (finished, found)]
    assert shown[0] == shown[1]
    assert shown[0].startswith("pesatlas-strain-")
    reproduce("NaCl:unit:300K-0GPa:0000050", found, tmp_path / "again", Console())
    level = json.loads((tmp_path / "again/pbe/level.json").read_text())
    assert level["strain"]["difference_GPa"] == 0.03
    assert "strain" not in json.loads((tmp_path / "again/r2scan/level.json").read_text())


def test_a_card_from_before_a_strain_test_is_not_released(finished, tmp_path):
    write_card(Card(), finished)
    store(finished, definitions(finished)["pbe"])
    with pytest.raises(UserError, match="shows other strain tests than"):
        release(finished, "2026.1", tmp_path / "releases")
