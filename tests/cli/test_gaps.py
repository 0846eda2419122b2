"""`pesatlas gaps` finds a hole that was left on purpose, and only that."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from pesatlas.cli.main import app
from pesatlas.tables import read_table


def run(*arguments):
    return CliRunner().invoke(app, ["gaps", *map(str, arguments)])


def rattled(name, structure, a, seed, by=0.05):
    atoms = bulk(name, structure, a, cubic=True)
    atoms.rattle(by, rng=np.random.default_rng(seed))
    return atoms


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """40 rattled cells of Si near its lattice constant, 40 of NaCl."""
    path = tmp_path_factory.mktemp("gaps") / "dataset.extxyz"
    frames = [rattled("Si", "diamond", 5.43 + 0.002 * (i % 20), i) for i in range(40)]
    frames += [rattled("NaCl", "rocksalt", 5.64 + 0.002 * (i % 20), 100 + i) for i in range(40)]
    write(path, frames, format="extxyz")
    return path


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Silicon as in the dataset, under pressure, a vacancy in NaCl, and an element that is not there."""
    path = tmp_path_factory.mktemp("mine") / "mine.extxyz"
    vacancy = rattled("NaCl", "rocksalt", 5.65, 7)
    del vacancy[0]
    frames = {
        "like": rattled("Si", "diamond", 5.44, 999),
        "squeezed": rattled("Si", "diamond", 4.7, 5),
        "vacancy": vacancy,
        "foreign": rattled("MgO", "rocksalt", 4.21, 6),
    }
    for name, atoms in frames.items():
        atoms.info["structure_id"] = name
    write(path, list(frames.values()), format="extxyz")
    return path


def test_a_planted_hole_is_outside_and_what_is_like_the_dataset_inside(dataset, mine, tmp_path):
    done = run(
        dataset, "--of", mine, "--json", "--to", tmp_path / "gaps.parquet", "--map", tmp_path / "map.html"
    )
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout[done.stdout.index("{") :])
    verdicts = {row["structure"]: row["verdict"] for row in facts["structures"]}
    assert verdicts == {"like": "inside", "squeezed": "outside", "vacancy": "outside", "foreign": "outside"}
    assert facts["missing_elements"] == ["Mg", "O"]
    assert facts["missing_pairs"] == [["Mg", "O"]]
    rows = read_table(tmp_path / "gaps.parquet", "gaps").to_pylist()
    of = {(row["structure"], row["element"]): row for row in rows}
    assert of["foreign", "O"]["distance"] is None
    assert of["like", "Si"]["compared_with"] == 40
    assert of["squeezed", "Si"]["distance"] > 5 * of["squeezed", "Si"]["typical_distance"]
    page = (tmp_path / "map.html").read_text()
    assert "squeezed" in page
    assert 'src="http' not in page


def test_the_dataset_s_own_kind_is_rarely_outside(dataset, tmp_path):
    # exchangeable draws: about one in a hundred beyond the 99th percentile; of 40, never 5
    fresh = [rattled("Si", "diamond", 5.43 + 0.002 * (i % 20), 5000 + i) for i in range(40)]
    write(tmp_path / "fresh.extxyz", fresh, format="extxyz")
    done = run(dataset, "--of", tmp_path / "fresh.extxyz", "--json")
    facts = json.loads(done.stdout[done.stdout.index("{") :])
    counts = [row["verdict"] for row in facts["structures"]]
    assert counts.count("outside") < 5
    assert counts.count("inside") > 28


def test_without_structures_it_counts_what_there_is(dataset):
    done = run(dataset)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "80 frames" in words
    assert "Pairs never in one frame: Cl-Si, Na-Si" in words
    assert "Elements that are not in it: H, He" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.extxyz"], "does not exist"),
        (["dataset", "--map", "map.svg", "--of", "mine"], "ends in .html or .png"),
        (["dataset", "--map", "map.png"], "name some with --of"),
        (["dataset", "--of", "config.yaml", "--of", "mine"], "either one configuration or files"),
    ],
)
def test_a_wrong_call_gets_one_message(dataset, mine, arguments, message):
    names = {"dataset": dataset, "mine": mine}
    done = run(*(names.get(word, word) for word in arguments))
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
