"""Isolated atoms: one of each element at each level, alone in the level's box; failures are rows."""

import numpy as np
import pytest

from labelling import label_atoms_of
from pesatlas.label.backends.gpaw import Options
from pesatlas.levels.gpaw import levels
from pesatlas.tables import FailureReason, read_entry, read_table, write_table

STRUCTURE = {
    "structure_id": "a",
    "variant": "unit",
    "domain": "bulk",
    "n_atoms": 2,
    "cell_A": [5.0, 0, 0, 0, 5.0, 0, 0, 0, 5.0],
    "positions_A": [0.0, 0, 0, 1, 1, 1],
    "formula": "x",
    "conditions": [],
    "batch": 0,
    "warnings": [],
    "source": "s",
    "code_version": "0",
}


@pytest.fixture
def atoms(campaign, tmp_path):
    def run(*pairs, name="atoms"):
        structures = tmp_path / f"{name}-structures.parquet"
        rows = [{**STRUCTURE, "structure_id": f"s{i}", "numbers": list(pair)} for i, pair in enumerate(pairs)]
        write_table(structures, "structures", rows, "s")
        made, failed = tmp_path / f"{name}.parquet", tmp_path / f"{name}-failures.parquet"
        label_atoms_of(campaign, structures, made, failed, tmp_path / "work")
        return (
            read_table(made, "atoms").to_pylist(),
            read_table(failed, "failures").to_pylist(),
            read_entry(made).counts,
        )

    return run


def test_each_element_once_at_each_level(double, atoms):
    rows, failures, counts = atoms((12, 8), (8, 8))
    assert [(r["element"], r["level"]) for r in rows] == [
        ("O", "pbe"),
        ("O", "r2scan"),
        ("Mg", "pbe"),
        ("Mg", "r2scan"),
    ]
    assert failures == []
    assert counts == {"elements": 2, "wanted": 4, "labelled": 4, "failed": 0}
    assert double.count() == 4


def test_the_atom_is_alone_in_the_box_of_its_level(double, atoms, monkeypatch):
    seen = []
    original = double.calculate
    monkeypatch.setattr(
        "pesatlas.config.plugins.find",
        lambda package, name: type(
            "B",
            (),
            {"calculate": staticmethod(lambda task, *rest: seen.append(task) or original(task, *rest))},
        ),
    )
    atoms((8, 8))
    box = levels(Options(quality="demo"), ["pbe"])["pbe"].settings["atom_box_A"]
    for task in seen:
        assert task.isolated
        assert task.numbers.tolist() == [8]
        assert np.allclose(task.cell, np.diag(box))
        assert len(set(box)) == 3  # no symmetry that would force an open shell to be round


def test_atoms_come_from_the_store(double, atoms):
    first = atoms((12, 8))
    assert atoms((12, 8), name="again") == first
    assert double.count() == 4
    atoms((12, 8), (11, 17), name="more")
    assert double.count() == 8


def test_an_atom_that_fails_is_a_row_and_costs_no_other(double, atoms):
    # the double tells tasks apart by x: every atom sits at half the box
    half = levels(Options(quality="demo"), ["pbe"])["pbe"].settings["atom_box_A"][0] / 2
    double.fail = {("r2scan", half): [FailureReason.NOT_CONVERGED]}
    rows, failures, counts = atoms((12, 8))
    assert [(r["element"], r["level"]) for r in rows] == [("O", "pbe"), ("Mg", "pbe")]
    assert [(f["key"], f["level"], f["reason"]) for f in failures] == [
        ("atom:O", "r2scan", "not_converged"),
        ("atom:Mg", "r2scan", "not_converged"),
    ]
    assert counts == {"elements": 2, "wanted": 4, "labelled": 2, "failed": 2}
