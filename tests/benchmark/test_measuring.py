"""Measurements go on where they stopped, in any number of shares, and what is wrong with data is said."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import benchmarking
from benchmarking import Counting, argon, entry, measured, write
from known_thermodynamics import LennardJones
from pesatlas.benchmark.element_energies import elements_file
from pesatlas.benchmark.matcalc_sets import fetch_data
from pesatlas.benchmark.score import write_scores
from pesatlas.benchmark.structure_sets import choose, read_structure
from pesatlas.config.benchmark import Benchmark, suite
from pesatlas.errors import UserError
from pesatlas.tables import read_table


def run(folder, most, kind, **options):
    """Measure in a process of its own that is killed after so many evaluations; return its status, rows and
    evaluations."""
    done = subprocess.run(
        [sys.executable, benchmarking.__file__, str(folder), str(most), kind, json.dumps(options)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, *(json.loads(done.stdout) if done.returncode == 0 else (None, None))


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "wall_s"} for row in rows]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("elasticity", {}),
        ("md_stability", {"min_length_A": 0, "length_ps": 0.1, "first_K": 20, "last_K": 40}),
    ],
)
def test_a_killed_measurement_goes_on_and_ends_the_same(tmp_path, kind, options):
    for name in ("whole", "killed"):
        argon(tmp_path / name)
    status, rows, calls = run(tmp_path / "whole", 0, kind, **options)
    assert status == 0
    assert {row["reason"] for row in rows} == {None}
    killed, *_ = run(tmp_path / "killed", calls * 2 // 3, kind, **options)
    assert killed < 0
    status, again, rest = run(tmp_path / "killed", 0, kind, **options)
    assert status == 0
    assert without_times(again) == without_times(rows)
    assert rest < 0.8 * calls
    assert run(tmp_path / "killed", 0, kind, **options)[2] == 0  # all is in the store


def test_shares_in_any_order_give_the_same_tables(tmp_path):
    file = argon(tmp_path)
    whole = measured(LennardJones(), "elasticity", tmp_path / "a", **in_folder(tmp_path, file))
    shares = [
        row
        for k in (2, 0, 1)
        for row in measured(
            LennardJones(), "elasticity", tmp_path / "b", share=slice(k, None, 3), **in_folder(tmp_path, file)
        )
    ]
    for name, rows in (("a", whole), ("b", shares)):
        write_scores(without_wall(rows), tmp_path / name / "out")
    for table in ("scores", "summary", "differences"):
        one, other = (read_table(tmp_path / x / "out" / f"{table}.parquet", table) for x in "ab")
        assert one.equals(other)


def in_folder(data, file):
    from pesatlas.benchmark.structure_sets import Sources

    return {"file": file, "sources": Sources(data), "atoms_per_chunk": 4}


def without_wall(rows):
    return [row | {"wall_s": 0.0} for row in rows]


def test_two_properties_share_relaxations(tmp_path):
    file, potential = argon(tmp_path), Counting()
    measured(potential, "relaxation", tmp_path, file=file, perturb_A=0)
    before = potential.calls
    measured(potential, "elasticity", tmp_path, file=file)
    # six crystals with 24 strains and themselves, 64 atoms together; nothing is relaxed again
    assert potential.calls - before == 6 * 2


def test_settings_and_other_potentials_are_measured_on_their_own(tmp_path):
    file, potential = argon(tmp_path, lengths=(5.3,)), Counting()
    options = {"file": file, "min_length_A": 0, "length_ps": 0.02, "first_K": 20.0}
    measured(potential, "md_stability", tmp_path, **options, last_K=30.0)
    for changes in ({"last_K": 40.0}, {"first_K": 25.0, "last_K": 30.0}):
        before = potential.calls
        measured(potential, "md_stability", tmp_path, **options | changes)
        assert potential.calls > before


def test_two_potentials_are_compared_on_the_crystals_that_both_have(tmp_path):
    file = argon(tmp_path)
    rows = measured(LennardJones(), "elasticity", tmp_path, file=file)
    for row in rows:
        row["potential"], row["reference"], row["error"] = "good", row["value"] + 1, 1.0
    worse = [row | {"potential": "worse", "error": 2.0 + 0.01 * k} for k, row in enumerate(rows)]
    worse[0] |= {"reason": "not_finite", "value": None, "error": None}
    summary = write_scores(rows + worse, tmp_path / "out")
    found = {(row["potential"], row["quantity"]): row for row in summary}
    assert found["good", "bulk_modulus"]["value"] == pytest.approx(1.0)
    assert found["good", "bulk_modulus"]["verdict"] == "good"
    assert {row["n_failed"] for row in summary if row["potential"] == "worse"} == {0, 1}
    differences = read_table(tmp_path / "out" / "differences.parquet", "differences").to_pylist()
    for row in differences:
        assert (row["first"], row["second"]) == ("good", "worse")
        assert row["high"] < 0
        assert row["p_value"] < 0.1
    assert sorted(row["n"] for row in differences) == [5, 6]
    assert "<svg" in (tmp_path / "out" / "figure.svg").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There are no .json"),
        ("[", "cannot be read as JSON"),
        ('{"a": 1}', "is not a list of entries but dict"),
        ('[{"mp_id": "a", "structure": {}}]', "no bulk_modulus_vrh, shear_modulus_vrh"),
        ('[{"structure": {}, "bulk_modulus_vrh": 1, "shear_modulus_vrh": 1}]', "no id"),
    ],
)
def test_data_that_cannot_be_used_are_explained(tmp_path, content, said):
    if content is not None:
        (tmp_path / "mp-elasticity.json.gz").write_bytes(gzip.compress(content.encode()))
    with pytest.raises(UserError, match=said):
        measured(LennardJones(), "elasticity", tmp_path)


def test_a_structure_that_is_none_becomes_a_row(tmp_path):
    good = entry("good", LennardJones().crystal(1, 5.3), bulk_modulus_vrh=1.0, shear_modulus_vrh=1.0)
    bad = good | {"material_id": "bad", "structure": {"lattice": 3}}
    shared = json.loads(json.dumps(good)) | {"material_id": "shared"}
    shared["structure"]["sites"][0]["species"][0]["occu"] = 0.5
    file = write(tmp_path, "x.json", [good, bad, shared])
    rows = {row["structure_id"]: row for row in measured(LennardJones(), "elasticity", tmp_path, file=file)}
    assert {name: row["reason"] for name, row in rows.items()} == {
        "good": None,
        "bad": "unreadable",
        "shared": "disordered",
    }


def test_which_structures_are_chosen_does_not_depend_on_their_order():
    entries = [{"id": f"mp-{i}", "structure": {"sites": [None] * (i % 7 + 1)}} for i in range(50)]
    first = [e["id"] for e in choose(entries, 10, 4)]
    assert first == [e["id"] for e in choose(entries[::-1], 10, 4)]
    assert first[:5] == [e["id"] for e in choose(entries, 5, 4)]
    assert len(first) == 10


def test_left_handed_cells_are_the_same_crystal():
    described = entry("a", LennardJones().crystal(1, 5.3))["structure"]
    matrix = described["lattice"]["matrix"]
    described["lattice"]["matrix"] = [matrix[1], matrix[0], matrix[2]]
    for site in described["sites"]:
        site["abc"] = [site["abc"][1], site["abc"][0], site["abc"][2]]
    start, failure = read_structure(described)
    assert failure is None
    assert np.linalg.det(start.cell) > 0


def test_elements_come_from_the_folder_or_from_matcalc(tmp_path):
    pytest.importorskip("matcalc")
    assert elements_file(tmp_path).parent.name == "elemental_refs"
    own = tmp_path / "MatPES-PBE-Element-Refs.json.gz"
    own.touch()
    assert elements_file(tmp_path) == own


def test_fetched_data_that_changed_are_noticed(tmp_path, monkeypatch):
    # not by the environment, which is read when the first test imports it
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    options = [suite("quick")["elasticity"]]
    with pytest.raises(UserError, match=r"could not be fetched.*benchmark\.data"):
        fetch_data(tmp_path, options)
    (tmp_path / "mp-elasticity.json.gz").write_bytes(b"by hand")
    fetch_data(tmp_path, options)
    fetch_data(tmp_path, options)
    (tmp_path / "mp-elasticity.json.gz").write_bytes(b"edited")
    with pytest.raises(UserError, match="changed since"):
        fetch_data(tmp_path, options)


def test_missing_data_are_said_when_the_configuration_is_read(tmp_path):
    settings = Benchmark.model_validate(
        {"data": tmp_path, "properties": [{"kind": "elasticity"}, {"kind": "softening"}]}
    )
    assert ["mp-elasticity" in problem for problem in settings.problems()] == [True]
    assert "no such folder" in Benchmark(data=tmp_path / "none").problems()[0]


@pytest.mark.parametrize(
    "raw",
    [
        {"properties": [{"kind": "speed"}, {"kind": "speed"}]},
        {"potentials": [{"name": "a", "potential": {"kind": "chgnet"}}] * 2},
        {"properties": [{"kind": "conductivity", "length_ps": 1.0}]},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(raw):
    with pytest.raises(ValueError, match=r"twice|too few"):
        Benchmark.model_validate(raw)


def test_a_suite_has_every_property_but_those_that_need_a_file_of_ones_own():
    assert set(suite("quick")) == set(suite("full"))
    assert "conductivity" not in suite("full")
    assert set(suite("full")) >= {
        "relaxation",
        "formation_energy",
        "elasticity",
        "heat_capacity",
        "md_stability",
    }
