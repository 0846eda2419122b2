import gzip
import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pesatlas import testing
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.readers import format_of, stem_of
from pesatlas.structures.sources import demo, files
from pesatlas.tables import FailureReason


def builtin(name):
    (crystal,) = demo.load(demo.Options(names=[name]))
    return crystal


def pymatgen_structure(crystal):
    from pymatgen.core import Element, Structure

    species = [Element.from_Z(int(z)) for z in crystal.numbers]
    return Structure(crystal.cell, species, crystal.positions, coords_are_cartesian=True)


def ase_atoms(crystal):
    from ase import Atoms

    return Atoms(crystal.numbers, cell=crystal.cell, positions=crystal.positions, pbc=True)


def load(*paths):
    return list(files.load(files.Options(paths=[str(p) for p in paths])))


def same_as(found, crystal):
    assert isinstance(found, Crystal), found
    assert (found.numbers == crystal.numbers).all()
    # formats differ in the orientation they keep: compare what does not depend on it
    np.testing.assert_allclose(found.cell @ found.cell.T, crystal.cell @ crystal.cell.T, atol=1e-5)
    np.testing.assert_allclose(
        found.positions @ np.linalg.inv(found.cell) % 1,
        crystal.positions @ np.linalg.inv(crystal.cell) % 1,
        atol=1e-5,
    )


class TestFiles(testing.SourceTests):
    kind = "files"

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("crystals")
        for name in ("TiO2", "NaCl"):
            pymatgen_structure(builtin(name)).to(filename=str(folder / f"{name}.cif"))
        (folder / "torn.cif").write_text("data_torn")
        return {"paths": [str(folder)]}

    @pytest.fixture(scope="class")
    @classmethod
    def other_settings(cls, given):
        return files.Options(paths=[f"{given['paths'][0]}/TiO2.cif"])


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# formats


@pytest.mark.parametrize(
    "name", ["TiO2.cif", "TiO2.cif.gz", "TiO2.vasp", "POSCAR_TiO2", "TiO2.json", "TiO2.json.gz"]
)
def test_one_structure_written_by_pymatgen(tmp_path, name):
    crystal = builtin("TiO2")
    plain = tmp_path / name.removesuffix(".gz")
    structure = pymatgen_structure(crystal)
    structure.to(filename=str(plain), fmt="poscar" if plain.suffix != ".json" and "cif" not in name else "")
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    (found,) = load(name)
    same_as(found, crystal)
    assert found.structure_id == ("POSCAR_TiO2" if name.startswith("POSCAR") else "TiO2")
    assert found.source.startswith(f"files {name} sha256:")


def test_poscars_have_the_name_of_their_folder(tmp_path):
    for name in ("Si", "NaCl"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        pymatgen_structure(builtin(name)).to(filename=str(tmp_path / "runs" / name / "POSCAR"), fmt="poscar")
    assert [c.structure_id for c in load("runs")] == ["NaCl", "Si"]


def test_extended_xyz_of_many_frames(tmp_path):
    from ase.io import write

    frames = [ase_atoms(builtin("Si")), ase_atoms(builtin("MgO")), ase_atoms(builtin("Al"))]
    frames[2].info["mp_id"] = "mp-134"
    write(tmp_path / "many.extxyz", frames, format="extxyz")
    write(tmp_path / "one.xyz", frames[0], format="extxyz")
    found = load("many.extxyz", "one.xyz")
    assert [c.structure_id for c in found] == ["many-00000", "many-00001", "mp-134", "one"]
    same_as(found[1], builtin("MgO"))


def test_json_of_records_with_ids(tmp_path):
    records = [
        {"mp_id": "mp-149", "structure": pymatgen_structure(builtin("Si")).as_dict(), "bulk_modulus": 98},
        {"material_id": "wbm-1", "structure": pymatgen_structure(builtin("MgO")).as_dict()},
        pymatgen_structure(builtin("Al")).as_dict(),
        {"mp_id": 7, "structure": pymatgen_structure(builtin("Al")).as_dict()},
    ]
    (tmp_path / "set.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    found = load("set.json.gz")
    assert [c.structure_id for c in found] == ["mp-149", "wbm-1", "set-00002", "7"]
    same_as(found[0], builtin("Si"))


def test_ase_database(tmp_path):
    from ase.db import connect

    with connect(tmp_path / "cells.db") as database:
        database.write(ase_atoms(builtin("Si")))
        database.write(ase_atoms(builtin("NaCl")), key_value_pairs={"mp_id": "mp-22862"})
        molecule = ase_atoms(builtin("Al"))
        molecule.pbc = False
        database.write(molecule)
    found = load("cells.db")
    assert [c.structure_id for c in found] == ["cells-00000", "mp-22862", "cells-00002"]
    same_as(found[1], builtin("NaCl"))
    assert found[2].reason == "not_periodic"


def row(crystal, **more):
    geometry = {
        "numbers": crystal.numbers.tolist(),
        "cell_A": crystal.cell.reshape(-1).tolist(),
        "positions_A": crystal.positions.reshape(-1).tolist(),
    }
    return {"structure_id": "mp-1", **geometry, **more}


def test_parquet_of_earlier_runs(tmp_path):
    silicon = builtin("Si")
    cells = [row(silicon, variant="unit"), row(silicon, variant="supercell-2x2x2")]
    frames = [
        row(silicon, variant="unit", condition="equilibrium", snapshot_id="mp-1:unit:equilibrium:0"),
        row(silicon, variant="unit", condition="300K-0.0001GPa", snapshot_id="mp-1:unit:300K-0.0001GPa:500"),
    ]
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "structures.parquet")
    pq.write_table(pa.Table.from_pylist(frames), tmp_path / "selection.parquet")
    found = load("structures.parquet", "selection.parquet")
    assert [c.structure_id for c in found] == [
        "mp-1",
        "mp-1-supercell-2x2x2",
        "mp-1",
        "mp-1-unit-300K-0.0001GPa-500",
    ]
    for crystal in found:
        same_as(crystal, silicon)


def test_parquet_without_geometry(tmp_path):
    pq.write_table(pa.table({"structure_id": ["a"], "numbers": [[14]]}), tmp_path / "x.parquet")
    (found,) = load("x.parquet")
    assert found.reason == "unreadable"
    assert "columns cell_A, positions_A are missing" in found.detail


# what fails, fails alone


def test_disordered_crystals(tmp_path):
    from pymatgen.core import Lattice, Structure

    Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]).to(
        filename=str(tmp_path / "alloy.cif")
    )
    Structure(Lattice.cubic(3.6), [{"Cu": 0.5}, "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(
        filename=str(tmp_path / "holes.cif")
    )
    alloy, holes = load("alloy.cif", "holes.cif")
    assert (alloy.structure_id, alloy.reason) == ("alloy", "disordered")
    assert "1 of 2 sites are shared or partly empty" in holes.detail


def test_dummy_species(tmp_path):
    from pymatgen.core import DummySpecies, Lattice, Structure

    Structure(Lattice.cubic(4), [DummySpecies("X")], [[0, 0, 0]]).to(filename=str(tmp_path / "x.json"))
    (found,) = load("x.json")
    assert found.reason == "unsupported_element"


def test_slabs_and_molecules_are_not_periodic(tmp_path):
    from ase import Atoms
    from ase.io import write
    from pymatgen.core import Lattice, Molecule, Structure

    write(
        tmp_path / "water.xyz", Atoms("OH2", [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]), format="extxyz"
    )
    Molecule(["O", "H"], [[0, 0, 0], [1, 0, 0]]).to(filename=str(tmp_path / "oh.json"))
    Structure(Lattice.cubic(4, pbc=(True, True, False)), ["Si"], [[0, 0, 0]]).to(
        filename=str(tmp_path / "slab.json")
    )
    assert [found.reason for found in load("water.xyz", "oh.json", "slab.json")] == ["not_periodic"] * 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.cif", "this is no CIF"),
        ("a.cif", ""),
        ("a.cif", "data_x\n_cell_length_a 5\nloop_\n_atom_site_label\nSi1\n"),
        ("POSCAR", "junk\n1.0\nx y z\n"),
        ("a.vasp", "no names\n1.0\n4 0 0\n0 4 0\n0 0 4\n1\ndirect\n0 0 0\n"),
        ("a.xyz", "not a number\n"),
        ("a.xyz", ""),
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.json", '{"energy": 1}'),
        ("a.json", "[1]"),
        ("a.json.gz", "not gzipped"),
        ("a.db", "not sqlite at all, but long enough to have a header"),
        ("a.parquet", "PAR1"),
        ("a.cif", b"\xff\xfe\x00"),
    ],
)
def test_what_cannot_be_read_is_a_failure_that_names_the_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = load(name)
    assert isinstance(found, Rejected)
    assert found.reason == "unreadable"
    assert name in found.detail
    assert len(found.detail) <= 300


def test_a_poscar_without_element_names_does_not_become_hydrogen(tmp_path):
    (tmp_path / "a.vasp").write_text("no names\n1.0\n4 0 0\n0 4 0\n0 0 4\n1\ndirect\n0 0 0\n")
    (found,) = load("a.vasp")
    assert "cannot be determined" in found.detail


def test_bad_records_cost_no_good_ones(tmp_path):
    good = pymatgen_structure(builtin("Si")).as_dict()
    broken = json.loads(json.dumps(good))
    del broken["sites"][0]["species"]
    records = [
        {"mp_id": "a", "structure": good},
        {"mp_id": "b", "structure": broken},
        {"mp_id": "c"},
        {"mp_id": "d", "structure": good},
    ]
    (tmp_path / "set.json").write_text(json.dumps(records))
    found = load("set.json")
    assert [f.structure_id for f in found] == ["a", "b", "c", "d"]
    assert [isinstance(f, Crystal) for f in found] == [True, False, False, True]


def test_frames_before_a_torn_one_are_kept(tmp_path):
    from ase.io import write

    write(tmp_path / "t.extxyz", [ase_atoms(builtin("TiO2"))] * 3, format="extxyz")
    text = (tmp_path / "t.extxyz").read_text()
    (tmp_path / "t.extxyz").write_text(text[: int(len(text) * 0.8)])
    *good, torn = load("t.extxyz")
    assert [g.structure_id for g in good] == ["t-00000", "t-00001"]
    assert torn.reason == "unreadable"
    assert "lines 17-20: its first line says 6 atoms, and 2 lines follow" in torn.detail


def test_a_database_of_another_program(tmp_path):
    sqlite3.connect(tmp_path / "other.db").execute("create table t (x)").connection.commit()
    (found,) = load("other.db")
    assert found.reason == "unreadable"


# paths


def test_names_say_the_format(tmp_path):
    known = {
        "a.cif": "cif",
        "A.CIF": "cif",
        "a.cif.gz": "cif",
        "POSCAR": "poscar",
        "CONTCAR.gz": "poscar",
        "POSCAR_Si": "poscar",
        "POSCAR.Si": "poscar",
        "POSCAR.cif": "cif",
        "a.b.xyz": "xyz",
        "a.db.gz": None,
        "README.md": None,
        "poscars.txt": "poscar",
    }
    assert {name: format_of(tmp_path / name) for name in known} == known
    assert stem_of(tmp_path / "a.b.cif.gz") == "a.b"


def test_folders_globs_and_order(tmp_path):
    for where in ("b/Si.cif", "a/MgO.cif", "a/deep/Al.cif"):
        (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
        pymatgen_structure(builtin(where.split("/")[-1].removesuffix(".cif"))).to(
            filename=str(tmp_path / where)
        )
    (tmp_path / "a" / "notes.txt").write_text("not a crystal")
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / ".hidden" / "x.cif").write_text("junk")
    assert [c.structure_id for c in load("a")] == ["MgO", "Al"]
    assert [c.structure_id for c in load("**/*.cif")] == ["MgO", "Al", "Si"]
    assert [c.structure_id for c in load("*/*.cif")] == ["MgO", "Si"]
    assert [c.structure_id for c in load(tmp_path / "b" / "*.cif")] == ["Si"]
    # named twice, read once
    assert [c.structure_id for c in load("b/Si.cif", "b", "*/Si.*")] == ["Si"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.cif", "paths: 'nowhere.cif' does not exist .*working directory.*Correct the path"),
        ("nowhere/", "paths: 'nowhere/' does not exist"),
        ("*.cif", r"paths: '\*.cif' matches 0 files, and none of them has a known format. Known: CIF"),
        ("empty", "paths: 'empty' is a folder, and none of them has a known format"),
        ("notes.txt", "paths: 'notes.txt' has no known format. Known: CIF"),
        ("*.txt", r"paths: '\*.txt' matches 1 files, and none"),
    ],
)
def test_paths_that_lead_nowhere_are_found_before_any_job(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=message):
        files.check(files.Options(paths=[path]))
    with pytest.raises(UserError, match=message):
        load(path)


def test_a_charged_crystal_is_refused(tmp_path):
    from ase import Atoms
    from ase.io import write
    from pymatgen.core import Lattice, Structure

    cell = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], charge=1)
    cell.to(filename=str(tmp_path / "ion.json"))
    Structure(Lattice.cubic(4.2), ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(
        filename=str(tmp_path / "neutral.json")
    )
    atoms = Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.3] * 3, pbc=True)
    atoms.info["charge"] = -1
    write(tmp_path / "frames.extxyz", atoms)
    found = list(files.load(files.Options(paths=[str(tmp_path / "*.*")])))
    charged = [each for each in found if isinstance(each, Rejected)]
    assert {each.reason for each in charged} == {FailureReason.CHARGED}
    assert len(charged) == 2
    assert len(found) == 3
    assert "neutral" in charged[0].detail
