"""Every command in the README and the documentation is run, in the folder of a finished campaign."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# These set up an environment and run everything: .ci/run runs them.
BY_CI = {"make demo", "make test"}
# Each command is run in a shell of its own, which is in the environment already.
ACTIVATE = "source .venv/bin/activate"


def commands_of(page):
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def commands():
    return list(dict.fromkeys(command for page in PAGES for command in commands_of(page)))


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A copy of the finished campaign in a folder that looks like a checkout."""
    path = tmp_path_factory.mktemp("docs") / "checkout"
    shutil.copytree(tiny.path, path)
    for name in ("Snakefile", "workflow", "scripts", "profiles", "config", "docs"):
        (path / name).symlink_to(ROOT / name)
    (path / "cells").mkdir()
    silicon = "Si\n1.0\n0 2.7 2.7\n2.7 0 2.7\n2.7 2.7 0\nSi\n2\ndirect\n0 0 0\n0.25 0.25 0.25\n"
    (path / "cells" / "POSCAR").write_text(silicon)
    return path


@pytest.mark.parametrize("command", [c for c in commands() if c not in BY_CI | {ACTIVATE}])
def test_a_documented_command_works(command, folder):
    before = (folder / "config.yaml").read_text()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        (folder / "config.yaml").write_text(before)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if BY_CI & set(commands_of(page))], ids=lambda p: p.name
)
def test_a_page_that_sets_up_the_environment_enters_it_before_it_uses_it(page):
    given = commands_of(page)
    first = min(i for i, command in enumerate(given) if command.startswith("pesatlas"))
    assert ACTIVATE in given[:first]


def test_ci_runs_the_commands_that_set_up_everything():
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(command in ci for command in BY_CI)
    assert set(commands()) >= BY_CI


def test_the_rule_graph_in_the_readme_is_current(folder):
    snakemake = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"]
    graph = subprocess.run(snakemake, cwd=folder, capture_output=True, text=True, check=True).stdout

    def edges(text):
        names = dict(re.findall(r"(id\d+)\[(\w+)\]", text))
        return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", text)}

    assert edges((ROOT / "README.md").read_text()) == edges(graph)
    assert len(edges(graph)) > 15


def test_links_lead_to_the_pages_of_projects_not_to_registries_of_packages():
    sources = [
        *PAGES,
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "config").glob("*.yaml"),
        ROOT / "CHANGELOG.md",
    ]
    for page in sources:
        for host in re.findall(r"https?://([\w.-]+)", page.read_text()):
            assert not {"pypi", "npmjs", "anaconda", "pythonhosted"} & set(host.split(".")), (
                f"{page.name}: {host}"
            )


def test_links_in_the_documentation_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
