"""Inputs are written again with each moment on the atom that had it, whatever the order of atoms in the
row."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from collecting import collect
from pesatlas.atoms.elements import atomic_number
from pesatlas.atoms.geometry import canonical_order
from pesatlas.campaign.layout import below
from pesatlas.cli.main import app
from pesatlas.label.backend import Task
from pesatlas.label.vasp.inputs import input_set, read_incar
from pesatlas.levels.gpaw import MAGNETIC, QUALITIES, crystal_settings
from pesatlas.levels.level import Level
from pesatlas.tables import read_entry, read_table, write_table

CELL = np.array([[4.3, 0.1, 0], [0, 4.2, 0.2], [0.1, 0, 4.4]])


def level_of(name, functional, settings):
    return Level(name=name, code={"x": "1"}, functional=functional, settings=settings, pseudopotentials="p")


@pytest.fixture
def again(campaign, tables, write_labels, tmp_path):
    """Return a function that puts a crystal in place of the first snapshot and writes its inputs again."""

    def write(symbols, fractional, settings, moments, cell=CELL):
        results, _, labels = tables
        n, path = len(symbols), below(results, "selection")
        picks, counts = read_table(path, "selection").to_pylist(), read_entry(path).counts
        for row in (picks[0], *labels[:2]):
            row |= {
                "n_atoms": n,
                "numbers": [atomic_number(s) for s in symbols],
                "cell_A": cell.ravel().tolist(),
                "positions_A": (fractional @ cell).ravel().tolist(),
            }
        for row in labels[:2]:
            forces = np.arange(3.0 * n).reshape(n, 3)
            row |= {
                "forces_eV_per_A": (0.1 * (forces - forces.mean(axis=0))).ravel().tolist(),
                "magmoms_muB": moments,
                "settings": json.dumps(settings),
            }
        write_table(path, "selection", picks, "s", counts)
        collect(campaign, results, write_labels(results, labels))
        done = CliRunner().invoke(
            app, ["reproduce", labels[0]["snapshot_id"], str(results), "--to", str(tmp_path / "again")]
        )
        assert done.exit_code == 0, done.output
        return tmp_path / "again/r2scan", labels[1]

    return write


def check_label(place, row):
    """The label written beside the inputs is the row's, in the order that it names."""
    written = json.loads((place / "label.json").read_text())
    order, n = written["order"], row["n_atoms"]
    for name in ("forces_eV_per_A", "magmoms_muB"):
        mine, of_row = (np.reshape(r[name], (n, -1)) for r in (written, row))
        assert np.array_equal(mine, of_row[order])
    return order


def test_nickel_keeps_its_moment_in_the_inputs_of_gpaw(again):
    symbols, fractional = ["Ni", "O"], np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    level = level_of("pbe", "PBE", {**QUALITIES["demo"], "magnetic_moments_muB": MAGNETIC})
    settings = crystal_settings(level, [8, 28], CELL)  # as calculated: in canonical order
    assert settings["moments_muB"] == [0.0, 5.0]
    place, row = again(symbols, fractional, settings, [1.6, 0.1])
    job = json.loads((place / "in.json").read_text())
    moment_of = dict(zip(job["numbers"], job["settings"]["moments_muB"], strict=True))
    assert moment_of == {28: 5.0, 8: 0.0}
    order = check_label(place, row)
    assert np.allclose(job["positions"], np.reshape(row["positions_A"], (2, 3))[order])


@pytest.mark.parametrize("cell", [CELL, CELL[[1, 0, 2]]], ids=["right-handed", "left-handed"])
def test_an_antiferromagnet_keeps_its_signs_in_the_inputs_of_vasp(again, cell):
    from pymatgen.io.vasp.inputs import Incar, Poscar

    # neither canonical (by element and position) nor sorted for VASP: the iron with the larger x comes first
    symbols = ["Fe", "O", "Fe", "O"]
    fractional = np.array([[0.5, 0.48, 0.01], [0.01, 0.5, 0.52], [0.02, 0, 0], [0.49, 0.02, 0.5]])
    moments = [4.0, 0.02, -4.1, -0.03]  # PBE's final ones, which r2SCAN starts from
    positions, numbers = fractional @ cell, np.array([atomic_number(s) for s in symbols])
    order = canonical_order(numbers, positions)
    assert order.tolist() != sorted(order)
    task = Task(numbers[order], cell, positions[order], level_of("r2scan", "R2SCAN", {}))
    incar = read_incar(str(input_set(task, "R2SCAN", np.array(moments)[order]).incar))
    place, row = again(symbols, fractional, {"incar": incar}, moments, cell)
    structure = Poscar.from_file(place / "POSCAR").structure
    started = Incar.from_file(place / "INCAR")["MAGMOM"]
    found = {tuple(np.round(x, 6)): moment for x, moment in zip(structure.cart_coords, started, strict=True)}
    assert found == {tuple(np.round(x, 6)): m for x, m in zip(positions, moments, strict=True)}
    assert np.linalg.det(structure.lattice.matrix) > 0
    order = check_label(place, row)
    assert np.allclose(structure.cart_coords, positions[order])
