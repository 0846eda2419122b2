"""Common mistakes with `pesatlas run`: answered in our words, and nothing starts."""

import shlex

import pytest
from typer.testing import CliRunner

from pesatlas.cli import run as run_module
from pesatlas.cli.main import app
from pesatlas.cli.run_arguments import read_arguments

MISTAKES = [
    ("-j", "--jobs needs a number", "pesatlas run --jobs 4"),
    ("-j four", "--jobs needs a number", "pesatlas run --jobs 4"),
    ("--cores", "--cores needs a number", "pesatlas run --cores 4"),
    ("--forceall", "finished trajectories and labels come from the store", "pesatlas run --forcerun RULE"),
    ("-F", "finished trajectories and labels come from the store", "pesatlas retry"),
    ("config.yaml", "is read without being named", "`pesatlas run`"),
    ("other.yaml", "named with --config", "pesatlas run --config other.yaml"),
    ("nowhere.yaml", "no such file", "pesatlas run --config nowhere.yaml"),
    ("--config nowhere.yaml", "nowhere.yaml: no such file", "Correct the name"),
    ("--configfile nowhere.yaml", "nowhere.yaml: no such file", "Correct the name"),
    ("--configfile", "needs a file", "pesatlas run --config other.yaml"),
    ("--config", "needs a file", "pesatlas run --config other.yaml"),
    ("--config select.target=3", "settings are in config.yaml", "`select: {target: 3}`"),
    ("--config selct=3", "no section 'selct'", "Did you mean select?"),
    ("--config x=y", "no section 'x'", "pesatlas run --config other.yaml"),
    ("run_md", "has several jobs", "pesatlas run --until run_md"),
    ("run_mb", "no folder, rule or file of that name", "Did you mean run_md?"),
    ("explore", "is a stage", "pesatlas run --until run_md"),
    ("status", "is a command of its own", "`pesatlas status`"),
    ("matpes", "is a preset", "pesatlas config new --preset matpes > config.yaml"),
    ("--cluster sbatch", "written in a profile", "pesatlas run --profile profiles/slurm"),
    ("--nosuch", "there is no such option", "pesatlas run --help"),
    ("--untl run_md", "there is no such option", "Did you mean --until?"),
    ("--directory /elsewhere", "name the folder alone", "pesatlas run /elsewhere"),
    ("--profile slurm", "no such folder", "Did you mean profiles/slurm?"),
    ("empty", "has no config.yaml", "pesatlas init CELLS..."),
    ("empty other", "a run is of one campaign", "Name one folder"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "other.yaml"):
        (tmp_path / name).write_text("")
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(("typed", "wrong", "remedy"), MISTAKES, ids=[each[0] for each in MISTAKES])
def test_a_mistake_is_answered_with_the_command_that_was_meant(folder, monkeypatch, typed, wrong, remedy):
    monkeypatch.setenv("COLUMNS", "500")
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(app, ["run", *shlex.split(typed)])
    assert done.exit_code == 1, done.output
    assert wrong in done.stderr
    assert remedy in done.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-n", "-n"),
        ("-np -j 4 all", "-np -j 4 all"),
        ("results/card.json build_report", "results/card.json build_report"),
        ("--until run_md", "--until run_md"),
        ("-R fit_pca --cores 2", "-R fit_pca --cores 2"),
        ("-n --forceall", "-n --forceall"),
        ("--config 'explore={length_ps: 0.05}' -n", "--config 'explore={length_ps: 0.05}' -n"),
        ("--config other.yaml -n", "--configfile other.yaml -n"),
        ("--config other.yaml results/card.json", "results/card.json --configfile other.yaml"),
        ("--configfile=other.yaml", "--configfile other.yaml"),
        ("-- --help", "-- --help"),
    ],
)
def test_what_snakemake_understands_is_left_to_it(folder, typed, expected):
    given = read_arguments(shlex.split(typed))
    assert given.snakemake == shlex.split(expected)
    assert given.folder.resolve() == folder


def test_a_folder_is_that_of_the_campaign(folder, monkeypatch):
    (folder / "other" / "config.yaml").write_text("")
    started = []

    def call(command, cwd):
        started.append((cwd.resolve(), command))
        return 0

    monkeypatch.setattr(run_module.subprocess, "call", call)
    monkeypatch.setattr(run_module, "files_to_make_again", lambda *_: run_module.Again())
    done = CliRunner().invoke(app, ["run", "other", "-n", "--config", "other.yaml"])
    assert done.exit_code == 0, done.output
    ((where, command),) = started
    assert where == folder / "other"
    # a file that is named is as seen from where the command was typed
    assert command[command.index("--configfile") + 1] == str(folder / "other.yaml")


def test_a_workflow_of_ones_own_has_other_settings_and_rules(folder):
    (folder / "Snakefile").write_text("rule another:\n    output: 'results/other.txt'\n")
    typed = ["another", "--config", "letters=ab", "-n"]
    assert read_arguments(typed).snakemake == typed
