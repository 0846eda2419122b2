"""CIFs as journals, databases and programs write them, read by the source ``files``."""

from collections import Counter
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from cif_files import CUBE, block, cell, operations, sites
from pesatlas.atoms.elements import symbol_of
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.sources import files

ROCK_SALT = sites(["K1 K 0 0 0", "Br1 Br 0.5 0.5 0.5"])
FACES = ("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z")
HEXAGONAL = "a 3.1 b 3.1 c 5.2 alpha 90 beta 90 gamma 120"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(text, name="x.cif"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(files.load(files.Options(paths=[name])))


def one(*parts, **tags):
    (found,) = load(block(*parts, **tags))
    return found


def counts(found):
    assert isinstance(found, Crystal), found
    return dict(Counter(symbol_of(int(z)) for z in found.numbers))


def refused(found, reason, *words):
    assert isinstance(found, Rejected), found
    assert found.reason == reason, found
    for word in words:
        assert word in found.detail, found.detail


def closest(crystal):
    fractional = crystal.positions @ np.linalg.inv(crystal.cell)
    apart = fractional[:, None] - fractional[None]
    apart -= np.rint(apart)
    distances = np.linalg.norm(apart @ crystal.cell, axis=2)
    return distances[np.triu_indices(len(distances), 1)].min()


# files as journals have them


def test_the_article_of_a_journal_is_no_crystal_and_costs_none():
    title = "_publ_section_title\n;\nOn data_ and loop_ in text\nby M\u00fcller\n;\n"
    article = f"data_global\n{title}_journal_year 2031\n"
    crystal = block(cell(), operations(FACES), ROCK_SALT, name="I", formula="K1 Br1", Z=4)
    (found,) = load(article + crystal, "paper.cif")
    assert found.structure_id == "paper"
    assert counts(found) == {"K": 4, "Br": 4}
    assert found.warnings == ()


def test_every_block_with_atoms_is_an_entry_named_by_its_block_and_a_bad_one_costs_itself():
    good = block(cell(), operations(FACES), ROCK_SALT, name="I", formula="K1 Br1", Z=4)
    torn = block(cell(), operations(), sites(["K1 K 0 0 0", "Br1 Br 0.5"]), name="II")
    open_text = block(name="III", note="x") + "_refine_details\n;\nnever closed\n"
    empty = block(cell(), name="IV")
    pattern = "data_pattern\nloop_\n_pd_meas_2theta\n_pd_meas_counts\n10 5\n11 7\n"
    last = block(
        cell("a 4 b 4 c 4 alpha 90 beta 90 gamma 90"), operations(), sites(["Po1 Po 0 0 0"]), name="V"
    )
    found = load(good + torn + open_text + empty + pattern + last, "set.cif")
    assert [each.structure_id for each in found] == ["set-I", "set-II", "set-IV", "set-V"]
    assert counts(found[0]) == {"K": 4, "Br": 4}
    refused(found[1], "unreadable", "the loop of", "8 values for 5 columns")
    refused(found[2], "incomplete", "a cell and no atoms")
    assert counts(found[3]) == {"Po": 1}


def test_a_block_whose_text_is_never_closed_loses_itself_alone():
    broken = "\n".join(["data_a", *cell(), "_refine_details", ";", "lost", *ROCK_SALT]) + "\n"
    found = load(broken + block(cell(), operations(FACES), ROCK_SALT, name="b", Z=4, formula="KBr"))
    assert [each.structure_id for each in found] == ["x-a", "x-b"]
    refused(found[0], "unreadable", "not closed")
    assert counts(found[1]) == {"K": 4, "Br": 4}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding, newline):
    text = block(cell(), operations(FACES), ROCK_SALT, formula="Br K", Z=4, publ_author_name="Ångström")
    (found,) = load(text.replace("\n", newline).encode(encoding))
    assert counts(found) == {"K": 4, "Br": 4}
    assert found.warnings == (
        ("x.cif: the file is not UTF-8; read as Windows-1252",) if encoding == "cp1252" else ()
    )


# what a file says of itself


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (["Zn1 Zn 0 0 0 0", "O1 O 0.4 0 0 2"], "label type_symbol fract_x fract_y fract_z attached_hydrogens", "2 hydrogens are only counted"),
        (["Zn1 Zn 0 0 0", "O1 O 0.4 0 0"], "label type_symbol fract_x fract_y fract_z", ""),
        (["Zn1 0 0 0", "O-H1 0.4 0 0"], "label fract_x fract_y fract_z", ""),
        (["Zn1 0 0 0", "OH1 0.4 0 0"], "label fract_x fract_y fract_z", ""),
    ],
)  # fmt: skip
def test_hydrogens_without_positions(rows, columns, words):
    found = one(cell(), operations(), sites(rows, columns), formula="H2 O1 Zn1")
    refused(found, "incomplete", "the file's formula is H2OZn, its sites give OZn", words)


@pytest.mark.parametrize("symbol", ["Wat", "H2O", "OH", "NH4", "OH2"])
def test_type_symbols_of_molecules(symbol):
    found = one(cell(), operations(), sites(["Zn1 Zn 0 0 0", f"M1 {symbol} 0.4 0 0"]))
    refused(found, "incomplete", symbol, "M1")


def test_hydrogens_that_are_only_counted_where_there_is_no_formula():
    columns = "label type_symbol fract_x fract_y fract_z attached_hydrogens"
    found = one(cell(), operations(), sites(["Zn1 Zn 0 0 0 .", "O1 O 0.4 0 0 1"], columns))
    refused(found, "incomplete", "1 hydrogens are only counted", "OZn")


def test_labels_that_name_hydrogen_where_there_is_neither_formula_nor_type():
    found = one(cell(), operations(), sites(["Mg1 0 0 0", "O-H1 0.4 0 0"], "label fract_x fract_y fract_z"))
    refused(found, "incomplete", "O-H1")


def test_labels_taken_for_elements():
    rows = ["HO1 0.1 0.1 0.1", "OW1 0.1 0.1 0.3", "HO2 0.1 0.3 0.3"]
    found = one(cell(), operations(), sites(rows, "label fract_x fract_y fract_z"), formula="H2 O1")
    refused(found, "incomplete", "the file's formula is H2O, its sites give Ho2O", "label HO1 was read as Ho")
    real = one(
        cell(),
        operations(),
        sites(["HO1 0 0 0", "N1 .5 .5 .5"], "label fract_x fract_y fract_z"),
        formula="Ho N",
    )
    assert counts(real) == {"Ho": 1, "N": 1}
    assert real.warnings == ()
    told = one(
        cell(CUBE.replace("5.1", "3.9")),
        operations(),
        sites(["CO1 0 0 0", "N1 .5 .5 .5"], "label fract_x fract_y fract_z"),
    )
    assert told.warnings == ("x.cif: label CO1 was read as Co; a type symbol would decide",)


@pytest.mark.parametrize(("symbol", "element"), [("O2-", "O"), ("Fe3+", "Fe"), ("FE", "Fe"), ("Ow", "O"), ("Cl1-", "Cl"), ("Si4+", "Si"), ("D", "H"), ("T", "H"), ("Na+", "Na"), ("C_R", "C"), ("Fe+3", "Fe")])  # fmt: skip
def test_type_symbols(symbol, element):
    found = one(cell(), operations(), sites([f"X1 {symbol} 0 0 0"]))
    assert counts(found) == {element: 1}


def test_deuterium_is_hydrogen_and_the_row_says_so():
    rows = ["D1 D 0 0 0", "D2 D 0.3 0 0", "O1 O 0.15 0.1 0"]
    found = one(cell(CUBE.replace("5.1", "3.6")), operations(), sites(rows), formula="D2 O1")
    assert counts(found) == {"H": 2, "O": 1}
    assert found.warnings == ("x.cif: deuterium (D) is read as hydrogen",)


def test_what_is_no_element():
    refused(one(cell(), operations(), sites(["X1 Xx 0 0 0"])), "unsupported_element", "'Xx' of site X1")


@pytest.mark.parametrize("mark", [".", "?"])
def test_an_occupancy_that_is_not_given_is_one(mark):
    columns = "label type_symbol fract_x fract_y fract_z occupancy"
    rows = [f"K1 K 0 0 0 {mark}", "F1 F 0.5 0.5 0.5 1.0"]
    assert counts(one(cell(), operations(FACES), sites(rows, columns), formula="K F", Z=4)) == {
        "K": 4,
        "F": 4,
    }
    rows = ["K1 K 0 0 0 1", "F1 F 0.5 0.5 0.5 0.96(2)"]
    refused(one(cell(), operations(FACES), sites(rows, columns)), "disordered", "1 of 2 sites")


def test_two_full_elements_at_one_place():
    refused(one(cell(), operations(), sites(["A Fe 0 0 0", "B Mn 0 0 0"])), "disordered", "A and B")


def test_sites_without_coordinates_and_dummies():
    found = one(cell(), operations(), sites(["K1 K 0 0 0", "F1 F ? ? ?"]))
    refused(found, "incomplete", "F1 has no coordinates")
    columns = "label type_symbol fract_x fract_y fract_z calc_flag"
    found = one(cell(), operations(), sites(["K1 K 0 0 0 d", "Q1 . 0.2 0.2 0.2 dum"], columns))
    assert counts(found) == {"K": 1}


def test_coordinates_of_which_the_file_says_the_default():
    perovskite = cell(CUBE.replace("5.1", "4.2"))
    columns = "label fract_x fract_y fract_z"
    at = sites(["F1 .5 . .", "Rb1 .5 .5 .5", "Ca1 . . ."], columns)
    found = one(perovskite, at, HM="P m -3 m", formula="Ca F3 Rb", Z=1)
    assert counts(found) == {"F": 3, "Rb": 1, "Ca": 1}
    assert found.warnings == ()
    assert found.positions[found.numbers == 20][0] == pytest.approx([0, 0, 0])
    assert any("'.' of F1, Ca1 are read as 0" in each for each in one(perovskite, at, HM="P m -3 m").warnings)
    for row in ("Ca1 . ? .", "Ca1 ? ? ?"):
        refused(
            one(perovskite, sites(["F1 .5 . .", row], columns), HM="P m -3 m"), "incomplete", "Ca1 has no"
        )
    # not all of them are at the origin
    nowhere = sites(["F1 .5 . .", "H1 . . .", "H2 . . ."], columns)
    refused(one(perovskite, nowhere), "incomplete", "H1, H2 have no coordinates but '.'")


@pytest.mark.parametrize(
    ("groups", "alternatives"),
    [
        (("A 1", "A 2", ". ."), "C1 and C2 are alternatives"),
        ((". 1", ". 2", ". ."), "C1 and C2 are alternatives"),
        (("A 1", ". .", "A 2"), "C1 and O1 are alternatives"),
        (("A -1", ". .", ". ."), "C1 and its images are alternatives"),
        (("A 1", "A 1", ". ."), ""),
        (("A 1", "B 2", ". ."), ""),
        ((". 0", ". 1", ". ."), ""),
        ((". .", "? ?", ". ."), ""),
    ],
)
def test_alternatives(groups, alternatives):
    columns = "label fract_x fract_y fract_z disorder_assembly disorder_group"
    places = ("C1 0 0 0", "C2 .3 .3 .3", "O1 .5 .5 .8")
    rows = [f"{place} {group}" for place, group in zip(places, groups, strict=True)]
    for tags in ({}, {"formula": "C2 O", "Z": 1}):
        found = one(cell(CUBE.replace("5.1", "3.6")), operations(), sites(rows, columns), **tags)
        if alternatives:
            refused(found, "disordered", alternatives)
        else:
            assert counts(found) == {"C": 2, "O": 1}
    full = one(cell(), operations(), sites([f"{row} 1" for row in rows], f"{columns} occupancy"))
    assert counts(full) == {"C": 2, "O": 1}


@pytest.mark.parametrize(
    ("tags", "reason", "words"),
    [
        ({"Z": 2, "formula": "K Br"}, "ambiguous_setting", ["2 formula units", "its sites give 4"]),
        ({"cell_volume": "265.3"}, "ambiguous_setting", ["265.3", "132.65"]),
        ({"formula": "K8 Br8"}, "ambiguous_setting", ["16 atoms", "give 8"]),
        ({"formula": "K2 Br"}, "ambiguous_setting", ["BrK2", "give BrK"]),
        ({"exptl_crystal_density_diffrn": "2.1"}, "incomplete", ["2.1 g/cm³", "5.959 g/cm³"]),
        ({"chemical_formula_weight": "137.02", "Z": 4}, "incomplete", ["137.02 u", "119 u"]),
        ({"HM": "P 21/c", "IT": 14}, "ambiguous_setting", ["number 14", "number 225"]),
    ],
)
def test_numbers_of_the_file_that_its_atoms_do_not_have(tags, reason, words):
    refused(one(cell(), operations(FULL_ROCK_SALT), ROCK_SALT, **tags), reason, *words)


def _full_rock_salt():
    """All operations of F m -3 m: signed permutations of the axes, with the centring of faces."""
    axes = [
        ",".join(f"{sign}{axis}" for sign, axis in zip(signs, order, strict=True))
        for order in permutations("xyz")
        for signs in product(["", "-"], repeat=3)
    ]
    shifts = [("", "", ""), ("", "+1/2", "+1/2"), ("+1/2", "", "+1/2"), ("+1/2", "+1/2", "")]
    return [
        ",".join(part + move for part, move in zip(axis.split(","), shift, strict=True))
        for axis in axes
        for shift in shifts
    ]


FULL_ROCK_SALT = _full_rock_salt()


@pytest.mark.parametrize(
    "tags",
    [
        {"formula": "K4 Br4", "Z": 4},  # as pymatgen writes them
        {"formula": "Br K", "Z": 4},
        {"formula": "'Br1.00 K1.00'", "Z": 4},
        {"formula": "Br1 K0.999"},
        {"formula": "K 1+, Br 1-"},
        {"formula": "(K Br)4", "cell_volume": "132.7(3)"},
        {"formula": "a salt of potassium"},
        {"exptl_crystal_density_diffrn": "5.96"},
        {"exptl_crystal_density_diffrn": "5960"},
        {"exptl_crystal_density_diffrn": "6.0"},
        {"chemical_formula_weight": "119.00", "Z": 4},
        {"HM": "F m -3 m", "IT": 225},
        {"HM": "F m 3 m", "IT": 225, "Z": 4, "formula": "Br K"},
        {"HM": "an own one"},
    ],
)
def test_no_false_alarms(tags):
    found = one(cell(), operations(FULL_ROCK_SALT), ROCK_SALT, **tags)
    assert counts(found) == {"K": 4, "Br": 4}
    assert all("could not be understood" in each for each in found.warnings)
    assert bool(found.warnings) == ("potassium" in tags.get("formula", ""))


# symmetry


def test_no_symmetry_at_all():
    refused(
        one(cell(), sites(["Rb1 Rb 0 0 0", "O1 O 0.5 0 0"]), formula="Rb1 O3"),
        "ambiguous_setting",
        "the file's formula is O3Rb, its sites give ORb",
    )
    refused(one(cell(), ROCK_SALT, formula="K Br", Z=4), "ambiguous_setting", "4 formula units", "give 1")
    unsure = one(cell(), ROCK_SALT, formula="K Br")
    assert unsure.warnings == ("x.cif: the file gives no symmetry; read as P 1",)
    assert one(cell(), ROCK_SALT, formula="K Br", Z=1).warnings == ()


def test_room_for_more_atoms_where_nothing_else_tells():
    wide = CUBE.replace("5.1", "7.1")
    salt = sites(["F1 F 0 0 0", "F2 F 0.5 0.5 0.5"])
    refused(one(cell(wide), salt), "ambiguous_setting", "no symmetry", "179.0 Å³", "at most 23.2 Å³")
    unsure = one(cell(wide), operations(), salt)
    assert "179.0 Å³ for each atom" in unsure.warnings[0]
    for tags in ({"formula": "F2"}, {"formula": "F2", "Z": 1}):
        # a file that lacks atoms in its formula, too, agrees with itself
        (warning,) = one(cell(wide), operations(), salt, **tags).warnings
        assert "179.0 Å³ for each atom, dense crystals of these elements at most 23.2 Å³" in warning
        assert "large pores" in warning
    assert len(one(cell(CUBE), ROCK_SALT).warnings) == 1


FACE_CENTRED = ["0 0 0", ".5 .5 0", ".5 0 .5", "0 .5 .5"]


def test_a_list_of_the_whole_cell_under_a_symmetry_that_makes_more_of_it():
    tetragonal = cell("a 4.7 b 4.7 c 5.0 alpha 90 beta 90 gamma 90")
    listed = sites([f"Tl{i} Tl {place}" for i, place in enumerate(FACE_CENTRED)])
    for tags in ({"HM": "I 4/m m m"}, {"HM": "I 4/m m m", "formula": "Tl"}, {"IT": 139, "formula": "Tl"}):
        refused(
            one(tetragonal, listed, **tags), "ambiguous_setting", "list has 4 atoms", "makes 8", "Tl2 and Tl3"
        )
    # what tells how many there are: formula units, a density, a formula that the list alone does not have, or
    # that all are listed
    assert counts(one(tetragonal, listed, HM="F m m m")) == {"Tl": 4}
    corners = sites([f"K{i} K {place}" for i, place in enumerate(FACE_CENTRED[:2])] + ["Br Br .5 .5 .5"])
    for tags in ({"formula": "K Br"}, {"formula": "K Br", "Z": 4}, {"exptl_crystal_density_diffrn": "5.96"}):
        assert counts(one(cell(), operations(FACES), corners, **tags)) == {"K": 4, "Br": 4}
    refused(one(cell(), operations(FACES), corners), "ambiguous_setting", "list has 3 atoms", "makes 8")
    # an asymmetric unit with a copy too many: alone, its atoms would fill nothing
    places = ["C1 C 0.1 0.2 0.3", "C2 C 0.3 0.1 0.05", "C3 C 0.6 0.7 0.3"]
    wide = cell(CUBE.replace("5.1", "8.0"))
    unit = one(wide, operations(FACES), sites(places), formula="C")
    assert counts(unit) == {"C": 8}


def test_too_little_room():
    cube = CUBE.replace("5.1", "5.6")
    at = sites(["Ge1 Ge 0 0 0"])
    found = one(cell(cube), at, HM="F d -3 m :2", formula="Ge")
    refused(found, "ambiguous_setting", "16 atoms", "11.0 Å³", "F d -3 m :1 they are 8, with 22.0 Å³")
    assert counts(one(cell(cube), at, HM="F d -3 m :1", formula="Ge")) == {"Ge": 8}
    # where nothing but the density is odd, it may be real
    squeezed = one(cell(CUBE.replace("5.1", "2.9")), operations(), sites(["Rb1 Rb 0 0 0", "Rb2 Rb .5 .5 .5"]))
    assert counts(squeezed) == {"Rb": 2}
    assert "12.2 Å³ for each atom" in squeezed.warnings[0]
    assert "high pressure" in squeezed.warnings[0]
    assert (
        one(
            cell(CUBE.replace("5.1", "3.0")), operations(), sites(["Fe1 Fe 0 0 0", "Fe2 Fe .5 .5 .5"])
        ).warnings
        == ()
    )


def test_symmetry_from_a_symbol_or_a_number_alone():
    for tags in ({"HM": "F m -3 m"}, {"IT": 225}, {"HM": "F m 3 m"}, {"HM": "Fm-3m", "IT": 225}):
        found = one(cell(), ROCK_SALT, **tags)
        assert counts(found) == {"K": 4, "Br": 4}
        assert found.warnings == ("x.cif: no operations are listed; those of F m -3 m are taken",)
        assert one(cell(), ROCK_SALT, formula="KBr", Z=4, **tags).warnings == ()
    refused(one(cell(), ROCK_SALT, HM="Q 7"), "ambiguous_setting", "'Q 7' is not known")
    refused(one(cell(), ROCK_SALT, HM="F m -3 m", IT=221), "ambiguous_setting", "number 221", "number 225")
    hall = one(cell(), ROCK_SALT, symmetry_space_group_name_Hall="-F 4 2 3")
    assert counts(hall) == {"K": 4, "Br": 4}


def test_symbol_and_operations_that_contradict_each_other():
    # all atoms of the cell are listed, and the symbol is still there: right if formula units say so
    corners = ["0 0 0", "0 .5 .5", ".5 0 .5", ".5 .5 0"]
    rows = [f"K{i} K {place}" for i, place in enumerate(corners)]
    refused(
        one(cell(), operations(), sites(rows), HM="F m -3 m"), "ambiguous_setting", "number 225", "number 1"
    )
    found = one(cell(), operations(), sites(rows), HM="F m -3 m", formula="K", Z=4)
    assert counts(found) == {"K": 4}
    assert "formula and formula units agree" in found.warnings[0]


def test_operations_without_the_identity(recwarn):
    three = operations(("1/2-x,1/2+y,1/2+z", "1/2+x,1/2-y,z", "-x,-y,1/2+z"))
    at = sites(["I1 I 0.1 0.2 0.3"])
    refused(
        one(cell(), three, at, formula="I"), "ambiguous_setting", "the identity x,y,z is missing", "3 symm"
    )
    found = one(cell(), three, at, formula="I", Z=4)
    assert counts(found) == {"I": 4}
    assert "the identity x,y,z is missing" in found.warnings[0]
    found = one(cell(), operations(("y,z,x",)), at)
    refused(found, "ambiguous_setting", "the identity x,y,z is missing, and together they make 3")
    assert not [str(each.message) for each in recwarn if "slice" in str(each.message)]


def test_operations_that_are_no_group():
    found = one(cell(), operations(("x,y,z", "y,z,x")), sites(["K1 K 0.1 0.2 0.3"]))
    refused(found, "ambiguous_setting", "2 symmetry operations", "make 3")


@pytest.mark.parametrize(
    "lines",
    [
        ["loop_", "_symmetry_equiv_pos_as_xyz", "x, y, z", "-x, -y, -z", "1/2+x, 1/2-y, z", "0.5-x, 0.5+y, -z"],
        ["loop_", "_space_group_symop.id", "_space_group_symop.operation_xyz", "1 x,y,z", "2 -X,-Y,-Z", "3 x+1/2,-y+1/2,+z", "4 -x+.5,y+.5,-z"],
        ["loop_ _SYMMETRY_EQUIV_POS_AS_XYZ 'x,y,z' '-x,-y,-z' 'x+0.5,-y+0.5,z' '-x+1/2,y+1/2,-z'"],
        ["loop_", "_space_group_symop_magn_operation.id", "_space_group_symop_magn_operation.xyz", "1 x,y,z,+1", "2 -x,-y,-z,-1", "loop_", "_space_group_symop_magn_centering.id", "_space_group_symop_magn_centering.xyz", "1 x,y,z,+1", "2 x+1/2,y+1/2,z,-1"],
    ],
)  # fmt: skip
def test_ways_to_write_operations(lines):
    found = one(cell(), lines, sites(["K1 K 0.11 0.22 0.33", "I1 I 0.61 0.22 0.83"]), formula="I K", Z=4)
    assert counts(found) == {"K": 4, "I": 4}


def test_operations_of_a_cell_seven_times_as_large():
    texts = [f"x+{i}/7,y,z" for i in range(7)]
    found = one(
        cell("a 28 b 4 c 4 alpha 90 beta 90 gamma 90"),
        operations(texts),
        sites(["K1 K 0.05 0 0"]),
        formula="K",
    )
    assert counts(found) == {"K": 7}
    assert closest(found) == pytest.approx(4)


def test_a_rhombohedral_cell_under_hexagonal_operations():
    rhombohedral = "a 4.75 b 4.75 c 4.75 alpha 60.3 beta 60.3 gamma 60.3"
    threefold = ("x,y,z", "-y,x-y,z", "-x+y,-x,z", "-x,-y,-z", "y,-x+y,-z", "x-y,x,-z")
    bismuth = sites(["Bi1 Bi 0.237 0.237 0.237"])
    refused(one(cell(rhombohedral), operations(threefold), bismuth), "ambiguous_setting", "60.3")
    refused(one(cell(rhombohedral), bismuth, HM="R -3 m :H"), "ambiguous_setting", "60.3")
    for symbol in ("R -3 m", "R -3 m :R", "R-3mR", "R -3 m R"):
        assert counts(one(cell(rhombohedral), bismuth, HM=symbol)) == {"Bi": 2}
    hexagonal = "a 4.54 b 4.54 c 11.86 alpha 90 beta 90 gamma 120"
    for symbol in ("R -3 m", "R -3 m :H", "R-3mH"):
        assert counts(one(cell(hexagonal), sites(["Bi1 Bi 0 0 0.237"]), HM=symbol)) == {"Bi": 6}
    # R -3 m of a hexagonal cell, with the position of the rhombohedral one
    refused(
        one(cell(hexagonal), bismuth, HM="R -3 m", formula="Bi", Z=6), "ambiguous_setting", "6 formula units"
    )


@pytest.mark.parametrize(
    ("symbol", "at", "count"),
    [
        ("F d -3 m :1", "0 0 0", 8),
        ("F d -3 m :2", "0.125 0.125 0.125", 8),
        ("F d -3 m :2", "0 0 0", 16),
        ("F d -3 m S", "0 0 0", 8),
        ("F d -3 m Z", "0 0 0", 16),
        ("F d -3 m (origin choice 2)", "0.125 0.125 0.125", 8),
    ],
)
def test_origin_choices(symbol, at, count):
    wide = CUBE.replace("5.1", "6.7")
    assert counts(one(cell(wide), sites([f"Ge1 Ge {at}"]), HM=symbol)) == {"Ge": count}


def test_an_origin_that_is_not_given_follows_from_the_formula_or_is_asked_for():
    at = sites(["Ge1 Ge 0 0 0"])
    assert counts(one(cell(), at, HM="F d -3 m", formula="Ge", Z=8)) == {"Ge": 8}
    assert counts(one(cell(), at, HM="F d -3 m", formula="Ge", Z=16)) == {"Ge": 16}
    refused(one(cell(), at, HM="F d -3 m"), "ambiguous_setting", "F d -3 m :1 and F d -3 m :2")


def test_operations_of_another_origin_than_the_symbol_says():
    import spglib

    data = spglib.get_symmetry_from_database(525)
    texts = [
        ",".join(
            "".join(f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n)
            + f"+{round(move * 24)}/24"
            for row, move in zip(turn, shift, strict=True)
        )
        for turn, shift in zip(data["rotations"], data["translations"], strict=True)
    ]
    at = sites(["Ge1 Ge 0 0 0"])
    assert counts(one(cell(), operations(texts), at, HM="F d -3 m :1")) == {"Ge": 8}
    refused(one(cell(), operations(texts), at, HM="F d -3 m :2"), "ambiguous_setting", "F d -3 m :2")


def test_multiplicities_that_are_given():
    columns = "label type_symbol fract_x fract_y fract_z site_symmetry_multiplicity"
    rows = ["K1 K 0 0 0 {}", "Br1 Br 0.5 0.5 0.5 4"]
    assert counts(one(cell(), operations(FACES), sites([r.format(4) for r in rows], columns)))
    found = one(cell(), operations(FACES), sites([r.format(8) for r in rows], columns))
    refused(found, "ambiguous_setting", "K1 has a multiplicity of 8, it has 4")


# rounded coordinates


@pytest.mark.parametrize(
    "places", [("0.333", "0.667"), ("0.33", "0.67"), ("0.3333", "0.6667"), ("1/3", "2/3")]
)
def test_rounded_coordinates_are_put_on_the_special_position(places):
    x, y = places
    rows = [f"Ti1 Ti {x} {y} 0.25", "Ni1 Ni 0 0 0"]
    found = one(cell(HEXAGONAL), sites(rows), HM="P 63/m m c", formula="Ni Ti", Z=2)
    assert counts(found) == {"Ni": 2, "Ti": 2}
    assert closest(found) > 1.5
    fractional = (found.positions @ np.linalg.inv(found.cell))[:2]
    assert np.abs(np.sort(fractional[:, 0]) - [1 / 3, 2 / 3]).max() < 1e-9
    assert bool(found.warnings) == (x in {"0.333", "0.33"})
    assert all("Ti1 moved by" in each and "special position" in each for each in found.warnings)


def test_coordinates_that_are_near_a_plane_and_belong_to_it():
    # images under the mirror would be 0.003 Å apart
    rows = ["K1 K 0.0003 0.3 0.4"]
    found = one(cell(), operations(("x,y,z", "-x,y,z")), sites(rows), formula="K", Z=1)
    assert counts(found) == {"K": 1}
    assert found.positions[0] @ np.linalg.inv(found.cell)[:, 0] == pytest.approx(0, abs=1e-12)


def test_a_site_that_is_listed_twice_is_read_once():
    rows = ["O1 O 0.3330 0.1 0.2", "O2 O 0.3336 0.1 0.2", "Ca1 Ca 0.8 0.8 0.8"]
    found = one(cell(), operations(), sites(rows), formula="Ca O")
    assert counts(found) == {"O": 1, "Ca": 1}
    assert "O1 and O2 are 0.003 Å apart: the same site, rounded" in found.warnings[0]
    # all atoms of a cell, and the operations as well
    rows = ["K1 K 0 0 0", "K2 K 0.5 0.5 0"]
    found = one(cell(), operations(FACES), sites(rows), formula="K", Z=4)
    assert counts(found) == {"K": 4}


def test_what_is_no_unit_cell():
    refused(
        one(cell(CUBE.replace("5.1", "1e9")), operations(), sites(["K1 K 0 0 0"])), "not_periodic", "1e+09"
    )
    refused(one(cell(CUBE.replace("5.1", "0")), operations(), sites(["K1 K 0 0 0"])), "unreadable", "0.0")
    wave = one(cell(), operations(), sites(["K1 K 0 0 0"]), cell_modulation_dimension=1)
    refused(wave, "not_periodic", "modulated")
