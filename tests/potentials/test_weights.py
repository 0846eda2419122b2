"""Weights are what their checksum says, load without running code, and keep their convention to
themselves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from pesatlas.errors import UserError
from pesatlas.potentials.kinds import matgl
from pesatlas.potentials.weights import directory_sha256, load_matgl
from small_potentials import rattled_salts, save_tensornet, to_batch

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(folders, tmp_path):
    return shutil.copytree(folders["m3gnet"], tmp_path / "weights")


def test_the_checksum_is_what_the_shell_says(folder):
    said = subprocess.run(
        "sha256sum model.json model.pt state.pt | sha256sum",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert directory_sha256(folder) == said.stdout.split()[0]


def test_other_weights_than_those_meant_are_refused(folder):
    meant = directory_sha256(folder)
    load_matgl(folder, sha256=meant)
    state = torch.load(folder / "state.pt")
    state["model.final_layer.gated.layers.0.weight"][0, 0] += 1e-3
    torch.save(state, folder / "state.pt")
    with pytest.raises(UserError, match=f"not {meant}"):
        load_matgl(folder, sha256=meant)


def test_a_missing_file_is_named(folder):
    (folder / "state.pt").unlink()
    with pytest.raises(UserError, match=r"no state\.pt"):
        load_matgl(folder)
    with pytest.raises(UserError, match=r"no state\.pt"):
        matgl.check(matgl.Options(path=folder))


def test_weights_that_carry_code_are_refused(folder, tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    state = torch.load(folder / "state.pt")
    torch.save({**state, "extra": Code()}, folder / "state.pt")
    with pytest.raises(UserError, match="cannot load these weights"):
        load_matgl(folder)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_architecture_are_refused(folder, folders):
    shutil.copy(folders["tensornet"] / "state.pt", folder / "state.pt")
    with pytest.raises(UserError, match="cannot load these weights"):
        load_matgl(folder)


def test_an_unknown_class_is_refused(folder):
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**description, "@class": "Popen"}))
    with pytest.raises(UserError, match="describes a 'Popen'"):
        load_matgl(folder)


@pytest.mark.parametrize("name", ["m3gnet", "tensornet"])
def test_the_older_convention_changes_one_model_and_no_other(name, folders):
    folder = folders[name]
    batch = to_batch(rattled_salts())
    new = matgl.Options(path=folder)
    older = matgl.Options(path=folder, older_convention=True, sha256=directory_sha256(folder))
    before = matgl.load(new, "cpu").evaluate(batch)
    changed = matgl.load(older, "cpu").evaluate(batch)
    after = matgl.load(new, "cpu").evaluate(batch)
    assert (changed.energies - before.energies).abs().max() > 1e-2
    assert torch.equal(after.energies, before.energies)


def test_split_and_original_m3gnet_agree_under_the_older_convention(folders):
    from matgl.ext.ase import PESCalculator

    folder = folders["m3gnet"]
    crystal = rattled_salts()[0]
    options = matgl.Options(path=folder, older_convention=True, sha256=directory_sha256(folder))
    found = matgl.load(options, "cpu").evaluate(to_batch([crystal]))
    crystal.calc = PESCalculator(load_matgl(folder, older_convention=True), stress_unit="eV/A3")
    assert crystal.get_potential_energy() == pytest.approx(found.energies.item(), abs=1e-4)
    assert abs(crystal.get_forces() - found.forces.numpy()).max() < 2e-4


def test_the_older_convention_needs_a_checksum(folder):
    with pytest.raises(ValidationError, match="sha256"):
        matgl.Options(path=folder, older_convention=True)


def test_path_or_name_and_not_both(folder):
    with pytest.raises(ValidationError, match="either `path`"):
        matgl.Options()
    with pytest.raises(ValidationError, match="either `path`"):
        matgl.Options(path=folder, name="M3GNet-PES-MatPES-PBE-2025.2")


EVALUATED = """
import sys
from pathlib import Path

if sys.argv[2] == "without":
    sys.modules["nvalchemiops"] = sys.modules["warp"] = None  # as if it was not installed
import torch
from pesatlas.potentials.kinds import matgl
from pesatlas.potentials.weights import directory_sha256
from small_potentials import rattled_salts, to_batch

folder = Path(sys.argv[1])
options = matgl.Options(path=folder, older_convention=True, sha256=directory_sha256(folder))
found = matgl.load(options, "cpu").evaluate(to_batch(rattled_salts()))
from matgl.models import _tensornet

assert _tensornet._warp_available == (sys.argv[2] == "with")
torch.save([found.energies, found.forces, found.stresses], sys.argv[3])
"""


@pytest.mark.parametrize("name", ["m3gnet", "tensornet"])
def test_the_older_convention_lives_beside_nvalchemi(name, folders, tmp_path):
    """Installed, nvalchemi-toolkit-ops takes the place of matgl's layers."""
    pytest.importorskip("nvalchemiops", reason="needs nvalchemi-toolkit-ops, whose layers matgl prefers")
    found = []
    for how in ("with", "without"):
        arguments = [sys.executable, "-c", EVALUATED, str(folders[name]), how, str(tmp_path / how)]
        subprocess.run(arguments, check=True, cwd=TESTS)
        found.append(torch.load(tmp_path / how))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_elements_are_read_without_loading(folder):
    (folder / "state.pt").write_bytes(b"")
    assert matgl.elements(matgl.Options(path=folder)) == {8, 11, 12, 17}


def test_weights_of_a_name_that_was_not_fetched(tmp_path):
    options = matgl.Options(name="M3GNet-PES-MatPES-PBE-2025.2", cache=tmp_path)
    matgl.check(options)  # a rule will fetch them
    with pytest.raises(UserError, match="have not been fetched"):
        matgl.load(options, "cpu")


def test_where_the_cache_is_decides_nothing(tmp_path):
    one, other = (matgl.Options(name="M3GNet", cache=tmp_path / k) for k in "ab")
    assert one.identity() == other.identity()


def test_the_formation_energy_model_of_direct(shared_models):
    # NaCl -2.09, MgO -3.07 eV/atom: README of the weights
    from pymatgen.core import Lattice, Structure

    model = load_matgl(shared_models / "M3GNet-MP-2018.6.1-Eform", older_convention=True)
    for a, species, formation_energy in [(5.64, ["Na", "Cl"], -2.09), (4.21, ["Mg", "O"], -3.07)]:
        crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), species, [[0, 0, 0], [0.5, 0.5, 0.5]])
        assert float(model.predict_structure(crystal)) == pytest.approx(formation_energy, abs=0.01)


def test_a_property_model_is_no_potential(shared_models):
    with pytest.raises(UserError, match="not a potential"):
        matgl.load(matgl.Options(path=shared_models / "M3GNet-MP-2018.6.1-Eform"), "cpu")


def test_repulsion_is_refused_rather_than_left_out(tmp_path):
    from matgl.apps.pes import Potential

    model = load_matgl(save_tensornet(tmp_path / "plain")).model
    Potential(model, calc_repuls=True).save(tmp_path / "repulsive")
    with pytest.raises(UserError, match="calc_repuls"):
        matgl.load(matgl.Options(path=tmp_path / "repulsive"), "cpu")
