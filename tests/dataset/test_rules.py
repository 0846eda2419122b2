"""Acceptance: each rule speaks when it should, says so in its row, and can change without relabelling."""

import json

import numpy as np
import pyarrow.compute as pc
import pytest

import vasp_files
from collecting import collect
from pesatlas.atoms.elements import atomic_number
from pesatlas.campaign.layout import below
from pesatlas.config.dataset import AtLeast, Dataset, Rule, Rules, Window
from pesatlas.dataset.chemistry import material_group
from pesatlas.dataset.verify import verify
from pesatlas.tables import read_entry, read_table, write_table

GPA = 160.21766208


def verdicts(results, level="pbe"):
    """Return (verdict, names of the rules that spoke) of every label of a level, by snapshot."""
    found = {}
    for name in (f"dataset/{level}/part-00000.parquet", f"quarantine/{level}.parquet"):
        for row in read_table(results / name, "dataset").to_pylist():
            rules = tuple(each["rule"] for each in json.loads(row["verdict_rules"]))
            found[row["snapshot_id"]] = (row["verdict"], rules)
    return found


def make_cubic(results, labels):
    """Put the first snapshot on the sites of CsCl, without forces."""
    path = below(results, "selection")
    picks, counts = read_table(path, "selection").to_pylist(), read_entry(path).counts
    for row in (picks[0], *labels[:2]):
        row["positions_A"] = [0.0, 0, 0, 2, 2, 2]
    for row in labels[:2]:
        row["forces_eV_per_A"] = [0.0] * 6
    write_table(path, "selection", picks, "s", counts)


def not_finite(row):
    row["energy_eV"] = float("inf")


def another_geometry(row):
    row["positions_A"][5] += 1e-6


BROKEN = {
    "converged": lambda row: row.update(converged=False),
    "calculation": lambda row: row.update(verdict="quarantined", verdict_rules='["custodian changed SIGMA"]'),
    "structure": another_geometry,
    "finite": not_finite,
    "net_force": lambda row: row["forces_eV_per_A"].__setitem__(0, row["forces_eV_per_A"][0] + 0.03),
    "force": lambda row: row.update(forces_eV_per_A=[51.0, 0, 0, -51.0, 0, 0]),
    "cohesive_energy": lambda row: row.update(energy_eV=1.0, free_energy_eV=1.0),
    "stress": lambda row: row.update(stress_eV_per_A3=[0, 0, -101 / GPA, 0, 0, 0]),
    # T·S of 0.03 eV an atom: F = E0 - TS/2, for two atoms
    "entropy": lambda row: row.update(free_energy_eV=row["energy_eV"] - 0.03),
}
HARD = {"converged", "calculation", "structure", "finite", "net_force"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_speaks_for_the_label_that_breaks_it_and_no_other(campaign, tables, write_labels, rule):
    results, _, labels = tables
    BROKEN[rule](labels[0])
    collect(campaign, results, write_labels(results, labels))
    found = verdicts(results)
    verdict, rules = found.pop(labels[0]["snapshot_id"])
    assert verdict == ("quarantined" if rule in HARD else "flagged")
    assert rule in rules
    assert set(rules) - {rule} <= {"level_gap", "cohesive_energy", "entropy"}  # what follows from it
    assert set(found.values()) == {("accepted", ())}
    counts = read_entry(below(results, "dataset", level="pbe")).counts
    assert counts == {"accepted": 3, "flagged": int(rule not in HARD)}
    assert verify(results) == []


def test_atoms_too_close_and_a_level_apart_are_flagged(campaign, tables, write_labels):
    results, _, labels = tables
    campaign.dataset = Dataset(rules=Rules(distance=AtLeast(limit=3.0)))
    labels[1]["energy_eV"] += 3.0  # r2scan of the first snapshot: 1.5 eV/atom from the median gap
    labels[1]["free_energy_eV"] += 3.0
    collect(campaign, results, write_labels(results, labels))
    distances = {
        row["snapshot_id"]: row["min_distance_A"]
        for row in read_table(below(results, "dataset", level="pbe"), "dataset").to_pylist()
    }
    for name, (verdict, rules) in verdicts(results).items():
        assert ("distance" in rules) == (distances[name] < 3.0)
        assert ("level_gap" in rules) == (name == labels[1]["snapshot_id"])
        assert verdict == ("flagged" if rules else "accepted")
    row = read_table(below(results, "dataset", level="r2scan"), "dataset").to_pylist()[0]
    assert row["level_gap_eV_per_atom"] == pytest.approx(1.5, abs=1e-9)


def test_a_stress_less_symmetric_than_its_crystal_is_quarantined(campaign, tables, write_labels):
    results, _, labels = tables
    make_cubic(results, labels)
    labels[0]["stress_eV_per_A3"] = [0.1, 0.1, 0.1, 0, 0, 0]
    labels[1]["stress_eV_per_A3"] = [0.1, 0.1, 0.0, 0.1, 0, 0]  # components in a wrong order
    collect(campaign, results, write_labels(results, labels))
    name = labels[0]["snapshot_id"]
    assert verdicts(results, "pbe")[name] == ("accepted", ())
    assert verdicts(results, "r2scan")[name] == ("quarantined", ("stress_symmetry",))
    (row,) = read_table(below(results, "quarantine", level="r2scan"), "dataset").to_pylist()
    assert (row["space_group"], row["space_group_symbol"]) == (221, "Pm-3m")
    assert row["stress_asymmetry_GPa"] == pytest.approx(0.2 * GPA)  # yz turns to -yz


@pytest.mark.parametrize(("per_atom", "verdict"), [(0.019, "accepted"), (0.021, "flagged")])
def test_the_entropy_of_a_metal_is_the_whole_of_T_S(campaign, tables, write_labels, per_atom, verdict):
    """F = E - TS, and what is published as the energy is E0 = (E + F) / 2, as VASP writes them."""
    free, without, zero = vasp_files.energies(
        {"energy": -12.0, "entropy": 2 * per_atom, "steps": 1, "converged": True}, 0
    )
    assert without - free == pytest.approx(2 * per_atom)
    results, _, labels = tables
    labels[0] |= {"energy_eV": zero, "free_energy_eV": free}
    collect(campaign, results, write_labels(results, labels))
    row, *_ = read_table(below(results, "dataset", level="pbe"), "dataset").to_pylist()
    assert row["snapshot_id"] == labels[0]["snapshot_id"]
    assert row["entropy_eV_per_atom"] == pytest.approx((without - free) / 2)  # two atoms
    assert ("entropy" in verdicts(results)[row["snapshot_id"]][1]) == (verdict == "flagged")


def test_limits_change_what_is_accepted_and_no_label_is_read_otherwise(campaign, tables, write_labels):
    results, _, labels = tables
    BROKEN["net_force"](labels[0])
    files = write_labels(results, labels)
    before = [path.read_bytes() for path in files]
    seen = []
    for then, limit in (("quarantine", 0.02), ("flag", 0.02), ("ignore", 0.02), ("quarantine", 0.05)):
        campaign.dataset = Dataset(rules=Rules(net_force=Rule(limit=limit, then=then, source="test")))
        collect(campaign, results, files)
        seen.append(verdicts(results)[labels[0]["snapshot_id"]][0])
        assert verify(results) == []
    assert seen == ["quarantined", "flagged", "accepted", "accepted"]
    assert [path.read_bytes() for path in files] == before


def test_what_has_no_value_breaks_no_rule(campaign, tables):
    results, files, _ = tables
    campaign.dataset = Dataset(rules=Rules(cohesive_energy=Window(lowest=1.0, highest=2.0)))
    atoms = read_table(below(results, "atoms"), "atoms")
    write_table(below(results, "atoms"), "atoms", atoms.filter(pc.not_equal(atoms["element"], "Na")), "s")
    collect(campaign, results, files)
    assert set(verdicts(results).values()) == {("accepted", ())}


def test_formation_energies_are_relative_to_the_crystals_of_the_elements_at_the_same_level(
    campaign, tables, write_labels
):
    results, _, labels = tables
    path = below(results, "selection")
    picks, counts = read_table(path, "selection").to_pylist(), read_entry(path).counts
    for i, numbers in enumerate(([11, 11], [17, 17], [11, 17])):
        for row in (picks[i], *labels[2 * i : 2 * i + 2]):
            row |= {"numbers": numbers, "condition": "equilibrium"}
    write_table(path, "selection", picks, "s", counts)
    collect(campaign, results, write_labels(results, labels))
    for level in ("pbe", "r2scan"):
        sodium, chlorine, salt, frame = read_table(
            below(results, "dataset", level=level), "dataset"
        ).to_pylist()
        assert sodium["formation_energy_eV_per_atom"] == chlorine["formation_energy_eV_per_atom"] == 0
        expected = salt["energy_eV"] / 2 - sodium["energy_eV"] / 4 - chlorine["energy_eV"] / 4
        assert salt["formation_energy_eV_per_atom"] == pytest.approx(expected)
        assert frame["formation_energy_eV_per_atom"] is None
        assert (sodium["material_group"], sodium["formula"]) == ("element", "Na")


@pytest.mark.parametrize(
    ("symbols", "group"),
    [
        ("Si", "element"),
        ("Ni Al", "intermetallic"),
        ("Mg O", "oxide"),
        ("Li Fe P O", "oxide"),
        ("Na Cl", "halide"),
        ("Ca F", "fluoride"),
        ("Ga As", "pnictide"),
        ("Li N", "nitride"),
        ("Mo S", "chalcogenide"),
        ("Si C", "carbide"),
        ("Mg Si", "silicide or germanide"),
        ("Bi O Cl", "mixed-anion"),
        ("Xe F", "noble-gas compound"),
    ],
)
def test_material_groups(symbols, group):
    assert material_group([atomic_number(symbol) for symbol in symbols.split()]) == group


def test_derived_quantities_are_those_of_the_row(finished):
    for row in read_table(finished / "dataset/pbe/part-00000.parquet", "dataset").to_pylist():
        forces = np.reshape(row["forces_eV_per_A"], (2, 3))
        assert row["abs_forces_eV_per_A"] == pytest.approx(np.linalg.norm(forces, axis=1))
        assert row["max_force_eV_per_A"] == pytest.approx(np.linalg.norm(forces, axis=1).max())
        assert row["static_pressure_GPa"] == pytest.approx(-sum(row["stress_eV_per_A3"][:3]) / 3 * GPA)
        assert (row["formula"], row["chemical_system"], row["material_group"]) == ("ClNa", "Cl-Na", "halide")
        assert row["min_distance_A"] == pytest.approx(_nearest(row))
        assert row["formation_energy_eV_per_atom"] is None


def _nearest(row):
    from ase import Atoms

    atoms = Atoms(
        row["numbers"],
        np.reshape(row["positions_A"], (-1, 3)),
        cell=np.reshape(row["cell_A"], (3, 3)),
        pbc=True,
    )
    apart = atoms.get_distance(0, 1, mic=True)
    return min(apart, 4.0)
