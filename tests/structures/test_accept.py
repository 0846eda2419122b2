import numpy as np
import pytest

from pesatlas.structures.accept import sort_out
from pesatlas.structures.checks import Rules, closest_pair
from pesatlas.structures.crystal import Crystal, Rejected, make_crystal
from pesatlas.structures.crystal_names import is_valid, sanitised, with_suffix
from pesatlas.structures.domains import bulk
from pesatlas.structures.duplicates import find_duplicates, reduced_composition
from pesatlas.structures.sources import demo
from pesatlas.tables import FailureReason

EVERYTHING = {"the potential": frozenset(range(1, 100))}
RULES = Rules(EVERYTHING, max_atoms=50, min_distance_A=0.5)


def builtin(name, new_id=None):
    (crystal,) = demo.load(demo.Options(names=[name]))
    return (
        crystal
        if new_id is None
        else Crystal(new_id, crystal.numbers, crystal.cell, crystal.positions, "test")
    )


def changed(crystal, new_id, *, cell=None, positions=None, numbers=None):
    return make_crystal(
        new_id,
        crystal.numbers if numbers is None else numbers,
        crystal.cell if cell is None else cell,
        crystal.positions if positions is None else positions,
        "test",
    )


def sort(*crystals, rules=RULES, remove_duplicates=True):
    accepted, failed, read = sort_out(iter(crystals), rules, remove_duplicates=remove_duplicates)
    assert read == len(crystals) == len(accepted) + len(failed)
    return [c.structure_id for c in accepted], {key: (str(why.reason), why.detail) for key, why in failed}


# ids


@pytest.mark.parametrize("name", ["mp-149", "a", "Si_2.relaxed+x", "0" * 64])
def test_valid_ids_stay(name):
    assert is_valid(name)
    assert sanitised(name) == name


@pytest.mark.parametrize("name", ["my file", "a:b", "../x", ".hidden", "é-Si", "x" * 65, "a/b", "a\nb"])
def test_other_ids_become_valid_and_stay_apart(name):
    made = sanitised(name)
    assert is_valid(made)
    assert made != sanitised(name + "1")
    assert made == sanitised(name)


def test_ids_without_any_usable_character():
    assert sanitised("---") is None
    assert sanitised("") is None
    _, failed = sort(builtin("Si"), builtin("Al", "???"))
    assert failed == {"???": ("bad_id", "the id '???' has no letter or digit (A-Z, a-z, 0-9) in it")}


def test_suffixed_ids_fit():
    assert len(with_suffix("x" * 64, "12345678")) == 64


def test_two_crystals_of_one_id_are_kept_apart():
    accepted, failed = sort(builtin("Si", "mine"), builtin("Al", "mine"))
    assert failed == {}
    assert accepted[0] == "mine"
    assert accepted[1].startswith("mine-")
    assert is_valid(accepted[1])


def test_one_crystal_read_twice_is_a_duplicate_even_if_duplicates_are_kept():
    accepted, failed = sort(builtin("Si"), builtin("Si"), builtin("Si"), remove_duplicates=False)
    assert accepted == ["demo-Si"]
    assert {key: reason for key, (reason, _) in failed.items()} == {
        "demo-Si": "duplicate",
        "demo-Si#2": "duplicate",
    }
    assert "same id and geometry" in failed["demo-Si"][1]


# checks


@pytest.mark.parametrize("remove", [True, False])
def test_what_a_source_rejects_is_kept_as_a_failure(remove):
    _, failed = sort(
        builtin("Si"), Rejected("bad one", FailureReason.UNREADABLE, "why"), remove_duplicates=remove
    )
    (key,) = failed
    assert key.startswith("bad-one-")
    assert failed[key] == ("unreadable", "why")


def test_elements_must_be_known_to_all():
    rules = Rules({"the potential": frozenset({12, 8, 14}), "the backend": frozenset({13, 14})}, 50, 0.5)
    accepted, failed = sort(builtin("Si"), builtin("MgO"), builtin("Al"), rules=rules)
    assert accepted == ["demo-Si"]
    assert failed["demo-MgO"] == ("unsupported_element", "O, Mg not known to the backend")
    assert failed["demo-Al"] == ("unsupported_element", "Al not known to the potential")


def test_atomic_numbers_that_are_none():
    _, failed = sort(builtin("Si"), changed(builtin("Al"), "x", numbers=[0]))
    assert failed["x"] == ("unsupported_element", "test: Z=0 is not an element")


def test_too_many_atoms():
    accepted, failed = sort(builtin("Si"), builtin("Si-BC8"), rules=Rules(EVERYTHING, 7, 0.5))
    assert accepted == ["demo-Si"]
    assert failed["demo-Si-BC8"] == ("too_many_atoms", "8 atoms, structures.max_atoms is 7")


def test_overlapping_atoms_are_named():
    near = changed(builtin("NaCl"), "near", positions=[[0, 0, 0], [0.3, 0, 0]])
    _, failed = sort(builtin("Si"), near)
    assert failed["near"] == (
        "overlapping_atoms",
        "atoms 0 and 1 (Na-Cl) are 0.300 Å apart, structures.min_distance_A is 0.5",
    )


def test_overlap_through_the_boundary_and_with_the_own_image():
    through = make_crystal("x", [14, 14], np.eye(3) * 5, [[0.1, 0, 0], [4.9, 0, 0]], "test")
    assert closest_pair(through, 0.5)[2] == pytest.approx(0.2)
    thin = make_crystal("x", [14], np.diag([0.4, 5, 5]), [[0, 0, 0]], "test")
    assert closest_pair(thin, 0.5)[2] == pytest.approx(0.4)
    on_top = make_crystal("x", [14, 14], np.eye(3) * 5, [[1, 1, 1], [1, 1, 1]], "test")
    assert closest_pair(on_top, 0.5)[2] == pytest.approx(0)
    assert closest_pair(builtin("Si"), 0.5) is None


@pytest.mark.parametrize(
    ("numbers", "cell", "positions", "reason"),
    [
        ([14], np.zeros((3, 3)), [[0, 0, 0]], "not_periodic"),
        ([14], [[1, 0, 0], [2, 0, 0], [0, 0, 1]], [[0, 0, 0]], "not_periodic"),
        ([14, 14], np.eye(3) * 5, [[0, 0, 0]], "unreadable"),
        ([], np.eye(3) * 5, [], "unreadable"),
        ([14], np.eye(3) * 5, [[0, 0, np.nan]], "unreadable"),
        ([14], np.eye(3) * np.inf, [[0, 0, 0]], "unreadable"),
        (["Si"], np.eye(3) * 5, [[0, 0, 0]], "unreadable"),
        ([14], np.eye(2), [[0, 0, 0]], "unreadable"),
        (None, None, None, "unreadable"),
    ],
)
def test_geometry_that_is_none(numbers, cell, positions, reason):
    found = make_crystal("x", numbers, cell, positions, "test")
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_left_handed_cells_become_right_handed_without_moving_an_atom():
    silicon = builtin("Si")
    left = silicon.cell[[1, 0, 2]]
    assert np.linalg.det(left) < 0
    made = changed(silicon, "x", cell=left)
    assert np.linalg.det(made.cell) > 0
    assert (made.positions == silicon.positions).all()
    integers = made.cell @ np.linalg.inv(silicon.cell)
    assert np.allclose(integers, integers.round())


# duplicates


def rotation():
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()


def test_the_same_crystal_in_other_words_is_a_duplicate():
    from pymatgen.core import Element, Structure

    tio2 = builtin("TiO2")
    shifted = changed(tio2, "shifted", positions=tio2.positions + np.array([0.4, -3.0, 11.0]))
    turned = changed(tio2, "turned", cell=tio2.cell @ rotation(), positions=tio2.positions @ rotation())
    doubled = Structure(
        tio2.cell, [Element.from_Z(int(z)) for z in tio2.numbers], tio2.positions, coords_are_cartesian=True
    )
    doubled.make_supercell([1, 1, 2])
    doubled = make_crystal(
        "doubled", doubled.atomic_numbers, doubled.lattice.matrix, doubled.cart_coords, "test"
    )
    reordered = changed(tio2, "reordered", numbers=tio2.numbers[::-1], positions=tio2.positions[::-1])
    stretched = changed(tio2, "other", cell=tio2.cell * 1.002, positions=tio2.positions * 1.002)
    accepted, failed = sort(tio2, shifted, turned, doubled, reordered, stretched)
    assert accepted == ["demo-TiO2"]
    assert {reason for reason, _ in failed.values()} == {"duplicate"}
    assert failed["turned"][1] == "test: the same crystal as demo-TiO2"


def test_what_only_looks_alike_is_kept():
    tio2, silicon, bc8 = builtin("TiO2"), builtin("Si"), builtin("Si-BC8")
    strained = changed(tio2, "strained", cell=tio2.cell * 1.05, positions=tio2.positions * 1.05)
    rng = np.random.default_rng(1)
    rattled = changed(tio2, "rattled", positions=tio2.positions + rng.normal(0, 0.1, (6, 3)))
    accepted, failed = sort(tio2, strained, rattled, silicon, bc8)
    assert failed == {}
    assert len(accepted) == 5


def test_of_equal_crystals_the_smaller_one_stays():
    (large,) = (cell for cell in bulk.cells(bulk.Options(), builtin("Si")) if cell.variant != "unit")
    first = make_crystal("first", large.numbers, large.cell, large.positions, "test")
    rules = Rules(EVERYTHING, max_atoms=500, min_distance_A=0.5)
    accepted, failed = sort(first, builtin("Si"), rules=rules)
    assert accepted == ["demo-Si"]
    assert failed == {"first": ("duplicate", "test: the same crystal as demo-Si")}


def test_the_earlier_one_stays_and_duplicates_can_be_kept():
    first, second = (
        builtin("Si", "zzz"),
        changed(builtin("Si"), "aaa", positions=builtin("Si").positions + 0.5),
    )
    accepted, failed = sort(first, second)
    assert accepted == ["zzz"]
    assert list(failed) == ["aaa"]
    accepted, failed = sort(first, second, remove_duplicates=False)
    assert accepted == ["aaa", "zzz"]
    assert failed == {}


def test_a_duplicate_of_a_rejected_crystal_is_not_lost():
    """Only accepted crystals stand for others."""
    rules = Rules(EVERYTHING, 2, 0.5)
    bc8 = builtin("Si-BC8")
    accepted, failed = sort(bc8, changed(bc8, "again"), builtin("Si"), rules=rules)
    assert accepted == ["demo-Si"]
    assert {reason for reason, _ in failed.values()} == {"too_many_atoms"}


def test_reduced_compositions():
    assert reduced_composition(np.array([8, 22, 8, 8, 22, 8])) == ((8, 2), (22, 1))
    assert reduced_composition(np.array([14] * 8)) == ((14, 1),)


def test_different_crystals_cost_no_symmetry_search(monkeypatch):
    import spglib

    def fail(*args, **kwargs):
        raise AssertionError("called")

    monkeypatch.setattr(spglib, "get_symmetry_dataset", fail)
    silicon = builtin("Si")
    assert list(find_duplicates([builtin("TiO2"), builtin("NaCl")])) == []
    assert list(find_duplicates([silicon, builtin("Si-BC8")])) == []
    with pytest.raises(AssertionError, match="called"):
        list(find_duplicates([silicon, changed(silicon, "near", positions=silicon.positions * 1.01)]))


def test_the_result_does_not_depend_on_chance():
    crystals = [builtin(name) for name in demo.CRYSTALS]
    assert sort(*crystals) == sort(*crystals)
    assert sort(*crystals)[0] == sort(*crystals[::-1])[0] == sorted(f"demo-{name}" for name in demo.CRYSTALS)
