from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from pesatlas.encode.encoders import chgnet, m3gnet_eform
from pesatlas.encode.interface import Frame
from pesatlas.errors import UserError
from pesatlas.potentials.weights import load_matgl
from pesatlas.registry import available

SHARED = Path(__file__).parents[2].parent / "shared"


def frame(atoms):
    return Frame(atoms.numbers, atoms.positions.copy(), np.array(atoms.cell))


EFORM = SHARED / "models" / "M3GNet-MP-2018.6.1-Eform"
needs_eform = pytest.mark.skipif(
    not EFORM.is_dir(), reason="the real weights lie in ../shared, which is not here"
)
EFORM_SHA = "40ccf278bf5deb2a780150ec6c10886fe862b09479782983f25c2a521e0798de"
ELEMENTS = ("Na", "Cl", "Si", "Cu", "Ar", "Mg", "O", "Ga", "As")


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    """A small random model, saved as matgl saves."""
    import torch
    from matgl.models import M3GNet

    torch.manual_seed(0)
    model = M3GNet(
        element_types=ELEMENTS,
        dim_node_embedding=8,
        dim_edge_embedding=6,
        units=10,
        nblocks=2,
        readout_type="set2set",
    )
    folder = tmp_path_factory.mktemp("small-eform")
    model.save(folder)
    return folder


@pytest.fixture(scope="module", params=["chgnet", "small", pytest.param("real", marks=needs_eform)])
def encoder(request, small_folder):
    if request.param == "chgnet":
        return chgnet.load(chgnet.Options(), "cpu")
    if request.param == "small":
        return m3gnet_eform.M3GNetEncoder(load_matgl(small_folder), "m3gnet_eform/small", "0" * 64, "cpu")
    return m3gnet_eform.load(m3gnet_eform.Options(path=EFORM, older_convention=True, sha256=EFORM_SHA), "cpu")


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
    assert np.abs(structures[0] - structures[1]).max() > 1e-4
    assert np.abs(atoms[:4] - atoms[4:]).max() > 1e-4


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
    moved = Frame(moved.numbers, (moved.positions + np.array([0.3, -1.7, 40.0])) @ turn, moved.cell @ turn)
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
    assert np.isfinite(encoder.encode([alone])[0]).all()
    structures, atoms = encoder.encode([alone, frame(rattled)])
    expected, _ = encoder.encode([frame(rattled)])
    assert np.isfinite(structures).all()
    assert np.isfinite(atoms).all()
    np.testing.assert_allclose(structures[1], expected[0], atol=1e-5 * np.abs(expected).max())


def test_it_says_whose_features_they_are(encoder):
    assert len(encoder.weights_hash) == 64
    assert {11, 17, 14, 29} <= encoder.elements
    assert "/" in encoder.name


@needs_eform
@pytest.mark.physics
def test_real_weights_give_the_formation_energies_of_matgl_2():
    encoder = m3gnet_eform.load(
        m3gnet_eform.Options(path=EFORM, older_convention=True, sha256=EFORM_SHA), "cpu"
    )
    crystals = [bulk("NaCl", "rocksalt", a=5.69), bulk("MgO", "rocksalt", a=4.21)]
    np.testing.assert_allclose(
        encoder.formation_energies([frame(a) for a in crystals]), [-2.09, -3.07], atol=0.02
    )


@needs_eform
def test_real_weights_under_the_wrong_convention_are_refused():
    with pytest.raises(UserError, match=r"MgO -2\.5. instead of -3\.07.*older_convention is false"):
        m3gnet_eform.load(m3gnet_eform.Options(path=EFORM), "cpu")


def test_random_weights_and_missing_ones_are_refused(small_folder, tmp_path):
    with pytest.raises(UserError, match="wrong formation energies"):
        m3gnet_eform.load(m3gnet_eform.Options(path=small_folder), "cpu")
    with pytest.raises(UserError, match="not the weights"):
        m3gnet_eform.load(m3gnet_eform.Options(path=small_folder, sha256="0" * 64), "cpu")
    with pytest.raises(UserError, match="no model"):
        m3gnet_eform.check(m3gnet_eform.Options(path=tmp_path))
    with pytest.raises(ValueError, match="give their sha256 too"):
        m3gnet_eform.Options(path=small_folder, older_convention=True)


def test_small_model_gives_what_matgl_gives(small_folder, rattled):
    from matgl.ext.ase import Atoms2Graph

    model = load_matgl(small_folder)
    ours = m3gnet_eform.M3GNetEncoder(model, "small", "0" * 64, "cpu").encode([frame(rattled)])
    graph, lattice, _ = Atoms2Graph(model.element_types, model.cutoff).get_graph(rattled)
    graph.pbc_offshift = graph.pbc_offset @ lattice[0]
    graph.pos = graph.frac_coords @ lattice[0]
    model(g=graph, state_attr=None)
    np.testing.assert_allclose(ours[0][0], model.feature_dict["readout"].detach().numpy().ravel(), atol=1e-5)
    np.testing.assert_allclose(
        ours[1], model.feature_dict["gc_1"]["node_feat"].detach().numpy(), atol=1e-4, rtol=1e-4
    )


def test_chgnet_gives_what_its_package_gives(rattled):
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    ours = chgnet.load(chgnet.Options(), "cpu").encode([frame(rattled)])
    theirs = CHGNet.load(use_device="cpu", verbose=False).predict_structure(
        AseAtomsAdaptor.get_structure(rattled), task="e", return_atom_feas=True, return_crystal_feas=True
    )
    np.testing.assert_allclose(ours[0][0], theirs["crystal_fea"] / len(rattled), atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs["atom_fea"], atol=1e-4)


def test_wreckage_is_marked_and_harms_no_neighbour(encoder, rattled):
    wreck = Frame(np.array([11] * 60), np.zeros((60, 3)), np.eye(3) * 3.0)
    structures, atoms = encoder.encode([wreck, frame(rattled)])
    assert np.isnan(structures[0]).all()
    assert np.isnan(atoms[:60]).all()
    np.testing.assert_allclose(structures[1], encoder.encode([frame(rattled)])[0][0], atol=1e-5)
