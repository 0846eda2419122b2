"""The gate lets good potentials through and names what is wrong with the others."""

import logging
from dataclasses import replace

import pytest

from pesatlas.errors import UserError
from pesatlas.potentials import loading
from pesatlas.potentials.gate import pass_gate
from pesatlas.potentials.kinds import chgnet, matgl
from pesatlas.potentials.loading import elements_of, load_potential
from pesatlas.potentials.weights import directory_sha256

OLDER = [
    "M3GNet-MP-2021.2.8-PES",
    "M3GNet-MatPES-PBE-v2025.1-PES",
    "TensorNet-MatPES-PBE-v2025.1-PES",
    "TensorNetDGL-MatPES-PBE-v2025.1-PES",
]


class Distorted:
    """A potential that says something else of what it is given."""

    def __init__(self, potential, change):
        self.name = potential.name
        self.weights_hash = potential.weights_hash
        self.elements = potential.elements
        self.device = potential.device
        self._potential = potential
        self._change = change

    def evaluate(self, batch):
        return self._change(self._potential.evaluate(batch))


@pytest.fixture(autouse=True)
def forget_what_passed(monkeypatch):
    """Other tests of this process may have asked the gate already."""
    monkeypatch.setattr(loading, "_passed", set())


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0", "r2scan"])
def test_chgnet_passes(version, caplog):
    caplog.set_level(logging.INFO)
    load_potential(chgnet.Options(version=version), "cpu")
    assert "NaCl, MgO, GaAs, SrTiO3" in caplog.text


def test_a_potential_that_knows_its_salts_passes(fitted_folder, caplog):
    caplog.set_level(logging.INFO)
    options = matgl.Options(path=fitted_folder)
    assert load_potential(options, "cpu").elements == elements_of(options)
    assert "passed the gate: NaCl, MgO" in caplog.text


def test_the_gate_is_asked_once_in_a_process(fitted_folder, caplog):
    options = matgl.Options(path=fitted_folder, sha256=directory_sha256(fitted_folder))
    load_potential(options, "cpu")
    caplog.set_level(logging.INFO)
    caplog.clear()  # the first time may have been logged, if a test before turned that on
    load_potential(options, "cpu")
    assert "passed the gate" not in caplog.text
    assert loading._passed


def test_a_stress_of_the_wrong_sign_is_refused(potentials):
    flipped = Distorted(potentials["chgnet"], lambda said: replace(said, stresses=-said.stresses))
    with pytest.raises(UserError, match=r"NaCl .*trace is [-+][\d.]+ eV/Å³, but dE/dV is"):
        pass_gate(flipped)


def test_a_stress_in_gpa_is_refused(potentials):
    with pytest.raises(UserError, match="dE/dV"):
        pass_gate(Distorted(potentials["chgnet"], lambda said: replace(said, stresses=said.stresses * 160.2)))


def test_an_energy_that_falls_for_ever_is_refused(potentials):
    reversed_ = Distorted(
        potentials["chgnet"], lambda said: replace(said, energies=-said.energies, stresses=-said.stresses)
    )
    with pytest.raises(UserError, match="no energy minimum"):
        pass_gate(reversed_)


def test_nan_is_refused(potentials):
    with pytest.raises(UserError, match="not finite"):
        pass_gate(
            Distorted(potentials["chgnet"], lambda said: replace(said, energies=said.energies * float("nan")))
        )


@pytest.mark.parametrize("name", ["m3gnet", "tensornet"])
def test_random_weights_are_refused_with_a_remedy(name, folders):
    with pytest.raises(UserError) as refused:
        load_potential(matgl.Options(path=folders[name]), "cpu")
    message = str(refused.value)
    assert "MgO (rock salt)" in message
    assert "older_convention: true" in message
    assert directory_sha256(folders[name]) in message


def test_few_known_elements_fall_back_on_other_crystals(potentials, caplog):
    caplog.set_level(logging.INFO)
    narrow = Distorted(potentials["chgnet"], lambda said: said)
    narrow.elements = frozenset({30, 16, 48, 52})
    pass_gate(narrow)
    assert "passed the gate: ZnS, CdTe" in caplog.text


def test_unknown_compounds_fall_back_on_the_stress_with_a_warning(potentials, caplog):
    odd = Distorted(potentials["chgnet"], lambda said: said)
    odd.elements = frozenset({26, 27})
    pass_gate(odd)
    assert (
        "the gate only checks that its stress is the derivative of its energy, on a synthetic FeCo"
        in caplog.text
    )
    flipped = Distorted(potentials["chgnet"], lambda said: replace(said, stresses=-said.stresses))
    flipped.elements = frozenset({26})
    with pytest.raises(UserError, match="dE/dV"):
        pass_gate(flipped)


@pytest.mark.parametrize("name", OLDER)
def test_older_weights_need_the_older_convention(name, shared_models, caplog):
    folder = shared_models / name
    with pytest.raises(UserError, match="older_convention"):
        load_potential(matgl.Options(path=folder), "cpu")
    load_potential(matgl.Options(path=folder, older_convention=True, sha256=directory_sha256(folder)), "cpu")
