"""POSCAR and CONTCAR as VASP reads them: volumes and distances worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.sources import files

VECTORS = ["2.0 0.0 0.0", "0.0 2.5 0.0", "0.0 0.0 4.0"]  # 20 A3


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(text, name="a.vasp"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (found,) = files.load(files.Options(paths=[name]))
    return found


def poscar(*body, title="own", scale="1.0", names="Li F", counts="1 1", vectors=VECTORS):
    lines = [title, scale, *vectors, *([names] if names else []), counts, *body]
    return "\n".join(lines) + "\n"


def read(*body, **about):
    found = load(poscar(*body, **about))
    assert isinstance(found, Crystal), found
    return found


def refused(text, reason, *words):
    found = load(text)
    assert isinstance(found, Rejected), found
    assert found.reason == reason, found
    for word in words:
        assert word in found.detail, found.detail


def volume(crystal):
    return abs(np.linalg.det(crystal.cell))


CARTESIAN = ["Cartesian", "0 0 0", "1.0 1.25 2.0"]
DIRECT = ["Direct", "0 0 0", "0.5 0.5 0.5"]


@pytest.mark.parametrize("body", [CARTESIAN, DIRECT, ["kartesisch", *CARTESIAN[1:]]])
@pytest.mark.parametrize(
    ("scale", "factors"),
    [("1.0", [1, 1, 1]), ("1.1", [1.1] * 3), ("-160.0", [2, 2, 2]), ("-20", [1, 1, 1]), ("1.5 2.0 0.5", [1.5, 2.0, 0.5]), ("2.0d0", [2, 2, 2])],
)  # fmt: skip
def test_the_scaling_factor_scales_the_cell_and_cartesian_positions(body, scale, factors):
    found = read(*body, scale=scale)
    assert volume(found) == pytest.approx(20 * np.prod(factors))
    assert found.positions[1] - found.positions[0] == pytest.approx(np.array([1.0, 1.25, 2.0]) * factors)


def test_three_factors_scale_components_not_vectors():
    slanted = ["2 0 0", "1 2 0", "0 1 3"]
    found = read("Direct", "0 0 0", "0 0.5 0.5", scale="1 2 3", vectors=slanted)
    assert found.cell == pytest.approx(np.array([[2, 0, 0], [1, 4, 0], [0, 2, 9]], dtype=float))
    assert found.positions[1] == pytest.approx([0.5, 3, 4.5])


@pytest.mark.parametrize("extra", [
    ["", "0.1 0.2 0.3", "0.4 0.5 0.6"],
    ["", "0 0 0", "0 0 0", "", "1", "0.5", "1 0 0 0", "0.1 0.1 0.1", "0.1 0.1 0.1", "0.2 0.2 0.2", "0.2 0.2 0.2"],
    ["Lattice velocities and vectors", "1", "0 0 0", "0 0 0", "0 0 0", "2 0 0", "0 2.5 0", "0 0 4"],
    ["  ", "Cartesian", "1 1 1", "2 2 2"],
])  # fmt: skip
def test_velocities_and_what_else_follows_are_left_out(extra):
    found = read(*DIRECT, *extra)
    assert found.positions[1] == pytest.approx([1.0, 1.25, 2.0])
    assert found.warnings == ()


def test_selective_dynamics_and_text_behind_the_positions():
    body = ["Selective dynamics", "Direct", "0 0 0 T F T Li1", "0.5 0.5 0.5 F F F ! the fluorine"]
    assert read(*body).positions[1] == pytest.approx([1.0, 1.25, 2.0])
    assert read("D", "0 0 0 Li", "0.5 0.5 0.5 F").numbers.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ("Fe_pv O_s", [26, 8]),
        ("Si/0a1b2c3d O_GW/77", [14, 8]),
        ("W_sv_GW H_h", [74, 1]),
        ("Fe2+ O2-", [26, 8]),
    ],
)
def test_names_of_potcars(names, numbers):
    found = read(*DIRECT, names=names)
    assert found.numbers.tolist() == numbers


def test_names_and_numbers_of_atoms_on_several_lines_and_elements_that_come_again():
    text = poscar("Direct", "0 0 0", "0 0 .5", "0 .5 0", ".5 0 0", names="Cr O\nCr", counts="1 1\n2 ! all")
    assert load(text).numbers.tolist() == [24, 8, 24, 24]


def test_files_of_vasp_4():
    behind = poscar("Direct", "0 0 0 Ga", "0.5 0.5 0.5 As", names="")
    assert load(behind).numbers.tolist() == [31, 33]
    titled = load(poscar(*DIRECT, names="", title="Ga As"))
    assert titled.numbers.tolist() == [31, 33]
    assert titled.warnings == ("a.vasp: no line of element names; those of the title are taken: Ga As",)
    refused(poscar(*DIRECT, names="", title="gallium arsenide"), "unreadable", "cannot be determined")
    refused(poscar("Direct", "0 0 0 Ga", "0.5 0.5 0.5", names=""), "unreadable", "cannot be determined")


def test_names_that_stand_behind_the_positions_as_well():
    refused(
        poscar("Direct", "0 0 0 Rb", ".5 .5 .5 Cl", names="Li Cl"),
        "ambiguous_setting",
        "makes atom 1 Li, behind its position stands Rb",
    )
    moving = poscar("Selective", "Direct", "0 0 0 T T T Li", ".5 .5 .5 T T T I", names="Li Br")
    refused(moving, "ambiguous_setting", "atom 2 Br", "stands I")
    same = [
        ("0 0 0 Li", ".5 .5 .5 F"),
        ("0 0 0 Li1", ".5 .5 .5 F2"),
        ("0 0 0 Li_sv", ".5 .5 .5"),
        ("0 0 0 ! Rb", ".5 .5 .5 ! Cl"),
        ("0 0 0 F F F", ".5 .5 .5 T F T"),
        ("0 0 0 oct", ".5 .5 .5 Cl"),
    ]
    for body in same:
        assert read("Direct", *body).numbers.tolist() == [3, 9]
    assert read("Direct", "0 0 0 D", ".5 .5 .5 F", names="H F").numbers.tolist() == [1, 9]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_titles_of_any_language(encoding):
    found = load(poscar(*DIRECT, title="Würfel, 20 Å³").replace("\n", "\r\n").encode(encoding))
    assert found.numbers.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("about", "reason", "words"),
    [
        ({"counts": "1 1000000000000"}, "incomplete", ["1,000,000,000,001", "2 lines"]),
        ({"counts": "1 2"}, "incomplete", ["add up to 3", "2 lines"]),
        ({"counts": "1 0"}, "incomplete", ["add up to 1", "more lines"]),
        ({"counts": "0 0"}, "unreadable", ["no atoms"]),
        ({"counts": "2"}, "unreadable", ["2 names of elements and 1 numbers"]),
        ({"scale": "0"}, "unreadable", ["scaling factor is 0"]),
        ({"scale": "1 -1 1"}, "unreadable", ["must be positive"]),
        ({"scale": "1e9"}, "not_periodic", ["4e+09"]),
        ({"scale": "-1e20"}, "not_periodic", ["Å"]),
        ({"names": "Li Xy"}, "unsupported_element", ["'Xy'"]),
        ({"names": "Li H.5"}, "unsupported_element", ["H.5"]),
        ({"names": "Li H1.25"}, "unsupported_element", ["H1.25"]),
        ({"vectors": ["1 0 0", "2 0 0", "0 0 1"]}, "not_periodic", ["no volume"]),
        ({"vectors": ["1 0 0", "2 0 0", "0 0 1"], "scale": "-5"}, "not_periodic", ["no volume"]),
        ({"vectors": ["1 0 0", "2 x 0", "0 0 1"]}, "unreadable", ["line 4"]),
    ],
)
def test_what_is_refused_says_why(about, reason, words):
    refused(poscar(*DIRECT, **about), reason, *words)


def test_deuterium():
    found = read(*DIRECT, names="Li D")
    assert found.numbers.tolist() == [3, 1]
    assert found.warnings == ("a.vasp: deuterium (D) is read as hydrogen",)


def test_it_agrees_with_ase_where_the_scale_is_positive_or_three():
    from ase.io.vasp import read_vasp

    for scale in ("1.0", "1.3", "1.5 2.0 0.5"):
        for body in (CARTESIAN, DIRECT):
            found = read(*body, scale=scale)
            theirs = read_vasp("a.vasp")
            assert found.cell == pytest.approx(theirs.cell.array)
            assert found.positions == pytest.approx(theirs.positions)
