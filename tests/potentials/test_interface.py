"""Every potential keeps what is expected of one: mechanics, batches, what physics is indifferent to."""

import sys
from pathlib import Path

import pytest

from pesatlas import testing
from pesatlas.config.plugins import available
from pesatlas.potentials.weights import directory_sha256
from small_mace import given_small_mace
from small_potentials import SHARED_MODELS

pytestmark = pytest.mark.physics
TESTS = Path(__file__).parents[1]


class TestChgnet(testing.PotentialTests):
    kind = "chgnet"
    other_options = {"version": "0.2.0"}


class Small(testing.PotentialTests):
    """A model of some hundred weights that the tests make, in the folder of this name."""

    kind = "matgl"
    trained = False

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, folders):
        return {"path": str(folders[cls.name])}


class TestSmallM3GNet(Small):
    name = "m3gnet"


class TestKinkedM3GNet(Small):
    name = "m3gnet-kinked"
    slope_eV_per_A3 = 6e-4  # a neighbour that crosses the cutoff is a step in the energy


class TestSmallTensorNet(Small):
    name = "tensornet"


class Shared(testing.PotentialTests):
    kind = "matgl"

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls):
        folder = SHARED_MODELS / cls.name
        if not folder.is_dir():
            pytest.skip("needs the pretrained weights beside the checkout (../shared/models)")
        return {"path": str(folder), "older_convention": True, "sha256": directory_sha256(folder)}


class TestM3GNet2021(Shared):
    name = "M3GNet-MP-2021.2.8-PES"


class TestM3GNetMatPES(Shared):
    name = "M3GNet-MatPES-PBE-v2025.1-PES"


class TestTensorNetMatPES(Shared):
    name = "TensorNet-MatPES-PBE-v2025.1-PES"


class External(testing.PotentialTests):
    """A calculator of ASE in a process of its own."""

    kind = "external"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def in_the_folder_of_its_loader(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(TESTS)
            yield


class TestExternalArgon(External):
    options = {
        "python": sys.executable,
        "loader": "faulty_calculators:argon",
        "elements": ["Ar"],
        "name": "argon",
    }
    other_options = {"arguments": {"depth": 0.02}}
    slope_eV_per_A = 2e-4  # argon is soft
    slope_eV_per_A3 = 2e-6


class TestExternalEmt(External):
    options = {
        "python": sys.executable,
        "loader": "ase.calculators.emt:EMT",
        "elements": ["Al", "Ni"],
    }
    other_options = {"arguments": {"asap_cutoff": True}}
    trained = False  # 5 % too large a lattice constant of NiAl


class TestExternalMace(External):
    kind = "external"

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory):
        return given_small_mace(tmp_path_factory)


def test_every_kind_is_tested_here():
    assert available("pesatlas.potentials.kinds") == ["chgnet", "external", "matgl"]
