"""Many crystals: the search for duplicates finds what comparing all with all finds, at the cost of a few
comparisons."""

import time
import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pesatlas.structures.accept import sort_out
from pesatlas.structures.checks import Rules
from pesatlas.structures.crystal import Crystal, make_crystal, repeated
from pesatlas.structures.crystal_file import CrystalFile
from pesatlas.structures.duplicates import find_duplicates
from pesatlas.structures.primitive import find_primitive
from pesatlas.structures.sources import demo
from structures import sources, variants

RULES = Rules({"the potential": frozenset(range(1, 100))}, max_atoms=500, min_distance_A=0.5)


def built_in(*names):
    return list(demo.load(demo.Options(names=list(names or demo.CRYSTALS))))


def descriptions(crystal, rng):
    """Yield a crystal as other files have it, and crystals that are nearly it."""
    name, n = crystal.structure_id, len(crystal.numbers)

    def as_crystal(tag, cell, positions, numbers=crystal.numbers):
        return make_crystal(f"{name}-{tag}", numbers, cell, positions, "test")

    yield as_crystal("itself", crystal.cell, crystal.positions)
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    order = rng.permutation(n)
    yield as_crystal(
        "turned", crystal.cell @ turn, (crystal.positions @ turn + 3.1)[order], crystal.numbers[order]
    )
    yield as_crystal("other-basis", [[1, 1, 0], [0, 1, 0], [1, 0, 1]] @ crystal.cell, crystal.positions)
    yield as_crystal("mirrored", crystal.cell * [-1, 1, 1], crystal.positions * [-1, 1, 1])
    yield as_crystal("rounded", crystal.cell, crystal.positions.round(2))
    for strain in (0.9785, 0.9805, 1.0003, 1.0195, 1.022):
        yield as_crystal(f"strained-{strain}", crystal.cell * strain, crystal.positions * strain)
    for width in (0.003, 0.03, 0.06, 0.1, 0.2):
        moves = rng.normal(0, width, (n, 3))
        yield as_crystal(f"moved-{width}", crystal.cell, crystal.positions + moves)
    for width in (0.01, 0.02):
        strain = np.eye(3) + rng.normal(0, width, (3, 3))
        yield as_crystal(f"sheared-{width}", crystal.cell @ strain, crystal.positions @ strain)
    for width in (0, 0.004):
        large = repeated(crystal, (1, 2, 1))
        moves = rng.normal(0, width, (2 * n, 3)) if width else 0
        yield as_crystal(f"doubled-{width}", large.cell, large.positions + moves, large.numbers)


def all_with_all(crystals):
    """Find duplicates as the definition reads: every crystal with each that was kept before it."""
    import spglib
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    matcher = StructureMatcher(ltol=0.02, stol=0.05, angle_tol=2, primitive_cell=False, scale=False)
    kept, found = [], {}
    for i in sorted(range(len(crystals)), key=lambda i: len(crystals[i].numbers)):
        cell = (
            crystals[i].cell,
            crystals[i].positions @ np.linalg.inv(crystals[i].cell),
            crystals[i].numbers,
        )
        group = spglib.get_symmetry_dataset(cell, symprec=0.01).number
        lattice, fractional, numbers = spglib.standardize_cell(
            cell, to_primitive=True, no_idealize=True, symprec=0.01
        )
        primitive = Structure(lattice, numbers, fractional)
        for j, other_group, other in kept:
            if (group, len(primitive)) == (other_group, len(other)) and matcher.fit(primitive, other):
                found[i] = j
                break
        else:
            kept.append((i, group, primitive))
    return found


@pytest.mark.parametrize("name", ["Si", "TiO2", "Li3N", "ZnO", "MgO", "Si-BC8"])
def test_duplicates_are_those_of_comparing_all_with_all(name):
    rng = np.random.default_rng(3)
    crystals = list(descriptions(*built_in(name), rng))
    found = dict(find_duplicates(crystals))
    assert found == all_with_all(crystals)
    assert len(crystals) - len(found) > 3 < len(found)


def chiral(sign):
    """Make something like tellurium, left- or right-handed."""
    cell = np.array([[4.46, 0, 0], [-2.23, 3.8624, 0], [0, 0, 5.93]])
    u, third = 0.27, sign / 3
    fractional = np.array([[u, 0, 0], [0, u, third], [-u, -u, 2 * third]]) % 1.0
    return make_crystal(f"te{sign:+d}", [52] * 3, cell, fractional @ cell, "test")


def test_mirror_images_of_different_space_groups_are_two_crystals():
    """Space groups 152 and 154: the matcher alone takes them for one."""
    crystals = [chiral(1), chiral(-1)]
    assert dict(find_duplicates(crystals)) == all_with_all(crystals) == {}


def test_primitive_cells_of_supercells():
    for crystal in built_in():
        if len(crystal.numbers) > 6:
            continue
        for times in product((1, 2), (1, 3), (1, 2)):
            large = repeated(crystal, times)
            found = find_primitive(large.numbers, large.cell, large.positions + 0.3)
            assert found is not None
            assert len(found.numbers) == len(crystal.numbers)
            assert np.linalg.det(found.cell) == pytest.approx(np.linalg.det(crystal.cell))
            assert found.exact


def test_translations_that_are_a_matter_of_tolerance_are_left_to_spglib():
    (silicon,) = built_in("Si")
    large = repeated(silicon, (2, 1, 1))
    moved = large.positions + np.array([[0.012, 0, 0], *[[0.0, 0, 0]] * 3])
    assert find_primitive(large.numbers, large.cell, moved) is None


def many_of_one_formula(count):
    """Different crystals of one formula and of no symmetry, as a search for structures makes them."""
    rng = np.random.default_rng(5)
    (start,) = built_in("TiO2")
    for i in range(count):
        strain = np.eye(3) + rng.normal(0, 0.05, (3, 3))
        positions = start.positions @ strain + rng.normal(0, 0.25, (6, 3))
        yield make_crystal(f"c{i}", start.numbers, start.cell @ strain, positions, "test")


def test_hundreds_of_one_formula_cost_milliseconds_each():
    """Comparing each with each took the square of their number: 16 s for these on the machine of the test
    below."""
    crystals = list(many_of_one_formula(600))
    begun = time.process_time()
    found = list(find_duplicates(crystals))
    assert len(found) < 100
    # 1 ms each where nothing else runs
    assert time.process_time() - begun < 6


def test_memory_does_not_grow_with_the_atoms_of_what_is_read():
    rng = np.random.default_rng(0)

    def reads():
        for i in range(3000):
            cell = np.diag([20.0, 20, 20]) + rng.normal(0, 0.1, (3, 3))
            grid = np.array(list(product(range(4), repeat=3))) * 5.0
            numbers = rng.permutation(np.repeat(rng.integers(3, 90, 4), 16))
            yield Crystal(f"c{i}", numbers, cell, grid, "test")

    tracemalloc.start()
    accepted, failed, read = sort_out(reads(), RULES, remove_duplicates=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(accepted), failed, read) == (3000, [], 3000)
    # their arrays alone are 6 MB; what is kept are names, hashes of geometries and formulas
    assert peak < 9e6, peak
    assert [c.structure_id for c in accepted] == sorted(f"c{i}" for i in range(3000))


def test_crystals_come_back_from_the_file_bit_for_bit():
    rng = np.random.default_rng(1)
    there = CrystalFile()
    crystals = [
        Crystal(
            f"ü{i}",
            rng.integers(1, 90, 5),
            rng.normal(size=(3, 3)),
            rng.normal(size=(5, 3)),
            "s\n",
            ("a",) * i,
        )
        for i in range(4)
    ]
    for crystal in crystals:
        there.append(crystal)
    there.append(crystals[0])
    assert len(there) == 5
    for given, back in zip([*crystals, crystals[0]], there, strict=True):
        assert (given.structure_id, given.source, given.warnings) == (
            back.structure_id,
            back.source,
            back.warnings,
        )
        for name in ("numbers", "cell", "positions"):
            assert (getattr(given, name) == getattr(back, name)).all()
            assert getattr(given, name).dtype == getattr(back, name).dtype
    assert [c.structure_id for c in there[1:3]] == ["ü1", "ü2"]
    with pytest.raises(IndexError):
        there[5]


def test_the_benchmark_makes_crystals_of_their_own(tmp_path):
    start = sources(tmp_path / "nothing there")
    rows = list(variants(start, 100, relabel=True))
    assert len({row["structure_id"] for row in rows}) == 100
    made = [make_crystal(*row.values(), "benchmark") for row in rows]
    again = [i for i, _ in find_duplicates(made)]
    assert len(again) <= 4


def test_large_empty_cells_are_checked_in_no_time():
    """The search for close atoms looked at one box for each 0.5 Å: 1,000,000 here."""
    crystals = [make_crystal(f"c{i}", [8, 1], np.eye(3) * (50 + i), np.eye(3)[:2], "test") for i in range(20)]
    begun = time.process_time()
    assert all(RULES.broken_by(crystal) is None for crystal in crystals)
    assert time.process_time() - begun < 0.5
    near = make_crystal("near", [8, 1], np.eye(3) * 20, [[0, 0, 0], [19.7, 0, 0]], "test")
    assert "are 0.300 Å apart" in RULES.broken_by(near).detail
