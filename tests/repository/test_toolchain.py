"""Requirements of building GPAW: found with its compiler, also in a conda environment."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A compiler that knows no folder of the system: it finds what -I, -L and the environment name.
COMPILER = """#!/usr/bin/env python3
import os, re, sys
from pathlib import Path
def folders(flag, variable):
    return [a[2:] for a in sys.argv if a.startswith(flag)] + os.environ.get(variable, "").split(":")
headers = re.findall(r"#include <(.+)>", sys.stdin.read())
wanted = [(h, folders("-I", "CPATH")) for h in headers]
wanted += [(f"lib{a[2:]}.so", folders("-L", "LIBRARY_PATH")) for a in sys.argv if a.startswith("-l")]
sys.exit(not all(any(Path(f, name).is_file() for f in where if f) for name, where in wanted))
"""


@pytest.fixture
def conda(tmp_path):
    """Return the environment variables of a conda environment with all that envs/environment.yaml names."""
    prefix = tmp_path / "envs" / "pesatlas"
    compiler = prefix / "bin" / "x86_64-conda-linux-gnu-c++"
    for path in ("include/xc.h", "lib/libxc.so", "lib/libopenblas.so", "lib/libblas.so", compiler):
        file = prefix / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    own = {"CONDA_PREFIX": str(prefix), "CXX": compiler.name, "CC": "not used"}
    return own | {"PATH": f"{compiler.parent}{os.pathsep}{os.environ['PATH']}"}


def source(command, environment):
    script = f". envs/toolchain.sh\n{command}"
    kept = {k: v for k, v in os.environ.items() if k not in {"CPATH", "LIBRARY_PATH", "LDFLAGS", "CXX"}}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def missing(environment):
    return source(f"missing_packages {sys.executable}", environment)


def test_a_conda_environment_with_everything_lacks_nothing(conda):
    assert missing(conda) == []


@pytest.mark.parametrize(
    ("file", "package"), [("lib/libopenblas.so", "libopenblas-dev"), ("lib/libblas.so", "libopenblas-dev")]
)
def test_what_is_not_in_the_conda_environment_is_named(conda, file, package):
    Path(conda["CONDA_PREFIX"], file).unlink()
    assert missing(conda) == [package]


def test_a_conda_environment_without_libxc_is_none_of_ours(conda):
    Path(conda["CONDA_PREFIX"], "include", "xc.h").unlink()
    assert missing(conda) == ["libxc-dev", "libopenblas-dev"]


def test_a_compiler_that_is_not_there_is_named(conda):
    assert "g++" in missing(conda | {"CXX": "no-such-compiler"})


def test_what_is_built_in_a_conda_environment_finds_its_libraries_when_it_runs(conda):
    prefix = conda["CONDA_PREFIX"]
    found = source('echo "$CPATH $LIBRARY_PATH $LDFLAGS $conda_python"', conda)
    assert found == [
        f"{prefix}/include",
        f"{prefix}/lib",
        f"-L{prefix}/lib",
        f"-Wl,-rpath,{prefix}/lib",
        f"{prefix}/bin/python",
    ]


@pytest.mark.skipif(find_spec("_gpaw") is None, reason="GPAW was not built here")
def test_where_gpaw_was_built_nothing_is_missing():
    assert missing({}) == []
