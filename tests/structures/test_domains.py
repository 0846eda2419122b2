"""Every domain on two crystals: how many cells, their geometry, their names; and what is refused."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from pesatlas import testing
from pesatlas.config import plugins
from pesatlas.dynamics.distance import min_distance
from pesatlas.structures.crystal import Cell, Condition, Crystal, Refused, laid_flat
from pesatlas.structures.sources import demo
from pesatlas.tables import FailureReason

PACKAGE = "pesatlas.structures.domains"
SMALL = {"min_length_A": 5, "max_atoms": 32}
FLAT = {"min_length_A": 4, "max_atoms": 64}

# domain: options, crystal -> (cells, refused)
CASES = {
    "bulk": ({"supercell": SMALL}, {"MgO": (2, 0), "Al": (2, 0)}),
    "compressed": ({"supercell": SMALL}, {"MgO": (6, 0), "Al": (6, 0)}),
    "hot": ({"supercell": SMALL}, {"MgO": (1, 0), "Al": (1, 0)}),
    "liquid": ({"supercell": SMALL}, {"MgO": (1, 0), "Al": (1, 0)}),
    "amorphous": ({"supercell": SMALL}, {"MgO": (1, 0), "Al": (1, 0)}),
    "strained": ({}, {"MgO": (28, 0), "Al": (28, 0)}),
    "rattled": ({"supercell": SMALL}, {"MgO": (6, 0), "Al": (6, 0)}),
    "vacancy": ({"supercell": SMALL}, {"MgO": (2, 0), "Li3N": (3, 0)}),
    "interstitial": ({"supercell": SMALL}, {"MgO": (2, 0), "Al": (2, 0)}),
    "substitution": ({"supercell": SMALL}, {"MgO": (2, 0), "Li3N": (3, 0)}),
    "transition": ({"supercell": SMALL, "elements": ["Mg", "Al"]}, {"MgO": (1, 0), "Al": (1, 0)}),
    # rock salt (111) has a dipole; face-centred cubic has one termination of each
    "surface": ({"thickness_A": 6, "supercell": FLAT}, {"MgO": (2, 1), "Al": (3, 0)}),
    "adsorbate": (
        {"miller": [[1, 1, 1]], "adsorbates": ["H", "CO"], "supercell": FLAT},
        {"MgO": (0, 1), "Al": (6, 0)},
    ),
    "layered": ({"supercell": None}, {"MoS2": (10, 0), "MgO": (0, 1)}),
    "monolayer": ({"vacancies": True, "supercell": FLAT}, {"MoS2": (3, 0), "WS2": (3, 0)}),
    "grain_boundary": ({}, {"MgO": (2, 0), "Al": (2, 0), "MoS2": (0, 1)}),
}
OTHER = {
    "amorphous": {"final_K": 321.0},
    "rattled": {"displacements_A": [0.07]},
    "transition": {"images": 4},
}
EXTERNAL = [(kind, name) for kind, (_, crystals) in CASES.items() for name in crystals]


def crystal(name):
    (found,) = demo.load(demo.Options(names=[name]))
    return found


def make(kind, what, **options):
    module = plugins.find(PACKAGE, kind)
    found = list(module.cells(module.Options(**options), crystal(what) if isinstance(what, str) else what))
    return (
        {each.variant: each for each in found if isinstance(each, Cell)},
        {each.variant: each for each in found if isinstance(each, Refused)},
    )


def composition(cell):
    counts = Counter(cell.numbers.tolist())
    return {z: n / len(cell.numbers) for z, n in counts.items()}


def vacuum(cell):
    heights = np.sort((cell.positions @ np.linalg.inv(cell.cell))[:, 2] % 1)
    return np.diff(np.append(heights, heights[0] + 1)).max() * cell.cell[2, 2]


def test_every_domain_is_tested():
    assert set(CASES) == set(plugins.available(PACKAGE))


for kind, (options, crystals) in CASES.items():
    globals()[f"Test_{kind}"] = type(
        f"Test_{kind}",
        (testing.DomainTests,),
        {
            "kind": kind,
            "options": options,
            "other_options": OTHER.get(kind, {"temperatures_K": [321.0]}),
            "crystals": tuple(crystals),
            "__module__": __name__,
        },
    )


@pytest.mark.parametrize(("kind", "name"), EXTERNAL)
def test_numbers_of_cells_and_refusals(kind, name):
    options, expected = CASES[kind]
    cells, refused = make(kind, name, **options)
    assert (len(cells), len(refused)) == expected[name]
    for variant, cell in cells.items():
        assert variant
        assert min_distance(cell.cell, cell.positions) > 1.0
    for why in refused.values():
        assert why.reason in {FailureReason.NOT_APPLICABLE, FailureReason.POLAR}


@pytest.mark.parametrize("kind", sorted(set(CASES) - {"amorphous", "rattled", "transition"}))
def test_a_temperature_twice_would_give_two_trajectories_one_name_and_is_refused(kind):
    module = plugins.find(PACKAGE, kind)
    with pytest.raises(ValidationError, match="twice"):
        module.Options(temperatures_K=[300.0, 600.0, 300.0])


@pytest.mark.parametrize(
    "kind",
    [
        "compressed",
        "hot",
        "liquid",
        "amorphous",
        "strained",
        "rattled",
        "grain_boundary",
        "layered",
        "surface",
    ],
)
def test_stoichiometry_stays(kind):
    options, crystals = CASES[kind]
    for name in crystals:
        for cell in make(kind, name, **options)[0].values():
            assert composition(cell) == pytest.approx(composition(crystal(name)))


def test_a_ladder_starts_each_rung_at_about_its_volume():
    cells, _ = make("compressed", "MgO", bulk_modulus_GPa=160, supercell=None)
    volumes = {cell.conditions[0].pressure_GPa: np.linalg.det(cell.cell) for cell in cells.values()}
    at_rest = np.linalg.det(crystal("MgO").cell)
    # measured: Speziale et al., J. Geophys. Res. 106, 515 (2001): V/V0 of MgO is 0.94 at 10, 0.79 at 52 GPa
    assert volumes[10.0] / at_rest == pytest.approx(0.944, abs=0.01)
    assert volumes[50.0] / at_rest == pytest.approx(0.80, abs=0.02)
    assert list(volumes.values()) == sorted(volumes.values(), reverse=True)
    for cell in cells.values():
        (condition,) = cell.conditions
        assert condition.compressibility_per_GPa == pytest.approx(1 / (160 + 4 * condition.pressure_GPa))


def test_a_ladder_may_start_from_a_crystal_that_is_given_under_pressure():
    cells, _ = make("compressed", "H3S", given_at_GPa=200, pressures_GPa=[100, 200], supercell=None)
    assert np.linalg.det(cells["compressed-200GPa"].cell) == pytest.approx(np.linalg.det(crystal("H3S").cell))
    assert np.linalg.det(cells["compressed-100GPa"].cell) > np.linalg.det(crystal("H3S").cell)


def test_strains_are_those_that_were_asked_for():
    given = crystal("MgO")
    cells, _ = make("strained", "MgO", magnitudes=[0.04], temperatures_K=[300])
    for mode, expected in {"xx": (0, 0), "yz": (1, 2), "xy": (0, 1)}.items():
        cell = cells[f"strained-{mode}-p0.04"]
        strain = np.linalg.inv(given.cell) @ cell.cell - np.eye(3)
        assert strain[expected] == pytest.approx(0.04)
        assert np.abs(strain).sum() == pytest.approx(0.04 if mode == "xx" else 0.08)
        np.testing.assert_allclose(
            cell.positions @ np.linalg.inv(cell.cell), given.positions @ np.linalg.inv(given.cell), atol=1e-12
        )
    static, moving = cells["strained-xx-p0.04"].conditions
    assert static.static
    assert (moving.cell_motion, moving.static) == ("none", False)


def test_displacements_have_the_width_that_was_asked_for():
    cells, _ = make(
        "rattled", "MgO", displacements_A=[0.2], copies=20, supercell={"min_length_A": 8, "max_atoms": 64}
    )
    moves = np.concatenate(
        [cell.positions - c for cell, c in zip(cells.values(), [large_mgo()] * 20, strict=True)]
    )
    assert moves.std() == pytest.approx(0.2, rel=0.03)
    first, second = list(cells.values())[:2]
    assert np.abs(first.positions - second.positions).max() > 0.1


def large_mgo():
    from pesatlas.structures.domains import bulk

    return bulk.enlarged(crystal("MgO"), bulk.Supercell(min_length_A=8, max_atoms=64)).positions


def test_melts_go_through_their_temperatures():
    (cell,) = make("amorphous", "MgO", melt_K=3000, melt_ps=1, quench_ps=4, final_K=500, anneal_ps=2)[
        0
    ].values()
    (condition,) = cell.conditions
    assert [(s.start_K, s.end_K, s.length_ps) for s in condition.ramp] == [(3000, 3000, 1), (3000, 500, 4)]
    assert (condition.temperature_K, condition.length_ps, condition.cell_motion) == (500, 2, "isotropic")
    with pytest.raises(ValidationError, match="no quench"):
        plugins.find(PACKAGE, "amorphous").Options(melt_K=300, final_K=300)


@pytest.mark.parametrize("kind", ["surface", "monolayer", "adsorbate"])
def test_the_vacuum_is_as_wide_as_asked_for_and_never_moves(kind):
    options, crystals = CASES[kind]
    for name in crystals:
        for cell in make(kind, name, **{**options, "vacuum_A": 11.5})[0].values():
            assert vacuum(cell) == pytest.approx(11.5, abs=0.01 if kind != "adsorbate" else 3.5)
            assert (cell.cell[:2, 2] == 0).all()
            assert (cell.cell[2, :2] == 0).all()
            assert {condition.cell_motion for condition in cell.conditions} == {"in_plane"}
            heights = cell.positions[:, 2]
            assert heights.min() > 0
            assert heights.max() < cell.cell[2, 2]


def test_a_slab_has_the_layers_of_its_crystal():
    cells, _ = make("surface", "Al", thickness_A=6, miller=[[1, 1, 1]], supercell=FLAT)
    (slab,) = cells.values()
    heights = np.unique(slab.positions[:, 2].round(3))
    np.testing.assert_allclose(np.diff(heights), 4.05 / 3**0.5, atol=2e-3)
    assert np.ptp(heights) >= 4
    area = np.linalg.det(slab.cell[:2, :2])
    assert len(slab.numbers) / len(heights) / area == pytest.approx(4 / 3**0.5 / 4.05**2, rel=1e-3)


def test_a_polar_slab_is_refused_and_says_why():
    _, refused = make("surface", "MgO", miller=[[1, 1, 1]])
    (why,) = refused.values()
    assert why.reason == FailureReason.POLAR
    assert "dipole" in why.detail
    assert "another reference level" in why.detail


def test_an_adsorbate_sits_on_top_of_the_slab():
    cells, _ = make(
        "adsorbate",
        "Al",
        miller=[[1, 1, 1]],
        adsorbates=["CO"],
        height_A=1.8,
        sites=["ontop"],
        supercell=FLAT,
    )
    (cell,) = cells.values()
    slab, molecule = cell.positions[:-2], cell.positions[-2:]
    assert sorted(cell.numbers[-2:].tolist()) == [6, 8]
    assert molecule[:, 2].min() - slab[:, 2].max() == pytest.approx(1.8, abs=0.01)
    with pytest.raises(ValidationError, match="neither an element nor a molecule"):
        plugins.find(PACKAGE, "adsorbate").Options(adsorbates=["Kryptonite"])


def test_layers_are_found_however_the_cell_is_chosen():
    given = crystal("MoS2")
    skewed = Crystal(
        "x",
        given.numbers,
        np.array([[1, 0, 1], [0, 1, 0], [0, 1, 1]]) @ given.cell,
        given.positions,
        "test",
    )
    for what in (given, skewed):
        cells, _ = make("layered", what, supercell=None, spacings_A=[1.0], slides=[])
        still, apart = cells["layered"], cells["layered-spacing-p1"]
        assert apart.cell[2, 2] - still.cell[2, 2] == pytest.approx(2.0)
        assert len(apart.numbers) == 6
        mono, _ = make("monolayer", what, supercell={"min_length_A": 1, "max_atoms": 10})
        (layer,) = mono.values()
        assert sorted(layer.numbers.tolist()) == [16, 16, 42]
        # Mo is at z = 0.75, S at 0.621 and as far above
        assert np.ptp(layer.positions[:, 2]) == pytest.approx(2 * (0.75 - 0.621) * 12.294, abs=0.01)
        np.testing.assert_allclose(np.linalg.norm(layer.cell[:2], axis=1), 3.160, atol=1e-6)


def test_a_sigma_5_boundary_has_five_times_the_coincidence_cell():
    cells, _ = make("grain_boundary", "Al")
    twist, tilt = cells["grain_boundary-twist-s5"], cells["grain_boundary-tilt-s5"]
    assert np.linalg.norm(twist.cell[:2], axis=1) == pytest.approx([4.05 * 5**0.5] * 2)
    # the shortest repeat of (210) along the boundary is a sqrt(5), across it a along the axis
    assert sorted(np.linalg.norm(tilt.cell, axis=1))[:2] == pytest.approx([4.05, 4.05 * 5**0.5])
    # both grains are of the crystal's density, but for atoms merged at the two boundaries
    for cell in cells.values():
        volume = np.linalg.det(cell.cell) / len(cell.numbers)
        assert volume == pytest.approx(4.05**3 / 4, rel=0.15)


def test_defects_change_one_atom():
    whole = Counter(dict.fromkeys([12, 8], 0))
    (pure,) = [cell for name, cell in make("bulk", "MgO", supercell=SMALL)[0].items() if name != "unit"]
    whole.update(pure.numbers.tolist())
    for name, cell in make("vacancy", "MgO", supercell=SMALL)[0].items():
        lost = whole - Counter(cell.numbers.tolist())
        assert lost == Counter([12 if "Mg" in name else 8])
    for cell in make("interstitial", "MgO", supercell=SMALL, elements=["O"])[0].values():
        assert Counter(cell.numbers.tolist()) - whole == Counter([8])
    (cell,) = make("substitution", "MgO", supercell=SMALL, replace={"Mg": ["Ca"], "Fe": ["Co"]})[0].values()
    assert Counter(cell.numbers.tolist()) - whole == Counter([20])
    assert make("substitution", "Al")[1]["substitution"].reason == FailureReason.NOT_APPLICABLE


def test_a_hop_goes_from_a_site_to_the_vacancy_beside_it():
    cells, _ = make("transition", "Al", images=5, supercell=SMALL)
    cell = cells["transition-Al0"]
    (condition,) = cell.conditions
    moved = np.linalg.norm(condition.path.end_A - cell.positions, axis=1)
    assert sorted(moved > 1e-6) == [False] * (len(moved) - 1) + [True]
    assert moved.max() == pytest.approx(4.05 / 2**0.5)
    # the atom takes the place that was left: both states are the same crystal with a vacancy
    for positions in (cell.positions, condition.path.end_A):
        assert min_distance(cell.cell, positions) == pytest.approx(4.05 / 2**0.5)
    refused = make("transition", "Al", supercell={"min_length_A": 1, "max_atoms": 2}, max_hop_A=1)[1]
    assert {each.reason for each in refused.values()} == {FailureReason.NOT_APPLICABLE}


def test_a_cell_whose_vacuum_would_move_is_a_defect_of_its_domain():
    given = crystal("MgO")
    moving = [Condition("c", 300, 0, cell_motion="in_plane")]
    with pytest.raises(ValueError, match="plane xy"):
        Cell("x", "x", given.numbers, given.cell, given.positions, moving)
    flat = laid_flat(given)
    Cell("x", "x", flat.numbers, flat.cell, flat.positions, moving)
    assert np.linalg.det(flat.cell) == pytest.approx(np.linalg.det(given.cell))
    assert min_distance(flat.cell, flat.positions) == pytest.approx(min_distance(given.cell, given.positions))


def test_layered_crystals_are_compressed_by_the_barostat_which_knows_where_they_give_way():
    cells, _ = make("compressed", "MoS2", supercell=None)
    for cell in cells.values():
        np.testing.assert_allclose(cell.cell, crystal("MoS2").cell)
        assert cell.conditions[0].max_volume_ratio > 2


def test_an_interstitial_has_room():
    from ase.data import covalent_radii

    for name in ("MoS2", "Li3N"):
        for cell in make("interstitial", name, supercell=SMALL)[0].values():
            radii = covalent_radii[cell.numbers[-1]] + covalent_radii[cell.numbers[:-1]].min()
            assert min_distance(cell.cell, cell.positions) > 0.6 * radii
