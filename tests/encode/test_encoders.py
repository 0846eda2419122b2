from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from pesatlas.encode.interface import Frame
from pesatlas.registry import available, find

SHARED = Path(__file__).parents[2].parent / "shared"


def frame(atoms):
    return Frame(atoms.numbers, atoms.positions.copy(), np.array(atoms.cell))


@pytest.fixture(scope="module", params=["chgnet", "m3gnet_eform"])
def encoder(request):
    module = find("pesatlas.encode.encoders", request.param)
    options = {"kind": request.param}
    if request.param == "m3gnet_eform":
        weights = SHARED / "models" / "M3GNet-MP-2018.6.1-Eform"
        if not weights.is_dir():
            pytest.skip("the real weights lie in ../shared, which is not here")
        options |= {"path": str(weights), "older_convention": True}
    return module.load(module.Options(**options), "cpu")


@pytest.fixture(scope="module")
def rattled():
    atoms = bulk("NaCl", "rocksalt", a=5.7) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_every_encoder_is_tested_here():
    assert available("pesatlas.encode.encoders") == ["chgnet", "m3gnet_eform"]


def test_shapes_and_order(encoder, rattled):
    crystals = [bulk("Si"), rattled, bulk("Cu")]
    structures, atoms = encoder.encode([frame(a) for a in crystals])
    assert structures.shape == (3, encoder.structure_dim)
    assert atoms.shape == (2 + 4 + 1, encoder.atom_dim)
    start = 0
    for i, crystal in enumerate(crystals):
        alone, its_atoms = encoder.encode([frame(crystal)])
        np.testing.assert_allclose(alone[0], structures[i], atol=2e-5, rtol=1e-4)
        np.testing.assert_allclose(its_atoms, atoms[start : start + len(crystal)], atol=2e-5, rtol=1e-4)
        start += len(crystal)


def test_different_structures_have_different_vectors(encoder, rattled):
    other = rattled.copy()
    other.rattle(0.05, seed=9)
    structures, atoms = encoder.encode([frame(rattled), frame(other)])
    assert np.abs(structures[0] - structures[1]).max() > 1e-3
    assert np.abs(atoms[:4] - atoms[4:]).max() > 1e-3


def test_supercell_has_the_vector_of_its_unit_cell(encoder, rattled):
    large = make_supercell(rattled, [[1, 1, 0], [0, 2, 0], [0, 0, 2]])
    structures, atoms = encoder.encode([frame(rattled), frame(large)])
    scale = np.abs(structures[0]).max()
    np.testing.assert_allclose(structures[1], structures[0], atol=1e-5 * scale)
    # atoms too, whatever the order in which the supercell lists them
    spread = np.abs(atoms[4:, None] - atoms[None, :4]).max(axis=2).min(axis=1)
    assert spread.max() < 1e-4 * np.abs(atoms).max()


def test_translation_rotation_and_wrapping_change_nothing(encoder, rattled):
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = frame(rattled)
    moved = Frame(moved.numbers, (moved.positions + [0.3, -1.7, 40.0]) @ turn, moved.cell @ turn)
    wrapped = rattled.copy()
    wrapped.positions += rattled.cell[0] * np.array([[3], [0], [-1], [2]])
    structures, atoms = encoder.encode([frame(rattled), moved, frame(wrapped)])
    for i in (1, 2):
        np.testing.assert_allclose(structures[i], structures[0], atol=1e-5 * np.abs(structures[0]).max())
        np.testing.assert_allclose(atoms[4 * i : 4 * i + 4], atoms[:4], atol=1e-4 * np.abs(atoms[:4]).max())


def test_permutation_permutes_atoms_only(encoder, rattled):
    order = [2, 0, 3, 1]
    structures, atoms = encoder.encode([frame(rattled), frame(rattled[order])])
    np.testing.assert_allclose(structures[1], structures[0], atol=1e-5 * np.abs(structures[0]).max())
    np.testing.assert_allclose(atoms[4:], atoms[:4][order], atol=1e-4 * np.abs(atoms[:4]).max())


def test_an_atom_alone_is_described_without_harm_to_others(encoder, rattled):
    alone = Frame(np.array([18]), np.zeros((1, 3)), np.eye(3) * 20.0)
    structures, atoms = encoder.encode([alone, frame(rattled)])
    expected, _ = encoder.encode([frame(rattled)])
    assert np.isfinite(structures).all()
    assert np.isfinite(atoms).all()
    np.testing.assert_allclose(structures[1], expected[0], atol=1e-5 * np.abs(expected).max())


def test_it_says_whose_features_they_are(encoder):
    assert len(encoder.weights_hash) == 64
    assert {1, 6, 8, 11, 17, 26} <= encoder.elements
    assert "/" in encoder.name
