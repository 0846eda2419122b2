import numpy as np
import pytest
from pydantic import ValidationError

from pesatlas.structures.crystal import Crystal
from pesatlas.structures.domains import bulk
from pesatlas.structures.sources import demo


def cubic(a, n_atoms=1):
    return Crystal(
        "x", np.full(n_atoms, 14), np.eye(3) * a, np.arange(3 * n_atoms).reshape(-1, 3) * 0.7, "test"
    )


def rule(min_length, max_atoms):
    return bulk.Supercell(min_length_A=min_length, max_atoms=max_atoms)


@pytest.mark.parametrize(
    ("cell", "n_atoms", "min_length", "max_atoms", "expected"),
    [
        # MatPES' example: 8 atoms, 5.43 Å, become 64
        (np.eye(3) * 5.43, 8, 10, 200, (2, 2, 2)),
        # already wide enough
        (np.eye(3) * 10.0, 8, 10, 200, (1, 1, 1)),
        # each direction for itself: ceil(10 / 3), ceil(10 / 5), ceil(10 / 12)
        (np.diag([3.0, 5.0, 12.0]), 2, 10, 200, (4, 2, 1)),
        # the next step of the shortest direction would make 2 * 27 > 40 atoms from 2 * 18: a has grown to 3,
        # b to 3, c stays at 2
        (np.eye(3) * 3.0, 2, 10, 40, (3, 3, 2)),
        # not even one repetition fits
        (np.eye(3) * 3.0, 30, 10, 40, (1, 1, 1)),
        # a sheared cell: vectors a = (4, 0, 0), b = (20, 4, 0): |b| = 20.4 but its width is 4, and that of a
        # is 4 * 4 / 20.4 = 0.784
        (np.array([[4.0, 0, 0], [20.0, 4, 0], [0, 0, 10]]), 1, 4, 200, (6, 1, 1)),
        # primitive fcc of a = 4: widths are a / sqrt(3) = 2.309
        (np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]), 1, 6.9, 200, (3, 3, 3)),
        (np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]), 1, 6.95, 200, (4, 4, 4)),
    ],
)
def test_supercell_rule(cell, n_atoms, min_length, max_atoms, expected):
    assert bulk.repetitions(cell, n_atoms, rule(min_length, max_atoms)) == expected


def test_widths_that_differ_by_rounding_only_grow_in_the_order_of_the_vectors():
    cell = np.eye(3) * 3.0
    cell[0, 0] += 1e-12
    assert bulk.repetitions(cell, 2, rule(10, 40)) == (3, 3, 2)


def test_unit_and_supercell_with_every_condition():
    options = bulk.Options(supercell=rule(8, 100), temperatures_K=[300, 1000], pressures_GPa=[0.000101325, 5])
    unit, large = bulk.cells(options, cubic(5.0, 2))
    assert (unit.variant, large.variant) == ("unit", "supercell-2x2x2")
    assert [c.name for c in unit.conditions] == [
        "300K-0.000101325GPa",
        "300K-5GPa",
        "1000K-0.000101325GPa",
        "1000K-5GPa",
    ]
    assert [(c.temperature_K, c.pressure_GPa) for c in large.conditions] == [
        (300, 0.000101325),
        (300, 5),
        (1000, 0.000101325),
        (1000, 5),
    ]


@pytest.mark.parametrize("name", ["Si", "TiO2", "ZnO"])
def test_a_supercell_is_the_same_crystal(name):
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Element, Structure

    (crystal,) = demo.load(demo.Options(names=[name]))
    _, large = bulk.cells(bulk.Options(supercell=rule(7, 200)), crystal)

    def structure(x):
        return Structure(
            x.cell, [Element.from_Z(int(z)) for z in x.numbers], x.positions, coords_are_cartesian=True
        )

    times = round(np.linalg.det(large.cell) / np.linalg.det(crystal.cell))
    assert len(large.numbers) == times * len(crystal.numbers)
    assert times > 1
    primitive = structure(large).get_primitive_structure()
    assert len(primitive) == len(crystal.numbers)
    assert StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=0.01, scale=False).fit(
        structure(large), structure(crystal)
    )


def test_a_cell_that_needs_no_repetition_has_no_supercell():
    assert [c.variant for c in bulk.cells(bulk.Options(supercell=rule(5, 100)), cubic(5.0))] == ["unit"]


def test_without_unit_cells_a_crystal_still_has_a_cell():
    options = bulk.Options(unit_cell=False, supercell=rule(8, 100))
    assert [c.variant for c in bulk.cells(options, cubic(5.0))] == ["supercell-2x2x2"]
    assert [c.variant for c in bulk.cells(options, cubic(9.0))] == ["unit"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperatures_K": [-5]}, "-5 K is not a valid temperature; temperatures are in kelvin, above 0"),
        ({"temperatures_K": [0]}, "0 K is not a valid temperature"),
        ({"temperatures_K": [float("nan")]}, "nan K is not a valid temperature"),
        ({"temperatures_K": []}, "at least 1 item"),
        (
            {"pressures_GPa": [101325]},
            r"101325 GPa is not a valid pressure; pressures are in GPa \(1 atm is 0.000101325\)",
        ),
        ({"temperatures_K": [300, 300.00001]}, "the condition 300K-0.000101325GPa comes up twice"),
        ({"unit_cell": False, "supercell": None}, "leaves nothing to explore"),
        ({"temperature_K": [300]}, "Extra inputs are not permitted"),
        ({"supercell": {"min_length_A": -1}}, "greater than 0"),
        ({"supercell": {"max_atoms": 0}}, "greater than or equal to 1"),
    ],
)
def test_bad_options(wrong, message):
    with pytest.raises(ValidationError, match=message):
        bulk.Options(**wrong)
