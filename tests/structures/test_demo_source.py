import numpy as np
import pytest
from pydantic import ValidationError

from pesatlas import testing
from pesatlas.structures.checks import closest_pair
from pesatlas.structures.sources import demo

# space group, atoms in the primitive cell, nearest neighbours (Å; Wyckoff 1963, Kittel 2005 and the papers
# named in demo.py)
EXPECTED = {
    "Al": (225, 1, 2.864),
    "AlP": (216, 2, 2.360),
    "CsCl": (221, 2, 3.571),
    "GaAs": (216, 2, 2.448),
    "H3S": (229, 4, 1.492),
    "LaH10": (225, 11, 1.148),
    "Li2O": (225, 3, 2.000),
    "Li2S": (225, 3, 2.473),
    "Li3N": (191, 4, 1.938),
    "LiF": (225, 2, 2.009),
    "Mg2Si": (225, 3, 2.750),
    "MgO": (225, 2, 2.106),
    "MoS2": (194, 6, 2.417),
    "NaCl": (225, 2, 2.820),
    "NiAl": (221, 2, 2.500),
    "Si": (227, 2, 2.352),
    "Si-BC8": (206, 8, 2.306),
    "SiC": (216, 2, 1.888),
    "TiO2": (136, 6, 1.948),
    "WS2": (194, 6, 2.405),
    "ZnO": (186, 4, 1.974),
}


class TestDemo(testing.SourceTests):
    kind = "demo"
    options = {"names": sorted(EXPECTED)}
    other_options = {"names": ["NaCl"]}


def test_every_crystal_is_expected():
    assert set(demo.CRYSTALS) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_crystal_has_its_space_group_and_bond_length(name):
    import spglib

    (crystal,) = demo.load(demo.Options(names=[name]))
    space_group, n_atoms, bond = EXPECTED[name]
    fractional = crystal.positions @ np.linalg.inv(crystal.cell)
    assert crystal.structure_id == f"demo-{name}"
    assert len(crystal.numbers) == n_atoms
    assert (
        spglib.get_symmetry_dataset((crystal.cell, fractional, crystal.numbers), symprec=1e-3).number
        == space_group
    )
    assert closest_pair(crystal, 4.0)[2] == pytest.approx(bond, abs=0.002)


def test_the_default_is_what_the_demo_needs():
    crystals = list(demo.load(demo.Options()))
    sizes = [len(c.numbers) for c in crystals]
    assert 6 <= len(crystals) <= 8
    assert min(sizes) <= 2
    assert max(sizes) == 8


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValidationError, match="no built-in crystal Unobtainium; there are Al, AlP"):
        demo.Options(names=["Unobtainium"])
