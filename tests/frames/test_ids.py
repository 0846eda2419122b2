"""Ids are text: in readers, in tables, and in what ASE reads of what we write."""

import json

import pytest
from ase.io import iread

from pesatlas.dataset.imported import import_dataset
from pesatlas.frames.comment import as_value, parse_comment
from pesatlas.structures.sources import files
from pesatlas.tables import read_table

IDS = ["0012345", "12e4", "T", "False", "NaN", "inf", "1_000", "-7", "1.50", "mp-149", "None", "0x10"]
ODD = ["[1,2]", "{a}", "1 2 3", 'a "b"', "it's", "a=b", "1,2", "T F", "ä"]
"""Not possible in file names: a campaign's id ends in a hash of them; tables have them as they are."""

ENTRY = """2
Lattice="4.4 0 0 0 4.4 0 0 0 4.4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-8.25 {keys} pbc="T T T"
K 0 0 0 0.2 0 0
F 2.2 2.2 2.2 -0.2 0 0
"""


@pytest.mark.parametrize("key", ["structure_id", "mp_id", "material_id"])
def test_ids_of_extended_xyz_stay_what_they_are(tmp_path, key):
    path = tmp_path / "x.extxyz"
    path.write_text("".join(ENTRY.format(keys=f"{key}={name}") for name in IDS))
    found = list(files.load(files.Options(paths=[str(path)])))
    assert [each.structure_id for each in found] == IDS
    import_dataset(path, "pbe", tmp_path / "imported.parquet")
    assert read_table(tmp_path / "imported.parquet", "imported")["structure_id"].to_pylist() == IDS
    again = list(files.load(files.Options(paths=[str(tmp_path / "imported.parquet")])))
    assert [each.structure_id for each in again] == IDS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0012345", "0012345"),
        ('"0012345"', "0012345"),
        ("'T'", "T"),
        ("[1,2]", "[1,2]"),
        ("{a}", "{a}"),
        ('"[1,2]"', "[1,2]"),
        (r'"a \"b\""', 'a "b"'),
        (r'"_JSON \"0012345\""', "0012345"),
        ('"_JSON [1]"', "_JSON [1]"),
        ("a=b", "a=b"),
        ("a'b c'd", "ab cd"),
    ],
)
def test_values_are_the_text_of_the_file(value, text):
    found = parse_comment(f'before=1 id={value} flag after="x y"')
    assert found == {"before": "1", "id": text, "flag": "T", "after": "x y"}


def test_spaces_around_an_equals_sign():
    assert parse_comment("a = 1 b= 2 c =3") == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("name", IDS + ODD)
def test_what_is_written_for_ase_is_text_for_ase_and_for_us(tmp_path, name):
    from ase import Atoms
    from ase.io import write

    atoms = Atoms(
        "KF", [[0, 0, 0], [2, 2, 2]], cell=[4.4] * 3, pbc=True, info={"structure_id": as_value(name)}
    )
    write(tmp_path / "x.extxyz", atoms, format="extxyz")
    (there,) = iread(tmp_path / "x.extxyz")
    assert there.info["structure_id"] == name
    comment = (tmp_path / "x.extxyz").read_text().splitlines()[1]
    assert parse_comment(comment)["structure_id"] == name


def test_ids_of_json_are_text(tmp_path):
    structure = {
        "lattice": {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]},
        "sites": [{"species": [{"element": "K", "occu": 1}], "abc": [0, 0, 0]}],
    }
    records = [{"material_id": name, "structure": structure} for name in IDS]
    (tmp_path / "x.json").write_text(json.dumps(records))
    found = files.load(files.Options(paths=[str(tmp_path / "x.json")]))
    assert [each.structure_id for each in found] == IDS
