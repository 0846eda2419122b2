"""Sources of a campaign, ``select``/``gaps``/``select.reference`` and ``import`` accept and refuse the same
entries for the same reasons."""

import json
import time

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from pesatlas.dataset.imported import import_dataset
from pesatlas.errors import UserError
from pesatlas.structures.crystal import Crystal
from pesatlas.structures.crystal_names import sanitised
from pesatlas.structures.external_frames import read_external
from pesatlas.structures.sources import files
from pesatlas.tables import read_table
from pesatlas.tables.failures import failures_beside

SLAB, MOLECULE = (True, True, False), (False, False, False)


def rock_salt(symbols="KF", a=5.3, pbc=True, **info):
    """Two atoms with labels."""
    atoms = Atoms(symbols, [[0, 0, 0], [a / 2] * 3], cell=[a, a, a + 0.1], pbc=pbc)
    forces = np.array([[0.2, 0, 0], [-0.2, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=-8.25, forces=forces, stress=np.arange(1, 7) / 1000)
    atoms.info = info
    return atoms


def atom(box, **info):
    atoms = Atoms("Ne", [[0, 0, 0]], cell=[box] * 3, pbc=True, info=info)
    atoms.calc = SinglePointCalculator(atoms, energy=-0.1, forces=np.zeros((1, 3)))
    return atoms


def with_column(name, values):
    atoms = rock_salt()
    atoms.set_array(name, np.array(values))
    return atoms


def with_results(**results):
    atoms = rock_salt()
    atoms.calc.results |= results
    return atoms


def with_cell(scale):
    atoms = rock_salt()
    atoms.cell[:] = atoms.cell * scale
    return atoms


FRAMES = {
    "good": (rock_salt(), None),
    "left-handed": (Atoms("KF", [[0, 0, 0], [2, 2, 2]], cell=[5, 5, -5], pbc=True), None),
    "molecule": (rock_salt(pbc=MOLECULE), "not_periodic"),
    "slab": (rock_salt(pbc=SLAB), "not_periodic"),
    "charge": (rock_salt(charge=1), "charged"),
    "no charge": (rock_salt(charge=0.0), None),
    "total_charge": (rock_salt(total_charge=-2), "charged"),
    "REF_total_charge": (rock_salt(REF_total_charge=1), "charged"),
    "initial charges": (with_column("initial_charges", [1.0, 0.0]), "charged"),
    "oxidation states": (with_column("initial_charges", [1.0, -1.0]), None),
    "atom in a box": (atom(12.0), "not_periodic"),
    "isolated": (atom(5.0, config_type="IsolatedAtom"), "not_periodic"),
    "one atom": (atom(4.4), None),
    "an atom far away": (Atoms("KF", [[0, 0, 0], [2, 2, 1e8]], cell=[5, 5, 5], pbc=True), "unreadable"),
    "crushed": (with_cell(0.05), "not_periodic"),
    "cell of zero": (with_cell(0.0), "not_periodic"),
    "cell of 1e9 A": (with_cell(2e8), "not_periodic"),
    "cell of 500 A": (with_cell(100), "not_periodic"),
    "half a potassium": (with_column("occupancy", [0.5, 1.0]), "disordered"),
    "full": (with_column("occupancy", [1.0, 1.0]), None),
    "ghost": (rock_salt("KX"), "unsupported_element"),
}
FRAMES["an energy that is not finite"] = (with_results(energy=-np.inf), "not_finite")
FRAMES["forces that are not finite"] = (
    with_results(forces=np.array([[0, 0, np.inf], [0, 0, 0]])),
    "not_finite",
)
FRAMES["a reference label that is not finite"] = (rock_salt(REF_energy=float("inf")), "not_finite")
DISORDERED = rock_salt(occupancy={"0": {"K": 0.5, "Na": 0.5}, "1": {"F": 1.0}})
FRAMES["shared site"] = (DISORDERED, "disordered")


def document(name, *, pbc=(True, True, True), cell=5.3, charge=None, first="K", occupancy=1, **more):
    site = {"species": [{"element": first, "occu": occupancy}], "abc": [0, 0, 0]}
    other = {"species": [{"element": "F", "occu": 1}], "abc": [0.5, 0.5, 0.5]}
    lattice = {"matrix": (np.eye(3) * cell).tolist(), "pbc": list(pbc)}
    structure = {"charge": charge, "lattice": lattice, "sites": [site, other]}
    labels = {"energy": -8.25, "forces": [[0.2, 0, 0], [-0.2, 0, 0]], "stress": [1.0, 2, 3, 4, 5, 6]}
    return {"matpes_id": name, "structure": structure, **labels, **more}


DOCUMENTS = [
    (document("0012345"), None),
    (document("12e4", pbc=SLAB), "not_periodic"),
    (document("T", charge=1), "charged"),
    (document("total", total_charge=1), "charged"),
    (document("half", occupancy=0.5), "disordered"),
    (document("deuterium", first="D"), None),
    (document("ghost", first="Xx"), "unsupported_element"),
    (document("flat", cell=0), "not_periodic"),
    (document("huge", cell=1e9), "not_periodic"),
    (document("nan", energy=float("nan")), "not_finite"),
    (document("inf", forces=[[0.2, 0, float("inf")], [0, 0, 0]]), "not_finite"),
    (document("kbar", stress=[float("nan")] * 6), "not_finite"),
    (
        {
            "matpes_id": "flat record",
            **document("x", energy=float("nan"))["structure"],
            "energy": float("nan"),
        },
        "not_finite",
    ),
    (document("more", nsites=10**12), "incomplete"),
    ({"matpes_id": "nothing", "energy": 1.0, "forces": []}, "unreadable"),
    ({**document("molecule"), "structure": {"sites": document("x")["structure"]["sites"]}}, "not_periodic"),
]


def by_source(path, folder):
    found = list(files.load(files.Options(paths=[str(path)])))
    accepted = [each.structure_id for each in found if isinstance(each, Crystal)]
    return accepted, [
        (each.structure_id, str(each.reason)) for each in found if not isinstance(each, Crystal)
    ]


def by_select(path, folder):
    """The reading of select, gaps and select.reference."""
    snapshots, failures = folder / "given.parquet", folder / "given-failures.parquet"
    read_external([str(path)], snapshots, failures)
    rows = read_table(failures, "failures").to_pylist()
    accepted = read_table(snapshots, "snapshots")["structure_id"].to_pylist()
    return accepted, [(row["structure_id"], row["reason"]) for row in rows]


def by_import(path, folder):
    table = folder / "imported.parquet"
    import_dataset(path, "pbe", table)
    accepted = read_table(table, "imported")["structure_id"].to_pylist()
    beside = failures_beside(table)
    rows = read_table(beside, "failures").to_pylist() if beside.exists() else []
    assert all(row["stage"] == "import" and path.name in row["detail"] for row in rows)
    return [sanitised(name) for name in accepted], [
        (sanitised(row["structure_id"]), row["reason"]) for row in rows
    ]


DOORS = [by_source, by_select, by_import]


def check(path, folder, expected):
    """Every door says the same, and it is right."""
    accepted = [sanitised(name) for name, reason in expected if reason is None]
    refused = [(sanitised(name), reason) for name, reason in expected if reason is not None]
    for door in DOORS:
        assert door(path, folder) == (accepted, refused), door.__name__


@pytest.mark.parametrize("ending", ["extxyz", "extxyz.gz", "db"])
def test_frames(tmp_path, ending):
    path, names, reasons = tmp_path / f"frames.{ending}", [], []
    frames = []
    for i, (given, reason) in enumerate(FRAMES.values()):
        atoms = given.copy()
        results = given.calc.results if given.calc else {"energy": -1.0, "forces": np.zeros((2, 3))}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
        names.append(f"frames-{i:05d}")
        reasons.append(reason)
    if ending == "db":
        with connect(path) as database:
            for atoms in frames:
                occupancy = {key: array for key, array in atoms.arrays.items() if key == "occupancy"}
                database.write(atoms, data={**atoms.info, **occupancy})
    else:
        write(path, frames, format="extxyz")
    check(path, tmp_path, list(zip(names, reasons, strict=True)))


@pytest.mark.parametrize("form", ["a list", "one for each line"])
def test_documents(tmp_path, form):
    path = tmp_path / "documents.json"
    records = [each for each, _ in DOCUMENTS]
    text = json.dumps(records) if form == "a list" else "\n".join(map(json.dumps, records))
    path.write_text(text)
    check(path, tmp_path, [(each["matpes_id"], reason) for each, reason in DOCUMENTS])


GOOD = """2
Lattice="5.3 0 0 0 5.3 0 0 0 5.4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-8.25 {more} pbc="T T T"
K 0 0 0 0.2 0 0
F 2.6 2.6 2.7 -0.2 0 0
"""
BROKEN = {
    "deuterium": (GOOD.replace("K 0", "D 0"), None),
    "tritium in lower case": (GOOD.replace("K 0", "t 0"), None),
    "no element": (GOOD.replace("K 0", "Qq 0"), "unsupported_element"),
    "ghost": (GOOD.replace("K 0", "X 0"), "unsupported_element"),
    "keys that nobody knows": (
        GOOD.replace("{more}", 'a=b=c "d e"={1} F-x=[[1 2] [3]] _JSON="_JSON {"'),
        None,
    ),
    "properties of another type": (GOOD.replace("pos:R:3", "pos:Q:3"), "unreadable"),
    "properties without positions": (GOOD.replace("pos:R:3", "vel:R:3"), "unreadable"),
    "properties with a million columns": (GOOD.replace("forces:R:3", "forces:R:99999999999"), "unreadable"),
    "a column too few": (GOOD.replace("K 0 0 0 0.2 0 0", "K 0 0 0 0.2 0"), "unreadable"),
    "a column too many": (GOOD.replace("K 0 0 0 0.2 0 0", "K 0 0 0 0.2 0 0 7"), "unreadable"),
    "a word for a number": (GOOD.replace("2.6 2.6", "2.6 ****"), "unreadable"),
    "an atom too few": (GOOD.replace("F 2.6 2.6 2.7 -0.2 0 0\n", ""), "unreadable"),
    "an atom too many": (GOOD + "F 2.6 2.6 2.7 -0.2 0 0\n", "unreadable"),
    "a blank line for an atom": (GOOD.replace("K 0 0 0 0.2 0 0", ""), "unreadable"),
    "a terabyte of atoms": (GOOD.replace("2\n", "1000000000000\n", 1), "too_many_atoms"),
    "no number of atoms": (GOOD.replace("2\n", "two\n", 1), "unreadable"),
    "a negative number of atoms": (GOOD.replace("2\n", "-2\n", 1), "unreadable"),
    "no atoms": ('0\nLattice="5 0 0 0 5 0 0 0 5"\n', "unreadable"),
    "no lattice": ("2\nit's a molecule\nK 0 0 0\nF 1 1 1\n", "not_periodic"),
    "a lattice of eight numbers": (GOOD.replace('5.4"', '"'), "unreadable"),
    "a lattice that is not finite": (GOOD.replace('5.4"', 'nan"'), "unreadable"),
    "a quote that is not closed": (GOOD.replace("{more}", 'note="'), "unreadable"),
    "periodic in four directions": (GOOD.replace("T T T", "T T T T"), "unreadable"),
    "periodic in words": (GOOD.replace('"T T T"', '"true True 1"'), None),
    "positions that are not finite": (GOOD.replace("2.7", "inf"), "unreadable"),
    "blank lines before it": ("\n  \n" + GOOD, None),
    "two numbers for one element": (
        GOOD.replace("species:S:1", "species:S:1:Z:I:1").replace("K 0", "K 20 0").replace("F 2", "F 9 2"),
        "incomplete",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_costs_itself_alone(tmp_path, kind):
    text, reason = BROKEN[kind]
    first, last = (GOOD.replace("{more}", f"structure_id={name}") for name in ("first", "last"))
    (tmp_path / "x.extxyz").write_text(first + text.replace("{more}", "") + last)
    check(tmp_path / "x.extxyz", tmp_path, [("first", None), ("x-00001", reason), ("last", None)])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("carriage returns", lambda text: text.replace("\n", "\r\n").encode()),
        ("a byte-order mark", lambda text: b"\xef\xbb\xbf" + text.encode()),
        ("UTF-16", lambda text: text.encode("utf-16")),
        ("latin-1", lambda text: text.encode("latin-1")),
        ("no line end", lambda text: text.rstrip("\n").encode()),
    ],
)
def test_text_as_people_have_it(tmp_path, what, change):
    text = GOOD.replace("{more}", 'note="J. Müller, 5 Å"') + GOOD.replace("{more}", "material_id=b")
    (tmp_path / "x.xyz").write_bytes(change(text))
    check(tmp_path / "x.xyz", tmp_path, [("x-00000", None), ("b", None)])


def test_a_file_that_claims_more_atoms_than_a_computer_holds_is_refused_at_once(tmp_path):
    (tmp_path / "x.extxyz").write_text("1000000000000\n" + GOOD.split("\n", 1)[1].replace("{more}", ""))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"x: too_many_atoms: .*claims 1,000,000,000,000 atoms"):
        by_import(tmp_path / "x.extxyz", tmp_path)
    with pytest.raises(UserError, match="claims 1,000,000,000,000 atoms"):
        by_select(tmp_path / "x.extxyz", tmp_path)
    assert time.monotonic() - start < 5


def test_an_entry_that_is_torn_off_ends_a_file_and_costs_itself_alone(tmp_path):
    text = GOOD.replace("{more}", "") * 3
    (tmp_path / "x.extxyz").write_text(text[:-30])
    check(tmp_path / "x.extxyz", tmp_path, [("x-00000", None), ("x-00001", None), ("x-00002", "unreadable")])


def test_a_row_of_a_database_that_is_damaged_costs_itself_alone(tmp_path):
    import sqlite3

    path = tmp_path / "x.db"
    with connect(path) as database:
        for _ in range(4):
            database.write(rock_salt())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE systems SET positions = X'00' WHERE id = 2")
        connection.execute("UPDATE systems SET key_value_pairs = '{' WHERE id = 3")
    check(
        path,
        tmp_path,
        [("x-00000", None), ("x-00001", "unreadable"), ("x-00002", "unreadable"), ("x-00003", None)],
    )


def test_deuterium_is_hydrogen_and_the_crystal_says_so(tmp_path):
    (tmp_path / "x.extxyz").write_text(GOOD.replace("{more}", "").replace("K 0", "D 0"))
    (tmp_path / "x.json").write_text(json.dumps([document("d", first="D")]))
    with connect(tmp_path / "x.db") as database:
        database.write(Atoms("HF", [[0, 0, 0], [2, 2, 2]], cell=[5] * 3, pbc=True, masses=[2.014, 19.0]))
    for name in ("x.extxyz", "x.json", "x.db"):
        (found,) = files.load(files.Options(paths=[str(tmp_path / name)]))
        assert found.numbers.tolist() == [1, 9]
        (warning,) = found.warnings
        assert warning.startswith(f"{name}: deuterium (D")
        assert warning.endswith("is read as hydrogen")


def test_a_second_import_leaves_no_failures_of_the_first(tmp_path):
    path = tmp_path / "x.extxyz"
    path.write_text(GOOD.replace("{more}", "") + GOOD.replace("{more}", "charge=1"))
    assert by_import(path, tmp_path)[1] == [("x-00001", "charged")]
    path.write_text(GOOD.replace("{more}", ""))
    assert by_import(path, tmp_path) == (["x"], [])
    assert not list(tmp_path.glob("imported.failures*"))
