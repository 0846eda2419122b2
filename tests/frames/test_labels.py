"""Labels under the names that programs give them: understood, or named; never dropped without a word."""

import json
import logging

import numpy as np
import pytest

from pesatlas.atoms.units import KBAR_TO_EV_PER_A3
from pesatlas.dataset.imported import import_dataset
from pesatlas.errors import UserError
from pesatlas.tables import read_table
from pesatlas.tables.failures import failures_beside

A = 4.3
TENSOR = np.array([[0.012, 0.001, -0.002], [0.001, 0.015, 0.003], [-0.002, 0.003, -0.018]])
VOIGT = [0.012, 0.015, -0.018, 0.003, -0.002, 0.001]
FLAT = " ".join(map(str, TENSOR.reshape(-1)))
VIRIAL = " ".join(map(repr, (-TENSOR * A**3).reshape(-1).tolist()))
NOT_COMPUTED = "a stress that is zero throughout was not calculated"


def entry(keys, columns="forces:R:3", atoms=("0.2 0 0", "-0.2 0 0")):
    return f"""2
Lattice="{A} 0 0 0 {A} 0 0 0 {A}" Properties=species:S:1:pos:R:3:{columns} {keys} pbc="T T T"
Rb 0 0 0 {atoms[0]}
Br 2.1 2.1 2.1 {atoms[1]}
"""


@pytest.fixture
def read(tmp_path, caplog):
    """Return the rows, the failures and what was said of a file."""

    def reading(text, name="x.extxyz"):
        (tmp_path / name).write_text(text)
        caplog.clear()
        with caplog.at_level(logging.INFO, "pesatlas"):
            import_dataset(tmp_path / name, "pbe", tmp_path / "out.parquet")
        rows = read_table(tmp_path / "out.parquet", "imported").to_pylist()
        beside = failures_beside(tmp_path / "out.parquet")
        failures = read_table(beside, "failures").to_pylist() if beside.exists() else []
        return rows, [(row["reason"], row["detail"]) for row in failures], caplog.text

    return reading


STRESSES = {
    "stress of nine": f'energy=-3 stress="{FLAT}"',
    "stress of six": 'energy=-3 stress="' + " ".join(map(str, VOIGT)) + '"',
    "stress in brackets": f"energy=-3 stress=[{FLAT}]",
    "stress as JSON": f'energy=-3 stress="_JSON {json.dumps(TENSOR.tolist())}"',
    "virial": f'energy=-3 virial="{VIRIAL}"',
    "virials": f'energy=-3 virials="{VIRIAL}"',
    "Virial": f'Energy=-3 Virial="{VIRIAL}"',
    "REF_stress": f'REF_energy=-3 REF_stress="{FLAT}"',
    "REF_virial": f'REF_energy=-3 REF_virial="{VIRIAL}"',
    "REF_virials": f'REF_energy=-3 REF_virials="{VIRIAL}"',
    "dft_virial": f'dft_energy=-3 dft_virial="{VIRIAL}"',
    "DFT_virials": f'DFT_energy=-3 DFT_virials="{VIRIAL}"',
    "a stress and its virial": f'energy=-3 stress="{FLAT}" virial="{VIRIAL}"',
    "a stress that was not computed and a virial": f'energy=-3 stress="0 0 0 0 0 0" virial="{VIRIAL}"',
}
FORCES = ["forces:R:3", "force:R:3", "REF_forces:R:3", "dft_forces:R:3", "DFT_force:R:3"]


@pytest.mark.parametrize("kind", STRESSES)
def test_stress_by_all_its_names(read, kind):
    rows, failures, said = read(entry(STRESSES[kind]))
    assert not failures
    assert "not read" not in said
    np.testing.assert_allclose(rows[0]["stress_eV_per_A3"], VOIGT, rtol=1e-12)
    assert rows[0]["energy_eV"] == -3


@pytest.mark.parametrize("columns", FORCES)
def test_forces_by_all_their_names(read, columns):
    rows, failures, said = read(entry("energy=-3", columns))
    assert not failures
    assert "not read" not in said
    assert rows[0]["forces_eV_per_A"] == [0.2, 0, 0, -0.2, 0, 0]


def test_the_virial_of_the_handed_case():
    """0.7 eV on the diagonal in 75.852 Å3: with its sign turned, a tension."""
    from pesatlas.frames.frame import Frame
    from pesatlas.frames.labels import read_labels

    frame = Frame(
        np.array([1]), np.diag([4.2, 4.2, 4.3]), np.zeros((1, 3)), columns={"forces": np.zeros((1, 3))}
    )
    found = read_labels(frame, {"energy": "-1", "virials": "-0.7 0 0 0 -0.7 0 0 0 -0.7"})
    np.testing.assert_allclose(found.stress, [0.7 / 75.852] * 3 + [0] * 3)


@pytest.mark.parametrize(
    ("keys", "columns", "named"),
    [
        ("energy=-3 mace_energy=-4", "forces:R:3", "mace_energy"),
        ("energy=-3 energy_per_atom=-4", "forces:R:3", "energy_per_atom"),
        ("energy=-3 pbe_stress=[1]", "forces:R:3", "pbe_stress"),
        ("energy=-3 bandgap=1", "forces:R:3", "bandgap"),
        ("REF_energy=-3 energy=-4", "REF_forces:R:3", "energy"),
        ('energy=-3 virial="1 2 3 4 5 6"', "forces:R:3", "virial"),
    ],
)
def test_what_looks_like_a_label_and_is_not_read_is_named(read, keys, columns, named):
    rows, _, said = read(entry(keys, columns))
    assert rows[0]["energy_eV"] == -3
    assert f"{named} is not read" in said
    assert "(1 rows)" in said


def test_energies_of_atoms_are_named(read):
    rows, _, said = read(entry("energy=-3", "forces:R:3:energies:R:1", ("0.2 0 0 1", "-0.2 0 0 1")))
    assert len(rows) == 1
    assert "energies is not read" in said


@pytest.mark.parametrize("keys", ["pbe_energy=-3", 'stress="1 2 3 4 5 6"', ""])
def test_without_an_energy_that_is_understood_a_row_is_refused_by_name(tmp_path, keys):
    (tmp_path / "x.extxyz").write_text(entry(keys))
    with pytest.raises(UserError, match=r"incomplete: .* no energy") as error:
        import_dataset(tmp_path / "x.extxyz", "pbe", tmp_path / "out.parquet")
    assert "pbe_energy, not read" in str(error.value) or "pbe" not in keys


def test_reference_labels_are_never_mixed_with_those_of_a_model(read):
    keys = f'REF_energy=-3 energy=-4 stress="{FLAT}"'
    columns, atoms = "REF_forces:R:3:forces:R:3", ("0.2 0 0 9 9 9", "-0.2 0 0 9 9 9")
    rows, _, said = read(entry(keys, columns, atoms))
    assert (rows[0]["energy_eV"], rows[0]["forces_eV_per_A"][0]) == (-3, 0.2)
    assert rows[0]["stress_eV_per_A3"] is None
    for name in ("energy", "forces", "stress"):
        assert f": {name} is not read" in said


ALONE = 'dft_energy=-3 dft_stress="0.1 0 0 0 0.2 0 0 0 0.3"'
BESIDE = f'{ALONE} energy=-4 stress="{FLAT}"'
BOTH, TWO = "forces:R:3:REF_forces:R:3", ("9 9 9 0.2 0 0", "9 9 9 -0.2 0 0")


@pytest.mark.parametrize(
    ("keys", "columns", "atoms", "named"),
    [
        (BESIDE, "forces:R:3", ("1 0 0", "-1 0 0"), ("dft_energy", "energy", "forces")),
        (
            BESIDE.replace("dft_", "REF_"),
            "forces:R:3",
            ("1 0 0", "-1 0 0"),
            ("REF_energy", "energy", "forces"),
        ),
        (
            "free_energy=-4 REF_energy=-3",
            "forces:R:3",
            ("1 0 0", "-1 0 0"),
            ("REF_energy", "free_energy", "forces"),
        ),
        ("energy=-4", BOTH, TWO, ("REF_forces", "energy", "forces")),
        (
            f'energy=-4 stress="{FLAT}" REF_virial="{VIRIAL}"',
            "forces:R:3",
            ("1 0 0", "-1 0 0"),
            ("REF_virial", "stress"),
        ),
        (
            'REF_stress="1 0 0 0 0 0" dft_energy=-3 energy=-4',
            "forces:R:3",
            ("1 0 0", "-1 0 0"),
            ("dft_energy", "energy", "forces"),
        ),
    ],
)
def test_where_reference_labels_lack_something_a_model_does_not_fill_in(read, keys, columns, atoms, named):
    rows, failures, _ = read(entry("energy=-1") + entry(keys, columns, atoms))
    assert [row["energy_eV"] for row in rows] == [-1]
    assert failures[0][0] == "bad_output"
    assert "lines 5-8: labels of two calculations" in failures[0][1]
    for name in named:
        assert name in failures[0][1]


def test_labels_of_several_prefixes_that_do_not_compete_are_read_together(read):
    rows, failures, said = read(entry(ALONE) + entry("energy=-3 REF_stress=[0.1,0,0,0,0.2,0,0,0,0.3]"))
    assert not failures
    assert "not read" not in said
    for row in rows:
        assert (row["energy_eV"], row["forces_eV_per_A"][0]) == (-3, 0.2)
        np.testing.assert_allclose(row["stress_eV_per_A3"], [0.1, 0.2, 0.3, 0, 0, 0])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("energy=-3 total_energy=-4", "energy and total_energy are not the same: -3 and -4"),
        ("energy=-3 Energy=-4", "energy and Energy are not the same: -3 and -4"),
        ("REF_energy=-3 ref_energy=-4", "REF_energy and ref_energy are not the same: -3 and -4"),
        (f'energy=-3 virial="{VIRIAL}" virials="{FLAT}"', "virial and virials are not the same"),
    ],
)
def test_two_values_for_one_label_are_a_failure(read, keys, words):
    rows, failures, _ = read(entry("energy=-3 total_energy=-3.0") + entry(keys))
    assert len(rows) == 1
    assert failures[0][0] == "bad_output"
    assert words in failures[0][1]


def test_a_key_with_two_values_is_a_failure(read):
    good = entry("energy=-3 energy=-3.0 pesatlas_rank=4 pesatlas_rank=0 quiet quiet")
    slow = entry("note={a b} energy=-7 energy=-8")
    cells = entry(f'energy=-7 lattice="{A} 0 0 0 {A} 0 0 0 5"')
    rows, failures, _ = read(good + entry("energy=-7 energy=-8") + slow + cells)
    assert [row["energy_eV"] for row in rows] == [-3]
    assert [reason for reason, _ in failures] == ["unreadable"] * 3
    for (_, detail), lines in zip(failures[:2], ("5-8", "9-12"), strict=True):
        assert f"lines {lines}: its comment line: energy occurs twice, as '-7' and as '-8'" in detail
    assert f"Lattice='{A} 0 0 0 {A} 0 0 0 {A}' and lattice=" in failures[2][1]


def test_the_free_energy_is_kept_apart_and_stands_in_where_it_is_alone(read):
    rows, _, said = read(entry("energy=-3 free_energy=-3.5") + entry("free_energy=-3.5"))
    assert [(row["energy_eV"], row["free_energy_eV"]) for row in rows] == [(-3, -3.5), (-3.5, -3.5)]
    assert "the energy is free_energy: there is no other (1 rows)" in said


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (entry("energy=nan"), "energy"),
        (entry("energy=-inf"), "energy"),
        (entry("energy=-3", atoms=("nan 0 0", "0 0 0")), "forces"),
        (entry('energy=-3 stress="nan 0 0 0 0 0 0 0 0"'), "stress"),
        (entry('energy=-3 virial="inf 0 0 0 0 0 0 0 0"'), "virial"),
        (entry("energy=-3", "forces:R:3:magmoms:R:1", ("0 0 0 nan", "0 0 0 1")), "magmoms"),
    ],
)
def test_labels_that_are_not_finite_are_failures(read, text, name):
    rows, failures, _ = read(entry("energy=-3") + text)
    assert len(rows) == 1
    assert [reason for reason, _ in failures] == ["not_finite"]
    assert f"lines 5-8: {name} is not finite" in failures[0][1]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('stress="1 2 0 0 1 0 0 0 1"', "stress is not symmetric"),
        ('virial="-1 2 3 0 1 0 0 0 1"', "virial is not symmetric"),
        ('stress="1 2 3"', "stress is 3 numbers, not six or nine"),
        (
            f'stress="{" ".join(str(160.2 * x) for x in TENSOR.reshape(-1))}" virial="{VIRIAL}"',
            "another unit or sign",
        ),
        (
            f'stress="{" ".join(str(-x) for x in TENSOR.reshape(-1))}" virial="{VIRIAL}"',
            "another unit or sign",
        ),
    ],
)
def test_a_stress_that_contradicts_itself_is_a_failure(read, keys, words):
    rows, failures, _ = read(entry("energy=-3") + entry(f"energy=-3 {keys}"))
    assert len(rows) == 1
    assert failures[0][0] == "bad_output"
    assert words in failures[0][1]


@pytest.mark.parametrize(
    "keys", ['stress="0 0 0 0 0 0 0 0 0"', 'stress="0 0 0 0 0 0"', 'virial="0 0 0 0 0 0 0 0 0"']
)
def test_a_stress_of_zero_was_not_computed(read, keys):
    rows, failures, said = read(entry(f"energy=-3 {keys}") * 3 + entry(f'energy=-3 stress="{FLAT}"'))
    assert not failures
    assert [row["stress_eV_per_A3"] is None for row in rows] == [True, True, True, False]
    assert f"{NOT_COMPUTED}: null (3 rows)" in said


def document(**changes):
    sites = [
        {"species": [{"element": "Rb", "occu": 1}], "abc": [0, 0, 0]},
        {"species": [{"element": "Br", "occu": 1}], "abc": [0.5, 0.5, 0.5]},
    ]
    structure = {"lattice": {"matrix": (A * np.eye(3)).tolist()}, "sites": sites}
    forces = [[0.2, 0, 0], [-0.2, 0, 0]]
    return {"structure": structure, "energy": -3.0, "forces": forces, "stress": None} | changes


def test_labels_of_json(read):
    kbar = (-TENSOR / KBAR_TO_EV_PER_A3).tolist()
    good = [document(stress=kbar), document(stress=[-x / KBAR_TO_EV_PER_A3 for x in VOIGT]), document()]
    zero = document(stress=[0.0] * 6, mace_energy=1)
    bad = [
        (document(energy=float("nan")), "not_finite"),
        (document(energy=None), "incomplete"),
        (document(forces=[[0.2, 0, float("nan")], [0, 0, 0]]), "not_finite"),
        (document(forces=[[0.2, 0, 0]]), "incomplete"),
        (document(forces=None), "incomplete"),
        (document(stress=[1.0, 2, 3]), "bad_output"),
        (document(stress=[[0, 1, 0], [9, 0, 0], [0, 0, 0]]), "bad_output"),
        (document(energy="low"), "unreadable"),
    ]
    rows, failures, said = read(json.dumps([*good, zero, *(each for each, _ in bad)]), "x.json")
    for row in rows[:2]:
        np.testing.assert_allclose(row["stress_eV_per_A3"], VOIGT, rtol=1e-10)
    assert [row["stress_eV_per_A3"] for row in rows[2:]] == [None, None]
    assert [reason for reason, _ in failures] == [reason for _, reason in bad]
    assert f"{NOT_COMPUTED}: null (1 rows)" in said
    assert "mace_energy is not read (1 rows)" in said


def test_lines_of_json_that_are_none_cost_themselves_alone(read):
    lines = [json.dumps(document(matpes_id=name)) for name in "abc"]
    rows, failures, _ = read(
        "\n".join([lines[0], lines[1][:70], lines[1], '{"energy": 1}}', lines[2]]), "x.jsonl"
    )
    assert [row["snapshot_id"] for row in rows] == ["a", "b", "c"]
    assert {reason for reason, _ in failures} == {"unreadable"}


def test_labels_of_an_ase_database(tmp_path):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    atoms = Atoms("RbBr", [[0, 0, 0], [2.1] * 3], cell=[A] * 3, pbc=True)
    forces = np.array([[0.2, 0, 0], [-0.2, 0, 0]])
    with connect(tmp_path / "x.db") as database:
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces, stress=np.array(VOIGT))
        database.write(atoms, structure_id="mp-1", gap=1.0)
        atoms.calc = None
        database.write(atoms, REF_energy=-3.0, data={"REF_forces": forces, "REF_virials": -TENSOR * A**3})
        database.write(atoms)
    import_dataset(tmp_path / "x.db", "pbe", tmp_path / "out.parquet")
    first, second = read_table(tmp_path / "out.parquet", "imported").to_pylist()
    assert (first["structure_id"], second["structure_id"]) == ("mp-1", "x-00001")
    for row in (first, second):
        assert (row["energy_eV"], row["forces_eV_per_A"][:2]) == (-3.0, [0.2, 0.0])
        np.testing.assert_allclose(row["stress_eV_per_A3"], VOIGT, rtol=1e-10)
    (failure,) = read_table(failures_beside(tmp_path / "out.parquet"), "failures").to_pylist()
    assert (failure["reason"], failure["key"]) == ("incomplete", "x-00002")
