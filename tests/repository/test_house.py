"""The house as it was designed: imports only go down, files stay small, scripts stay thin."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter

import pytest
import yaml

from house import CAMPAIGN, FLOOR, GROUND, PICTURE, ROOT, SOURCE, STAGES, draw, imports
from pesatlas.config.plugins import EXTENSIONS
from pesatlas.tables import SCHEMAS


def upward(path):
    """Imports of a file that lead to a room above its own, or to another stage."""
    room = path.relative_to(SOURCE).parts[0]
    for target in set(imports(path)) - {room}:
        if FLOOR[target] > FLOOR[room]:
            yield f"{path.relative_to(SOURCE)} imports {target}, which lies above"
        if room in STAGES and target in STAGES:
            yield f"{path.relative_to(SOURCE)}: stage {room} imports stage {target}"


def test_imports_only_go_down():
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 300
    assert [wrong for path in files for wrong in upward(path)] == []


def test_a_configuration_knows_no_results():
    for path in (SOURCE / "config").rglob("*.py"):
        assert "campaign" not in imports(path), f"{path.name} imports campaign/, which opens results"


def modules():
    """Path of every module by its name."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("pesatlas", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_modules(path, known):
    """Modules that one imports, at its top or in its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{name.name}" for name in node.names]
            yield from (name if name in known else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_no_modules_import_each_other_in_a_circle():
    known = modules()
    # the package itself, which has the version, is imported before any of its modules
    graph = {
        name: {each for each in imported_modules(path, known) if each in known} - {name, "pesatlas"}
        for name, path in known.items()
    }
    assert len(graph["pesatlas.campaign.layout"]) > 0
    # names the modules of a circle, if there is one
    assert list(TopologicalSorter(graph).static_order())


KNOW_THE_CAMPAIGN = {
    "campaign": {"job.py", "load.py", "made_with.py", "named_potentials.py", "rounds.py", "rules.py"},
    # the manifest of a dataset holds the whole configuration, which its tables are compared with
    "dataset": {"collect.py", "mixed.py"},
}
"""Modules below the doors that import the whole configuration, by their rooms."""


def test_below_the_doors_each_takes_its_section_of_the_configuration():
    known = modules()
    found = {}
    for path in known.values():
        room = path.relative_to(SOURCE).parts[0]
        if "pesatlas.config.campaign" in imported_modules(path, known):
            found.setdefault(room, set()).add(path.relative_to(SOURCE / room).as_posix())
    doors = {"cli", "monitor", "testing", "config"}
    assert {room: found[room] for room in found.keys() - doors} == KNOW_THE_CAMPAIGN


def test_every_room_has_a_floor():
    rooms = {path.name for path in SOURCE.iterdir() if path.name not in {"__pycache__", "py.typed"}}
    assert rooms == set(FLOOR)


def test_the_picture_of_the_house_is_current():
    assert PICTURE.read_text() == draw(), "run: python tests/house.py"


def test_the_page_of_the_architecture_names_every_room_rule_and_table():
    names = set(re.findall(r"`(\w+)(?:\.py|\.smk|/)?`", (ROOT / "docs" / "architecture.md").read_text()))
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    optional = {
        line.split()[1].rstrip(":")
        for file in ("round", "compare")
        for line in (ROOT / f"workflow/rules/{file}.smk").read_text().splitlines()
        if line.startswith("rule ")
    }
    rooms = {room.removesuffix(".py") for room in FLOOR} - {"__init__"}
    assert (rooms | set(SCHEMAS) | (scripts - optional)) - names == set()


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


def test_the_citation_has_the_version_and_licence_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_no_file_over_600_lines_and_the_snakefile_under_100():
    files = [*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    assert [str(f) for f in files if len(f.read_text().splitlines()) > 600] == []
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 100


OF_ONE_THING = {
    "benchmark": "a command, its section of the configuration",
    "convergence": "the series of a level: its command, its calculation, its verdict",
    "doctor": "a command, and its view of a campaign",
    "encoder": "the interface of an encoder, by the name under which extensions import it",
    "failures": "a command, and the table that it shows",
    "plan": "a command, and its view of a campaign",
    "release": "a command, and what it makes of a dataset",
    "select": "a command, its section of the configuration",
    "status": "a command, and its view of a campaign",
    "validation": "a command, and its errors and verdict",
}
"""Names of several modules that are about one thing, with that thing."""


def test_files_that_mean_different_things_have_different_names():
    # a kind of extension, the name of one, and its level: kinds of one code are called alike on purpose
    by_kind = {path.parent for path in SOURCE.rglob("__init__.py")} & {
        SOURCE / group.removeprefix("pesatlas.").replace(".", "/") for group in EXTENSIONS.values()
    }
    by_kind |= {SOURCE / "dataset" / "exporters", SOURCE / "dataset" / "importers", SOURCE / "levels"}
    found = {}
    for path in SOURCE.rglob("*.py"):
        if path.parent not in by_kind and path.name != "__init__.py":
            # the two codes in label/ have the same steps
            place = path.parent.parent if path.parent.name in {"qe", "vasp"} else path.parent
            found.setdefault(path.stem, set()).add(place.relative_to(SOURCE).as_posix())
    twice = {name for name, places in found.items() if len(places) > 1}
    assert twice == OF_ONE_THING.keys()


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
