"""The house as it was designed: imports only go down, files stay small, scripts stay thin."""

import ast
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pesatlas"
STAGES = {"structures", "explore", "encode", "select", "label", "dataset", "train", "benchmark", "report"}
TOOLS = {"potentials", "dynamics", "levels"}
GROUND = {"tables", "storage", "runtime", "atoms", "errors.py"}
FLOOR = {
    "__init__.py": 5,  # the front door: pesatlas.open
    "cli": 5,
    "monitor": 5,
    "testing": 5,
    **dict.fromkeys(STAGES, 4),
    **dict.fromkeys(TOOLS, 3),
    "frames": 3,
    "campaign": 2,
    "config": 1,
    **dict.fromkeys(GROUND, 0),
}


def room_of(module):
    room = module.split(".")[1]
    return room if (SOURCE / room).is_dir() else f"{room}.py"


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pesatlas."):
            yield room_of(node.module)
        elif isinstance(node, ast.Import):
            yield from (room_of(name.name) for name in node.names if name.name.startswith("pesatlas."))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down(path):
    room = path.relative_to(SOURCE).parts[0]
    for target in imports(path):
        if target != room:
            assert FLOOR[target] <= FLOOR[room], f"{room} imports {target}, which lies above"
            assert not (room in STAGES and target in STAGES), f"stage {room} imports stage {target}"


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
