"""Files that the public sees first: each command, path and name in them is one of the repository."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def workflow(name):
    return yaml.safe_load((GITHUB / "workflows" / name).read_text())


def commands(jobs):
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("name", ["checks.yml", "nightly.yml"])
def test_workflows_run_what_the_repository_has(name):
    makefile = (ROOT / "Makefile").read_text()
    ran = commands(workflow(name)["jobs"])
    assert ran
    for command in ran:
        for target in re.findall(r"^make (\S+)", command):
            wanted = target.replace(".venv", "$(VENV)")
            assert re.search(rf"^{re.escape(wanted)}:", makefile, re.MULTILINE), f"make has no {target}"
    if name == "nightly.yml":
        assert any(".ci/run" in command for command in ran)


def test_quick_tests_run_on_the_lowest_and_the_highest_python():
    tried = workflow("checks.yml")["jobs"]["quick-tests"]["strategy"]["matrix"]["python"]
    told = [
        name.rpartition(" ")[2]
        for name in PROJECT["classifiers"]
        if name.startswith("Programming Language :: Python :: 3.")
    ]
    assert PROJECT["requires-python"] == f">={tried[0]}"
    assert (tried[0], tried[-1]) == (told[0], told[-1])


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem)
def test_issue_forms_are_forms(path):
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        return
    assert {"name", "description", "body"} <= set(form)
    names = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(names) == len(set(names))


def test_the_catalog_names_a_profile_that_is_there():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    option, profile = usage["mandatory-flags"]["flags"].split()
    assert option == "--profile"
    assert (ROOT / profile / "config.yaml").is_file()


def test_the_page_of_configurations_has_every_one_of_them():
    told = set(re.findall(r"^\| `(\S+\.yaml)`", (ROOT / "config" / "README.md").read_text(), re.MULTILINE))
    assert told == {path.name for path in (ROOT / "config").glob("*.yaml")}


def test_the_dev_container_is_built_from_a_file_that_is_there():
    folder = ROOT / ".devcontainer"
    made_of = json.loads((folder / "devcontainer.json").read_text())
    assert (folder / made_of["build"]["dockerfile"]).is_file()


def test_the_package_ships_its_types():
    assert (ROOT / "src" / "pesatlas" / "py.typed").is_file()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "py.typed" in settings["package-data"]["pesatlas"]
