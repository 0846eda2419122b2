"""Libraries are dependencies where they are used: what is imported is declared, what is declared is
imported."""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pesatlas.runtime.extras import EXTRA_OF

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Their names in Python are not those of a distribution, or belong to one that is declared.
PART_OF = {
    "annotated_types": "pydantic",
    "pydantic_core": "pydantic",
    "snakemake_interface_executor_plugins": "snakemake",
    "pymatgen": "pymatgen",
    "pymatgen.analysis.defects": "pymatgen-analysis-defects",
}
# Never imported: programs, data, and plugins that Snakemake finds by itself.
NOT_IMPORTED = {"gpaw-data", "snakemake-executor-plugin-cluster-sync"}
# Imported where only an extra needs it. GPAW's is a program of its own.
PLACES = {
    "altair": ("report/", "benchmark/error_figure.py", "cli/convergence_figure.py", "cli/gaps_map.py"),
    "vl_convert": ("report/", "benchmark/error_figure.py", "cli/convergence_figure.py", "cli/gaps_map.py"),
    "chemiscope": ("report/",),
    "markupsafe": ("report/",),
    "lightning": ("train/",),
    "mp_api": ("structures/sources/materials_project.py",),
    "custodian": ("label/vasp/",),
    "openpyxl": ("dataset/query_files.py",),
    "ase_db_backends": ("dataset/exporters/aselmdb.py",),
    "matcalc": (),
    "phonopy": ("benchmark/properties/heat_capacity.py",),
    "chgnet": ("potentials/",),
    "gpaw": ("label/backends/_gpaw_static.py",),
    "pytest": ("testing/",),
    "pymatgen.analysis.defects": ("structures/defects.py",),
    "snakemake_executor_plugin_slurm": ("cli/slurm_executor.py",),
}
# Read as files, found by name.
FOUND = {"chemiscope", "matcalc", "chgnet"}


def names(requirements):
    return {canonicalize_name(Requirement(each).name) for each in requirements}


BASE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(each) for extra, each in PROJECT["optional-dependencies"].items() if extra != "dev"}


@cache
def imported():
    """Return where each module that is no part of Python is imported: paths in src/pesatlas and scripts."""
    found = defaultdict(set)
    for folder in (ROOT / "src" / "pesatlas", ROOT / "scripts"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules = [f"{node.module}.{alias.name}" for alias in node.names]
                for module in modules:
                    top = module.partition(".")[0]
                    if module.startswith("pymatgen.analysis.defects"):
                        top = "pymatgen.analysis.defects"
                    if top not in sys.stdlib_module_names and top not in {"pesatlas", "__main__"}:
                        found[top].add(str(path.relative_to(folder)))
    return dict(found)


@cache
def distributions():
    return packages_distributions()


def distribution(module):
    return canonicalize_name(PART_OF.get(module) or distributions().get(module, [module])[0])


def test_what_is_imported_is_declared():
    declared = BASE.union(*EXTRAS.values())
    assert {m for m in imported() if distribution(m) not in declared} == set()


def test_what_is_declared_is_imported():
    used = {distribution(module) for module in {*imported(), *FOUND}} | NOT_IMPORTED
    assert BASE.union(*EXTRAS.values()) - used == set()


def test_an_extra_is_imported_where_it_is_needed_and_nowhere_else():
    of_extras = {m: paths for m, paths in imported().items() if distribution(m) not in BASE}
    strays = {(m, path) for m, paths in of_extras.items() for path in paths if not path.startswith(PLACES[m])}
    assert strays == set()
    # a library of the plain installation is no extra as well
    assert BASE & set().union(*EXTRAS.values()) == set()


def test_the_extra_that_a_message_names_brings_the_module():
    assert {m: e for m, e in EXTRA_OF.items() if distribution(m) not in EXTRAS[e]} == {}
    assert {m for m in imported() if distribution(m) not in BASE} - EXTRA_OF.keys() == {"gpaw"}


@pytest.mark.parametrize("script", ["install.sh", "environment.post-deploy.sh"])
def test_the_scripts_that_install_take_every_extra(script):
    (listed,) = re.findall(r"--editable '\.\[(.+)\]'", (ROOT / "envs" / script).read_text())
    assert set(listed.split(",")) - {"dev"} == EXTRAS.keys() - {"testing"}


def test_the_versions_that_were_tested_together_are_those_that_are_asked_for():
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if not line.startswith("#"))
    }
    every = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    wrong = [
        each
        for each in map(Requirement, every)
        if not each.specifier.contains(pinned.get(canonicalize_name(each.name), "0"), prereleases=True)
    ]
    assert wrong == []
