"""docs/bad-inputs.md says what each bad input is answered; here each line is tried."""

from pathlib import Path

import pytest
import yaml

from pesatlas.campaign.load import load_campaign, read_campaign
from pesatlas.errors import UserError

ROOT = Path(__file__).parents[2]


def cases():
    rows = [
        line.strip("| ").split(" | ")
        for line in (ROOT / "docs/bad-inputs.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    return [(change.strip("`"), message) for change, message in rows]


def apply(raw, change):
    """Apply 'section.key: value' to a raw configuration; the value is YAML, 'section.key -' removes the
    key."""
    remove = change.endswith(" -")
    key, value = (change.removesuffix(" -"), None) if remove else change.split(": ", 1)
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    for parent in parents:
        raw = raw[parent]
    if remove:
        del raw[last]
    else:
        raw[last] = yaml.safe_load(value)


def test_there_are_enough_cases():
    assert len(cases()) >= 15


@pytest.mark.parametrize(("change", "message"), cases())
def test_a_bad_input_gets_the_documented_message(change, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    apply(raw, change)
    with pytest.raises(UserError) as error:
        load_campaign(raw, "config.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith("config.yaml: 1 problem(s)")


def test_elements_of_weights_that_are_yet_to_be_fetched_are_not_asked_for(tmp_path):
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    raw["structures"]["elements"] = ["Si"]
    raw["explore"]["potential"] = {"kind": "matgl", "name": "small", "cache": str(tmp_path)}
    load_campaign(raw)
    raw["structures"]["elements"] = ["Si", "U"]
    with pytest.raises(UserError, match=r"gpaw\) does not know U"):
        load_campaign(raw)


def test_every_problem_is_named_at_once():
    raw = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    apply(raw, "explore.timestep_fs: -1")
    apply(raw, "select.target: 0")
    apply(raw, "label.levls: [pbe]")
    with pytest.raises(UserError) as error:
        load_campaign(raw, "config.yaml")
    for key in ("3 problem(s)", "explore.timestep_fs", "select.target", "label.levls"):
        assert key in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("", "contains no configuration"), (None, "no such file")],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_campaign(path)


def test_yaml_cannot_run_code(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    with pytest.raises(UserError, match="not valid YAML"):
        read_campaign(path)
    assert not (tmp_path / "made").exists()
