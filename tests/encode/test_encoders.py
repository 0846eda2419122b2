import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from pesatlas import testing
from pesatlas.config.plugins import available
from pesatlas.encode.encoder import Frame
from pesatlas.encode.encoders import chgnet, external, m3gnet_eform
from pesatlas.errors import UserError
from pesatlas.potentials.weights import load_matgl
from small_mace import given_small_mace

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


class TestChgnet(testing.EncoderTests):
    kind = "chgnet"

    def test_it_knows_the_usual_elements(self, encoder):
        assert {11, 17, 14, 29} <= encoder.elements


class TestM3GNet(testing.EncoderTests):
    kind = "m3gnet_eform"

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, small_folder):
        return {"path": str(small_folder)}

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, small_folder):
        # random weights, which loading refuses
        return m3gnet_eform.M3GNetEncoder(load_matgl(small_folder), "m3gnet_eform/small", "0" * 64, "cpu")


@needs_eform
class TestRealM3GNet(testing.EncoderTests):
    kind = "m3gnet_eform"
    options = {"path": str(EFORM), "older_convention": True, "sha256": EFORM_SHA}

    def test_it_knows_the_usual_elements(self, encoder):
        assert {11, 17, 14, 29} <= encoder.elements


@pytest.fixture(scope="module")
def rattled():
    atoms = bulk("NaCl", "rocksalt", a=5.7) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_every_encoder_is_tested_here():
    assert available("pesatlas.encode.encoders") == ["chgnet", "external", "m3gnet_eform"]


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


class External(testing.EncoderTests):
    """Features by a process of its own."""

    kind = "external"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def in_the_folder_of_its_loader(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(Path(__file__).parents[1])
            yield


EMT = {"python": sys.executable, "loader": "ase.calculators.emt:EMT", "elements": ["Al", "Ni"]}


class TestExternalFunction(External):
    options = {**EMT, "features": "faulty_calculators:descriptors"}
    other_options = {"features": "faulty_calculators:other_descriptors"}


class TestExternalMethod(External):
    options = {
        **EMT,
        "loader": "faulty_calculators:Faulty",
        "arguments": {"fault": "dies"},
        "features": "descriptors",
    }


class TestExternalMace(External):
    kind = "external"

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory):
        return given_small_mace(tmp_path_factory) | {"features": "get_descriptors"}


def external_encoder(monkeypatch, fault, **given):
    monkeypatch.chdir(Path(__file__).parents[1])
    options = {
        **EMT,
        "loader": "faulty_calculators:Faulty",
        "arguments": {"fault": fault},
        "elements": ["Al", "Au"],
        "features": "descriptors",
        **given,
    }
    return external.load(external.Options(**options), "cpu")


@pytest.mark.parametrize("fault", ["dies", "raises", "runs_out_of_memory"])
def test_a_frame_that_a_worker_fails_on_is_marked_alone(monkeypatch, caplog, fault):
    encoder = external_encoder(monkeypatch, fault)
    structures, _ = encoder.encode([frame(bulk(symbol)) for symbol in ("Al", "Au", "Al")])
    assert np.isnan(structures).all(axis=1).tolist() == [False, True, False]
    assert "cannot be described" in caplog.text


def test_a_worker_that_describes_nothing_is_refused(monkeypatch):
    encoder = external_encoder(monkeypatch, "raises")
    with pytest.raises(UserError, match="describes none of 2 structures: ValueError: gold is not understood"):
        encoder.encode([frame(bulk("Au")), frame(bulk("Au", a=4.2))])


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ("no_such_method", "has no method no_such_method"),
        ("faulty_calculators:flat_descriptors", r"gave features of shape \(1,\) for 1 atoms"),
    ],
)
def test_features_that_are_none_are_refused(monkeypatch, features, words):
    with pytest.raises(UserError, match=words):
        external_encoder(monkeypatch, "dies", features=features)
