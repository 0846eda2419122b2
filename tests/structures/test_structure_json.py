"""Structures in JSON: a file decides no class, ids are text, and a bad record costs itself alone."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import pesatlas
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.sources import files

PLANTED = "planted_by_a_file"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def structure(**more):
    sites = [
        {"species": [{"element": "Mg", "occu": 1}], "abc": [0, 0, 0], "label": "Mg"},
        {"species": [{"element": "O", "occu": 1}], "abc": [0.5, 0.5, 0.5], "label": "O"},
    ]
    lattice = {"matrix": [[3, 0, 0], [0, 3.5, 0], [0, 0, 4]], "pbc": [True, True, True]}
    return {"lattice": lattice, "sites": sites, **more}


def load(data, name="a.json", encoding="utf-8"):
    text = data if isinstance(data, str) else json.dumps(data)
    Path(name).write_bytes(text.encode(encoding))
    return list(files.load(files.Options(paths=[name])))


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module that leaves a file behind when it is imported."""
    (tmp_path / f"{PLANTED}.py").write_text(
        "from pathlib import Path\n"
        "Path('it_ran').touch()\n"
        "class Thing:\n    @classmethod\n    def from_dict(cls, found):\n"
        "        Path('it_was_built').touch()\n        return cls()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield {"@module": PLANTED, "@class": "Thing", "@version": "1", "value": 3}
    sys.modules.pop(PLANTED, None)


@pytest.mark.parametrize("place", ["site", "structure", "lattice", "record", "species", "itself", "callable"])
def test_a_module_that_a_file_names_is_not_imported(planted, place):
    good = structure(**{"@module": "pymatgen.core.structure", "@class": "Structure", "charge": 0})
    record = {"mp_id": "mp-1", "structure": good}
    if place == "site":
        good["sites"][0]["properties"] = {"thing": planted}
    elif place == "structure":
        good["properties"] = {"thing": planted}
    elif place == "lattice":
        good["lattice"] |= planted
    elif place == "record":
        record |= {"extra": planted, **planted}
    elif place == "species":
        good["sites"][0]["species"][0] |= {"properties": {"thing": planted}, **planted}
    elif place == "callable":
        good["properties"] = {"thing": {"@module": PLANTED, "@callable": "Thing", "@bound": None}}
    else:
        good |= planted
    (found,) = load([record])
    assert isinstance(found, Crystal), found
    assert found.numbers.tolist() == [12, 8]
    assert PLANTED not in sys.modules
    assert not Path("it_ran").exists()


def test_pymatgen_itself_would_import_it(planted):
    # else the test above could not fail
    from pymatgen.core import Structure

    good = structure()
    good["sites"][0]["properties"] = {"thing": planted}
    good["sites"][1]["properties"] = {"thing": planted}
    Structure.from_dict(good)
    assert Path("it_ran").exists()


def test_files_of_benchmarks_decide_no_class_either(planted):
    from pesatlas.benchmark.structure_sets import read_entries, read_structure

    good = structure(properties={"thing": planted})
    good["sites"][0]["properties"] = {"thing": planted}
    Path("b.json").write_text(json.dumps([{"mp_id": "mp-1", "structure": good, "extra": planted}]))
    start, failure = read_structure(read_entries(Path("b.json"), ())[0]["structure"])
    assert failure is None
    assert start.numbers.tolist() == [12, 8]
    assert not Path("it_ran").exists()


def test_nothing_in_the_package_decodes_classes_that_a_file_names():
    decoders = re.compile(
        r"MontyDecoder|loadfn\(|\bpickle\.load|yaml\.(unsafe_)?load\(|allow_pickle=True|weights_only=False"
        r"|(Structure|Molecule|Lattice|IStructure)\.from_dict|\.from_str\([^)]*fmt=.json"
    )
    package = Path(pesatlas.__file__).parent
    found = [p.name for p in package.rglob("*.py") if decoders.search(p.read_text(encoding="utf-8"))]
    assert found == []


def test_lattices_and_positions_in_each_form():
    same = structure()
    by_angles = structure(lattice={"a": 3, "b": 3.5, "c": 4, "alpha": 90, "beta": 90, "gamma": 90})
    cartesian = structure()
    for site in cartesian["sites"]:
        site["xyz"] = (np.array(site.pop("abc")) * [3, 3.5, 4]).tolist()
    found = load([same, by_angles, cartesian])
    for crystal in found:
        assert abs(np.linalg.det(crystal.cell)) == pytest.approx(42)
        assert crystal.positions[1] == pytest.approx([1.5, 1.75, 2])


def test_oxidation_states_and_spins_are_left_out_and_deuterium_is_hydrogen():
    spun = structure(charge=None)
    spun["sites"][0]["species"] = [{"element": "Fe", "oxidation_state": 3, "spin": 5, "occu": 1.0}]
    spun["sites"][1]["species"] = [{"element": "D", "occu": 1.0}]
    (found,) = load(spun)
    assert found.numbers.tolist() == [26, 1]
    assert found.warnings == ("a.json: deuterium (D) is read as hydrogen",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.update(charge=1.0), "charged"),
        (lambda s: s.pop("lattice"), "not_periodic"),
        (lambda s: s["lattice"].update(pbc=[True, True, False]), "not_periodic"),
        (lambda s: s["lattice"].update(matrix=[[1e9, 0, 0], [0, 1e9, 0], [0, 0, 1e9]]), "not_periodic"),
        (lambda s: s["lattice"].update(matrix=[[0, 0, 0]] * 3), "not_periodic"),
        (lambda s: s["sites"][0]["species"][0].update(occu=0.5), "disordered"),
        (lambda s: s["sites"][0]["species"].append({"element": "Ca", "occu": 0}), "disordered"),
        (lambda s: s["sites"][0]["species"][0].update(element="X0+"), "unsupported_element"),
        (lambda s: s["sites"][0].update(abc=[0, 0]), "unreadable"),
        (lambda s: s["sites"][0].update(abc=[0, 0, float("nan")]), "unreadable"),
        (lambda s: s["sites"].clear(), "unreadable"),
        (lambda s: s["lattice"].pop("matrix"), "unreadable"),
        (lambda s: s.update(sites={"a": 1}), "unreadable"),
    ],
)
def test_what_is_no_ordered_neutral_crystal_costs_itself_alone(change, reason):
    bad = structure()
    change(bad)
    first, second, third = load([structure(), bad, structure()])
    assert isinstance(first, Crystal)
    assert isinstance(third, Crystal)
    assert isinstance(second, Rejected), second
    assert second.reason == reason


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda s: s["sites"][1].update(xyz=[1.5, 1.75, 2.2]), "ambiguous_setting", ["site 2", "1.5000, 1.7500, 2.0000", "1.5000, 1.7500, 2.2000", "0.200 Å"]),
        (lambda s: s["lattice"].update(a=3.1), "ambiguous_setting", ["a 3.1 Å, its matrix 3 Å"]),
        (lambda s: s["lattice"].update(gamma=120), "ambiguous_setting", ["gamma 120 degrees, its matrix 90 degrees"]),
        (lambda s: s["lattice"].update(volume=84.0), "ambiguous_setting", ["volume 84 Å³, its matrix 42 Å³"]),
        (lambda s: s["sites"][1].pop("species"), "unreadable", ["site 2 has no 'species'"]),
        (lambda s: s["sites"][1].pop("abc"), "unreadable", ["site 2 has no 'abc' and has no 'xyz'"]),
        (lambda s: s["sites"][0]["species"][0].pop("element"), "unreadable", ["a species of site 1 has no 'element'"]),
        (lambda s: s["sites"].append("Mg"), "unreadable", ["site 3 has no 'species'"]),
        (lambda s: s["lattice"].pop("matrix"), "unreadable", ["its lattice has neither 'matrix' nor 'a', 'b'"]),
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_is_missing_is_told_in_a_sentence(change, reason, words):
    bad = structure()
    change(bad)
    (found,) = load(bad)
    assert isinstance(found, Rejected), found
    assert found.reason == reason
    assert "Error" not in found.detail
    for word in words:
        assert word in found.detail


def test_numbers_of_one_structure_that_agree():
    whole = structure()
    whole["lattice"] |= {
        "a": 3.0004,
        "b": 3.5,
        "c": 4.0,
        "alpha": 90,
        "beta": 90.01,
        "gamma": 90,
        "volume": 42.01,
    }
    # the same atom in the next cell, and rounded
    whole["sites"][1]["xyz"] = [4.501, 1.75, -2]
    (found,) = load(whole)
    assert isinstance(found, Crystal), found
    assert found.positions[1] == pytest.approx([1.5, 1.75, 2])
    # without a matrix the directions of the vectors are not known
    turned = structure(lattice={"a": 3, "b": 3.5, "c": 4, "alpha": 90, "beta": 90, "gamma": 90})
    turned["sites"][1]["xyz"] = [1.75, 1.5, 2]
    assert isinstance(load(turned)[0], Crystal)


def test_ids_are_text():
    wanted = [
        "0012345",
        "12e4",
        "T",
        "NaN",
        "nan",
        "1.10",
        "None",
        "true",
        "-0",
        "123456789012345678901234567890",
    ]
    records = [{"material_id": name, "structure": structure()} for name in wanted]
    assert [found.structure_id for found in load(records)][:8] == wanted[:8]
    text = json.dumps([{"mp_id": 0, "structure": structure()}] * 3)
    numbers = text.replace('"mp_id": 0', '"mp_id": 123456789012345678901234567890', 1)
    numbers = numbers.replace('"mp_id": 0', '"mp_id": NaN', 1)
    assert [f.structure_id for f in load(numbers)] == ["123456789012345678901234567890", "a-00001", "0"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(encoding):
    record = json.dumps({"mp_id": "Gómez-1", "structure": structure()}, ensure_ascii=False)
    (found,) = load(record, encoding=encoding)
    assert found.structure_id == "Gómez-1"
