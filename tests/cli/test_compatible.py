"""`pesatlas compatible`: sets on the surface of MatPES or of another set, sets that are not, and sets of
which it cannot be told."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from existing_runs import PLUS_U, make_run, potcars_called_as_vasps
from pesatlas.dataset.same_geometry import GeometryIndex
from vasp_cases import calculate, crystal, options
from vasp_double import energy_forces_stress

needs_matcalc = pytest.mark.skipif(find_spec("matcalc") is None, reason="matcalc has the published records")


def run(command, *arguments, cwd, columns=200):
    words = [sys.executable, "-m", "pesatlas.cli.main", command, *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """``good`` is on the surface of MatPES, ``plus_u`` has U on iron, ``coarse`` k-points and smearing of
    its own."""
    top = tmp_path_factory.mktemp("sets")
    with potcars_called_as_vasps(top / "potcars"):
        for name in ("metal", "halide", "magnetic oxide"):
            make_run(top / "good" / name, name)
        make_run(top / "plus_u" / "halide", "halide")
        make_run(top / "plus_u" / "oxide", "magnetic oxide", **PLUS_U)
        make_run(top / "coarse" / "metal", KSPACING="0.5", SIGMA="0.2", ISMEAR="1")
        make_run(top / "r2scan" / "metal", functional="R2SCAN")
    return top


def labelled(name, shift=0.0, *, turned=False):
    """A crystal with the label that the double gives it, energies shifted by ``shift`` eV/atom; maybe in
    another setting."""
    numbers, cell, positions = crystal(name)
    atoms = Atoms(numbers, positions, cell=cell, pbc=True)
    energy, forces, stress = energy_forces_stress(cell, positions, atoms.get_chemical_symbols(), "PBE")
    if turned:
        atoms.rotate(30, "z", rotate_cell=True)
        order = np.argsort(-atoms.positions[:, 0], kind="stable")
        atoms, forces = atoms[order], forces[order]
        atoms.positions[0] += atoms.cell[1]
    # the double's energy is the free one; its metals have an entropy
    entropy = 0.001 * len(atoms) if name == "metal" else 0.0
    atoms.calc = SinglePointCalculator(
        atoms, energy=energy + entropy + shift * len(atoms), forces=forces, stress=stress
    )
    return atoms


def test_runs_with_the_settings_of_matpes_are_compatible(sets):
    status, said = run("compatible", "good", cwd=sets)
    assert status == 0, said
    assert "3  have the settings of the level, key by key" in said
    assert "Compatible with MatPES (pbe): 3 by their settings." in said


def test_a_set_with_u_is_not_and_names_it(sets):
    status, said = run("compatible", "plus_u", cwd=sets)
    assert status == 1
    assert "1  have other settings" in said
    row = next(line for line in said.splitlines() if line.startswith("+U"))
    assert row.split()[:3] == ["+U", "LDAU", "1"]
    assert "U(Fe) = 5.3 eV in plus_u/oxide" in row
    assert "Not compatible with MatPES (pbe): 1 of 2 labels differ in LDAU." in said


def test_names_of_runs_are_whole_where_lines_are_short(sets):
    folder = "a-long-name-of-a-repository-and-of-a-test-case-in-it/and-the-run-itself"
    shutil.copytree(sets / "coarse" / "metal", sets / "copied" / folder)
    status, said = run("compatible", "copied", cwd=sets, columns=80)
    assert status == 1
    assert "…" not in said
    assert f"copied/{folder}" in "".join(line.split()[-1] for line in said.splitlines() if line.strip())


def test_every_key_that_differs_is_in_the_table(sets):
    status, said = run("compatible", "coarse", cwd=sets)
    assert status == 1
    kinds = {
        line.split()[0]: line.split()[1]
        for line in said.splitlines()
        if line.startswith(("smearing", "k-spacing"))
    }
    assert kinds == {"smearing": "SIGMA", "k-spacing": "k-points"}
    assert "ISMEAR" in said


def test_the_other_functional_is_another_surface(sets):
    assert run("compatible", "r2scan", cwd=sets)[0] == 1
    assert run("compatible", "r2scan", "--level", "r2scan", cwd=sets)[0] == 0


def test_an_imported_table_tells_its_settings_as_its_runs_do(sets):
    assert run("import", "good", "--level", "mine", "--to", "good.parquet", cwd=sets)[0] == 0
    assert run("import", "coarse", "--level", "mine", "--to", "coarse.parquet", cwd=sets)[0] == 0
    assert run("compatible", "good.parquet", cwd=sets)[0] == 0
    status, said = run("compatible", "coarse.parquet", cwd=sets)
    assert status == 1
    assert "k-points" in said
    assert run("compatible", "good.parquet", "--with", "good", cwd=sets)[0] == 0
    assert run("compatible", "coarse", "--with", "good.parquet", cwd=sets)[0] == 1


def test_another_version_of_vasp_is_another_surface_than_a_set_of_one(sets, tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        make_run(tmp_path / "old" / "metal", version="6.3.2")
    assert run("compatible", "old", cwd=tmp_path)[0] == 0
    status, said = run("compatible", "old", "--with", sets / "good", cwd=tmp_path)
    assert status == 1
    assert "VASP version" in said


@pytest.mark.parametrize(("shift", "status"), [(0.0, 0), (0.0005, 0), (0.004, 1)])
def test_a_set_without_settings_is_told_by_energies_of_the_same_geometry(sets, tmp_path, shift, status):
    frames = [labelled("metal", shift), labelled("halide", shift, turned=True), labelled("lanthanide", shift)]
    write(tmp_path / "theirs.extxyz", frames)
    found, said = run("compatible", "theirs.extxyz", "--with", sets / "good", cwd=tmp_path)
    assert found == status, said
    assert "energies of 2 geometries that both have" in said
    assert "1  not decided" in said
    assert f"mean difference {1000 * shift:+.1f}" in said


def test_where_nothing_can_be_told_it_is_not_called_compatible(sets, tmp_path):
    write(tmp_path / "theirs.extxyz", [labelled("lanthanide")])
    status, said = run("compatible", "theirs.extxyz", "--with", sets / "good", cwd=tmp_path)
    assert status == 1
    assert "Not shown to be compatible" in said


@needs_matcalc
@pytest.mark.parametrize(("level", "status"), [("pbe", 0), ("r2scan", 1)])
def test_published_elements_are_the_yardstick_of_extended_xyz(tmp_path, level, status):
    from pesatlas.levels.matpes_records import element_records

    frames = []
    for element in ("Al", "Si", "As"):
        record = element_records("pbe")[element]
        atoms = Atoms(record.numbers, record.positions, cell=record.cell, pbc=True)
        atoms.calc = SinglePointCalculator(
            atoms, energy=record.energy_eV, forces=record.forces_eV_per_A, stress=record.stress_eV_per_A3
        )
        frames.append(atoms)
    write(tmp_path / "elements.extxyz", frames)
    found, said = run("compatible", "elements.extxyz", "--level", level, cwd=tmp_path)
    assert found == status, said
    # the ground state of arsenic is another crystal at r2SCAN
    assert f"energies of {3 if level == 'pbe' else 2} geometries that both have" in said


def test_what_a_set_is_compared_with_has_to_be_there(sets):
    status, said = run("compatible", "good", "--level", "hse06", cwd=sets)
    assert status == 1
    assert "MatPES has pbe and r2scan" in said


def test_geometries_are_the_same_in_any_order_orientation_and_image_and_not_beyond():
    numbers, cell, positions = crystal("magnetic oxide")
    index = GeometryIndex()
    index.add("a", numbers, cell, positions, -1.0)
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    order = [2, 0, 3, 1]
    moved = (positions + np.array([[1], [0], [-1], [0]]) * cell[0])[order] @ turn
    assert index.find(numbers[order], cell @ turn, moved).name == "a"
    moved[0, 0] += 2e-3
    assert index.find(numbers[order], cell @ turn, moved) is None
    assert index.find(numbers[order], 1.001 * cell @ turn, 1.001 * moved) is None
    swapped = numbers[[1, 0, 2, 3]]
    assert index.find(swapped, cell, positions) is None


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A table of labels that the backend made, with the double, of the level of a campaign."""
    from pesatlas.label.label_rows import definitions, result_columns
    from pesatlas.levels.vasp import levels
    from pesatlas.tables import SCHEMAS, write_table

    top = tmp_path_factory.mktemp("own")
    with potcars_called_as_vasps(top / "potcars"):
        level = levels(options(), ["pbe"])["pbe"]
        rows = []
        for name in ("metal", "magnetic oxide"):
            outcome, _ = calculate(top, "pbe", name)
            numbers, cell, positions = crystal(name)
            row = {
                field.name: None if field.nullable else "" if field.type == pa.string() else 0
                for field in SCHEMAS["labels"]
            }
            row |= {"snapshot_id": name, "n_atoms": len(numbers), "numbers": numbers.tolist()}
            row |= {"cell_A": cell.ravel().tolist(), "positions_A": positions.ravel().tolist()}
            rows.append(row | result_columns(outcome, level, name))
    write_table(top / "labels.parquet", "labels", rows, "test", metadata=definitions([level]))
    return top / "labels.parquet"


def test_own_labels_are_on_the_surface_of_matpes_and_so_are_runs_on_theirs(own, sets, tmp_path):
    assert run("compatible", own, cwd=tmp_path)[0] == 0
    assert run("compatible", "good", "--with", own, cwd=sets)[0] == 0
    status, said = run("compatible", "plus_u", "--with", own, cwd=sets)
    assert status == 1
    assert "labels differ in LDAU" in said


def test_runs_of_another_version_are_not_on_the_surface_of_a_campaign(own, tmp_path):
    with potcars_called_as_vasps(tmp_path / "potcars"):
        make_run(tmp_path / "old" / "halide", "halide", version="6.3.2")
    status, said = run("compatible", "old", "--with", own, cwd=tmp_path)
    assert status == 1
    assert "VASP version" in said
