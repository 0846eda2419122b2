"""Softness: what was done to the forces, energies and stresses of a potential is found again."""

import numpy as np
import pyarrow as pa
import pytest

from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.report.softness import LABELS, softness
from pesatlas.tables import SCHEMAS

SALT, WATER = [11, 17], [8, 1, 1]


def frames(count, *, structure="NaCl", domain="bulk", numbers=SALT, seed=0):
    """Some rows with what DFT says of them; random numbers."""
    rng = np.random.default_rng(seed)
    return [
        {
            "snapshot_id": f"{structure}:unit:{domain}:{i:03d}",
            "structure_id": structure,
            "domain": domain,
            "n_atoms": len(numbers),
            "numbers": numbers,
            "energy_eV": rng.normal(),
            "forces_eV_per_A": rng.normal(size=3 * len(numbers)).tolist(),
            "stress_eV_per_A3": rng.normal(size=6).tolist(),
        }
        for i in range(count)
    ]


def compared(rows, change=lambda row: {}, labelled=None):
    """Describe by group a potential that says what DFT says, except for what ``change`` makes of a row."""
    labelled = rows if labelled is None else labelled
    asked = [
        {
            "mlip_energy_eV": row["energy_eV"],
            "mlip_forces_eV_per_A": row["forces_eV_per_A"],
            "mlip_stress_eV_per_A3": row["stress_eV_per_A3"],
            "potential": "test",
            "potential_hash": "test",
            "code_version": "test",
        }
        | row
        | change(row)
        for row in rows
    ]
    labels = pa.Table.from_pylist(
        labelled[::-1], pa.schema([SCHEMAS["dataset"].field(name) for name in LABELS])
    )  # in another order
    found = softness(pa.Table.from_pylist(asked, SCHEMAS["parity"]), labels)
    return {(each["of"], each["name"]): each for each in found}


def scaled(row, by):
    return {"mlip_forces_eV_per_A": [by * f for f in row["forces_eV_per_A"]]}


def test_a_perfect_potential_has_slope_one_and_no_error():
    found = compared(frames(5) + frames(4, structure="H2O", domain="hot", numbers=WATER, seed=1))
    assert set(found) == {
        ("all", ""),
        *(("domain", name) for name in ("bulk", "hot")),
        *(("element", symbol) for symbol in ("H", "O", "Na", "Cl")),
    }
    for each in found.values():
        assert each["force_slope"] == pytest.approx(1)
        assert each["force_mae_eV_per_A"] == each["force_rmse_eV_per_A"] == each["stress_mae_GPa"] == 0
        assert each["energy_mae_meV_per_atom"] == 0
    assert (found["all", ""]["rows"], found["all", ""]["atoms"]) == (9, 22)
    assert (found["element", "H"]["rows"], found["element", "H"]["atoms"]) == (4, 8)
    assert (found["domain", "hot"]["energy_rows"], found["all", ""]["energy_crystals"]) == (4, 2)


def test_a_soft_domain_is_found_with_its_slope_and_errors():
    rows = frames(5) + frames(4, structure="H2O", domain="hot", numbers=WATER, seed=1)
    found = compared(rows, lambda row: scaled(row, 0.8) if row["domain"] == "hot" else {})
    assert found["domain", "bulk"]["force_slope"] == pytest.approx(1)
    forces = np.array([row["forces_eV_per_A"] for row in rows if row["domain"] == "hot"])
    for name in (("domain", "hot"), ("element", "O"), ("element", "H")):
        assert found[name]["force_slope"] == pytest.approx(0.8)
    hot = found["domain", "hot"]
    assert hot["force_mae_eV_per_A"] == pytest.approx(0.2 * np.abs(forces).mean())
    assert hot["force_rmse_eV_per_A"] == pytest.approx(0.2 * np.sqrt((forces**2).mean()))
    assert 0.8 < found["all", ""]["force_slope"] < 1


def test_a_soft_element_is_found_though_its_neighbours_are_right():
    soft = np.repeat([0.7, 1.0, 1.0], 3)  # oxygen alone
    found = compared(frames(6, structure="H2O", numbers=WATER), lambda row: scaled_by(row, soft))
    assert found["element", "O"]["force_slope"] == pytest.approx(0.7)
    assert found["element", "H"]["force_slope"] == pytest.approx(1)
    assert found["element", "H"]["force_mae_eV_per_A"] == 0


def scaled_by(row, factors):
    return {"mlip_forces_eV_per_A": (factors * row["forces_eV_per_A"]).tolist()}


def test_zeros_of_energy_do_not_matter_within_a_crystal_whatever_its_cell():
    double = frames(3, structure="NaCl", numbers=SALT * 2, seed=2, domain="hot")
    offset = {"NaCl": 7.0, "H2O": -40.0}
    rows = frames(5) + double + frames(4, structure="H2O", numbers=WATER, seed=1)
    found = compared(
        rows,
        lambda row: {"mlip_energy_eV": row["energy_eV"] + row["n_atoms"] * offset[row["structure_id"]]},
    )
    assert all(each["energy_mae_meV_per_atom"] == pytest.approx(0, abs=1e-9) for each in found.values())
    assert found["all", ""]["energy_crystals"] == 2


def test_a_vacancy_has_a_zero_of_its_own():
    whole = frames(3, numbers=SALT * 2)
    vacancy = frames(3, numbers=[11, 17, 11], domain="vacancy", seed=1)
    found = compared(
        whole + vacancy, lambda row: {"mlip_energy_eV": row["energy_eV"] + 3.0 * row["numbers"].count(17)}
    )
    assert found["all", ""]["energy_mae_meV_per_atom"] == pytest.approx(0, abs=1e-9)
    assert found["all", ""]["energy_crystals"] == 2


def test_errors_of_energies_are_relative_to_the_mean_of_the_crystal():
    shifts = iter([1.0, 0.0, 0.0, 0.0])  # eV; mean 0.25, so 0.75 and three times 0.25, over two atoms
    found = compared(frames(4), lambda row: {"mlip_energy_eV": row["energy_eV"] + next(shifts)})
    assert found["all", ""]["energy_mae_meV_per_atom"] == pytest.approx(1000 * (0.75 + 3 * 0.25) / 4 / 2)


def test_a_crystal_with_a_single_row_says_nothing_of_energies():
    found = compared(frames(1) + frames(3, structure="H2O", numbers=WATER))
    assert found["element", "Na"]["energy_mae_meV_per_atom"] is None
    assert (found["all", ""]["rows"], found["all", ""]["energy_rows"]) == (4, 3)


def test_stress_is_weighted_by_atoms_for_elements_and_by_rows_otherwise():
    rows = frames(1, numbers=SALT) + frames(1, structure="Na3Cl", numbers=[11, 11, 11, 17], seed=1)
    off = {"NaCl": 0.01, "Na3Cl": 0.03}
    found = compared(
        rows,
        lambda row: {
            "mlip_stress_eV_per_A3": [s + off[row["structure_id"]] for s in row["stress_eV_per_A3"]]
        },
    )
    assert found["all", ""]["stress_mae_GPa"] == pytest.approx(0.02 * EV_PER_A3_TO_GPA)
    assert found["element", "Na"]["stress_mae_GPa"] == pytest.approx(0.025 * EV_PER_A3_TO_GPA)
    assert found["element", "Cl"]["stress_mae_GPa"] == pytest.approx(0.02 * EV_PER_A3_TO_GPA)


def test_forces_that_symmetry_makes_zero_have_no_slope():
    rows = [row | {"forces_eV_per_A": [1e-6] * 6} for row in frames(3)]
    assert compared(rows, lambda row: scaled(row, 3.0))["all", ""]["force_slope"] is None


def test_rows_that_the_potential_could_not_evaluate_or_that_have_no_label_are_left_out():
    nothing = dict.fromkeys(("mlip_energy_eV", "mlip_forces_eV_per_A", "mlip_stress_eV_per_A3"))
    rows = frames(4)
    found = compared(rows, lambda row: nothing if row is rows[0] else {})
    assert found["all", ""]["rows"] == 3
    assert compared(rows, labelled=rows[1:3])["all", ""]["rows"] == 2
    assert compared(rows, labelled=[]) == compared([]) == {}
