"""The house as it was designed: imports only go down, files stay small, scripts stay thin."""

import subprocess
import sys
import tomllib
from functools import cache

import pytest
import yaml

from house import CAMPAIGN, FLOOR, GROUND, PICTURE, ROOT, SOURCE, STAGES, draw, imports, modules


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down(path):
    room = path.relative_to(SOURCE).parts[0]
    for target in imports(path):
        if target != room:
            assert FLOOR[target] <= FLOOR[room], f"{room} imports {target}, which lies above"
            assert not (room in STAGES and target in STAGES), f"stage {room} imports stage {target}"


def test_every_room_has_a_floor():
    rooms = {path.name for path in SOURCE.iterdir() if path.name not in {"__pycache__", "py.typed"}}
    assert rooms == set(FLOOR)


def test_the_picture_of_the_house_is_current():
    assert PICTURE.read_text() == draw(), "run: python tests/house.py"


LOAD = """
import pkgutil, sys
from importlib import import_module

room = import_module(f"pesatlas.{sys.argv[1]}")
for module in pkgutil.walk_packages(getattr(room, "__path__", []), f"{room.__name__}."):
    import_module(module.name)
print(*(name for name in sys.modules if name.startswith("pesatlas.") or name in {"torch", "pandas", "pymatgen"}))
"""


@cache
def loaded_with(room):
    """Names of modules in a process that imports a whole room."""
    command = [sys.executable, "-c", LOAD, room.removesuffix(".py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("room", [*GROUND, "dynamics", "frames"])
def test_a_room_that_needs_no_configuration_loads_nothing_from_above(room):
    loaded = {name.split(".")[1] for name in loaded_with(room) if name.startswith("pesatlas.")}
    floors = FLOOR | {name.removesuffix(".py"): floor for name, floor in FLOOR.items()}
    assert [name for name in loaded if floors[name] > floors[room]] == []


@pytest.mark.parametrize("room", [*GROUND, *CAMPAIGN])
def test_a_configuration_is_read_without_torch(room):
    assert "torch" not in loaded_with(room)


KNOW_THE_CAMPAIGN = {
    "campaign/job.py",  # the door of scripts
    # fewer from step to step
    "campaign/rules.py",
    "dataset/collect.py",
    "dataset/mixed.py",
    "report/advice.py",
    "report/parity.py",
}


def test_below_the_doors_nothing_takes_the_whole_campaign():
    doors = {"cli", "monitor", "testing", "config"}
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in doors and "pesatlas.config.campaign" in set(modules(path))
    }
    assert found == KNOW_THE_CAMPAIGN, "each stage takes its section of the configuration, a seed and paths"


def test_the_citation_has_the_version_and_licence_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_no_file_over_600_lines_and_the_snakefile_under_100():
    files = [*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    assert [str(f) for f in files if len(f.read_text().splitlines()) > 600] == []
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 100


def test_tests_run_in_random_order():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(
        need.startswith("pytest-randomly") for need in project["project"]["optional-dependencies"]["dev"]
    )
    options = project["tool"]["pytest"]["ini_options"]["addopts"] + (ROOT / "Makefile").read_text()
    assert "no:randomly" not in options
    assert "randomly-dont" not in options


def test_every_rule_has_a_script_of_its_name_and_every_script_a_rule():
    rules = {
        line.split()[1].rstrip(":")
        for f in (ROOT / "workflow/rules").glob("*.smk")
        for line in f.read_text().splitlines()
        if line.startswith(("rule ", "checkpoint "))
    }
    scripts = {f.stem for f in (ROOT / "scripts").glob("*.py")}
    assert rules == scripts


def test_gpl_code_is_called_and_never_imported():
    importers = [
        p
        for p in SOURCE.rglob("*.py")
        if any(line.lstrip().startswith(("import gpaw", "from gpaw")) for line in p.read_text().splitlines())
    ]
    assert [p.name for p in importers] == ["_gpaw_static.py"]
