"""The shape of every command: the folder of a campaign, --config, --to, --json, `~`, groups of the help."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pesatlas.campaign.load import load_campaign
from pesatlas.cli.app import LOOK, RUN, SHARE, START
from pesatlas.cli.main import app
from pesatlas.cli.new_config import new_config

FINISHED = Path(__file__).parents[1] / "dataset" / "schema_5"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a finished campaign and one that has not begun; commands are typed elsewhere."""
    shutil.copytree(FINISHED, tmp_path / "mine" / "results")
    for name in ("mine", "fresh"):
        (tmp_path / name / "store").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text(new_config("demo", None, every=False))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(typed, expect=0):
    done = CliRunner().invoke(app, shlex.split(typed), prog_name="pesatlas")
    assert done.exit_code == expect, done.output
    return done


@pytest.fixture
def row():
    import pyarrow.parquet as pq

    return pq.read_table(FINISHED / "selection.parquet", columns=["snapshot_id"])["snapshot_id"][0].as_py()


SILICON = "Si\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"
OF_A_FOLDER = [
    "summary {}",
    "verify {}",
    "query worst-forces {}",
    "explain ROW {}",
    "failures {}",
    "export extxyz {} --to exported",
    "diff {} {}",
    "release 2026.1 {} --to releases",
    "config check {}",
    "plan ../fresh --structures 4",
    "status ../fresh",
    "store repair {} --dry-run",
]


@pytest.mark.parametrize("typed", OF_A_FOLDER)
def test_the_folder_of_a_campaign_can_be_named_from_anywhere(home, row, typed):
    done = run(typed.replace("{}", "../mine").replace("ROW", row))
    assert done.output


@pytest.mark.parametrize("typed", ["doctor {}", "cluster {}", "plan {}", "retry {}", "outputs ROW {} --to x"])
def test_a_folder_that_is_no_campaign_is_named(home, typed):
    done = run(typed.replace("{}", "."), expect=1)
    assert "config.yaml" in done.output
    done = run(typed.replace("{}", str(home)), expect=1)
    assert f"no campaign in {home}: there is no config.yaml" in done.stderr
    assert not list((home / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "typed",
    [
        "summary ../mine",
        "verify ../mine",
        "query worst-forces ../mine",
        "explain ROW ../mine",
        "failures ../mine",
        "diff ../mine ../mine",
        "plan ../fresh --structures 4",
        "status ../fresh",
        "describe ../mine/results/selection.parquet",
        "gaps ../mine",
        "export extxyz ../mine --to exported",
        "release 2026.1 ../mine",
        "retry ../fresh",
        "compatible ../mine/results --with ../mine/results",
    ],
)
def test_json_is_json_and_nothing_else(home, row, typed):
    assert json.loads(run(typed.replace("ROW", row) + " --json").stdout) is not None


def test_a_home_is_expanded_on_the_command_line(home):
    run("query worst-forces '~/mine' --to=~/rows.csv")
    assert (home / "rows.csv").is_file()
    run("status --config=~/fresh/config.yaml '~/fresh'")
    assert not list((home / "elsewhere").iterdir())


def test_a_home_is_expanded_in_a_configuration(home):
    raw = {
        "campaign": {"store": "~/store", "read_stores": ["~/others"]},
        "structures": {"sources": [{"kind": "materials_project", "cache": "~/mp.parquet"}]},
        "explore": {"potential": {"kind": "matgl", "path": "~/weights"}},
        "select": {"reference": ["~/labelled/*.extxyz"]},
        "label": {"scratch": "~/scratch"},
    }
    campaign = load_campaign(raw, extensions=False)
    assert campaign.campaign.store == f"{home}/store"
    assert campaign.campaign.read_stores == [f"{home}/others"]
    assert campaign.structures.sources[0].cache == f"{home}/mp.parquet"
    assert campaign.explore.potential.path == home / "weights"
    assert campaign.select.reference == [f"{home}/labelled/*.extxyz"]
    assert campaign.label.scratch == home / "scratch"


def test_a_former_name_of_an_option_still_works_and_says_so_once(home):
    done = run("select nowhere.xyz --count 3 --out picked.extxyz", expect=1)
    assert done.stderr.count("--out is called --to now; the former name still works") == 1
    assert "'nowhere.xyz' does not exist" in done.stderr
    assert "--out" not in run("select --help").stdout


def test_a_configuration_is_written_to_a_file(home):
    run("config new --to new.yaml")
    run("config check new.yaml")
    assert "new.yaml is a valid campaign" in run("config check --config new.yaml").output
    assert "new.yaml is a valid campaign" in run("config check . --config new.yaml").output
    assert "give one configuration" in run("config check a.yaml --config new.yaml", expect=1).stderr
    assert "exists already" in run("config new --to new.yaml", expect=1).stderr


def test_crystals_of_a_named_folder_are_looked_for_there(home):
    campaign = home / "own"
    (campaign / "cells").mkdir(parents=True)
    (campaign / "cells" / "POSCAR").write_text(SILICON)
    (campaign / "config.yaml").write_text("structures: {sources: [{kind: files, paths: [cells]}]}\n")
    assert "../own/config.yaml is a valid campaign" in run("config check ../own").output
    assert "1 crystals" in run("plan ../own").output


def test_the_help_has_four_groups_in_the_order_of_a_campaign(home):
    page = run("--help").stdout
    assert re.findall(r"─ (\w+) ─", page) == ["Options", START, RUN, LOOK, SHARE]
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        assert command.rich_help_panel in {START, RUN, LOOK, SHARE}, name
