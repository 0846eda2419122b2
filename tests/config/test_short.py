"""`pesatlas config new`: a short file is the same campaign as the file with every key."""

import pytest
import yaml
from typer.testing import CliRunner

from pesatlas.campaign.load import read_campaign
from pesatlas.cli.main import app
from pesatlas.config.presets import PRESETS, preset


def written(*options):
    done = CliRunner().invoke(app, ["config", "new", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", PRESETS)
def test_a_short_file_is_the_same_campaign_as_the_long_one(name, tmp_path):
    short, long = (written("--preset", name, *options) for options in ((), ("--all",)))
    for text in (short, long):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        assert read_campaign(path, extensions=False) == preset(name)[0]
    assert len(short.splitlines()) < len(long.splitlines()) / 2


def test_a_short_file_keeps_the_remarks_of_its_keys_and_says_where_the_others_are():
    text = written("--preset", "hydrides")
    _, remarks, _ = preset("hydrides")
    raw = yaml.safe_load(text)
    assert "`pesatlas config new --all` shows every key" in text
    for key in ("structures.domains.0.given_at_GPa", "explore.timestep_fs", "explore.abort.min_distance_A"):
        assert f"# {remarks[key]}" in text
    # a default is not in it, with or without a remark
    assert "thermostat_tau_fs" not in raw["explore"]
    assert "dataset" not in raw
