"""Labels of Debian's pw.x are physics; slopes of the energy: tests/label/test_backends.py."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pesatlas.dataset.derive import entropy
from pesatlas.label.backend import Failed, Result, Task
from pesatlas.label.backends import qe
from pesatlas.label.isolated_atoms import task_of_atom
from pesatlas.levels.qe import levels
from pesatlas.testing.workdir import make_workdir
from qe_files import CELL, NUMBERS, POSITIONS, make_set, needs_pw, options

pytestmark = [pytest.mark.physics, needs_pw]
FCC = 0.5 * (1 - np.eye(3))
CORNERS = np.array([[0.0] * 3, [0.25] * 3])


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return options(make_set(tmp_path_factory.mktemp("upf")))


@pytest.fixture
def calculate(settings, tmp_path):
    """Calculate a crystal or an atom with changed settings of the level, in a folder of its own."""

    def run(task, **changes):
        level = levels(settings, ["pbe"])["pbe"]
        level = level.model_copy(update={"settings": {**level.settings, **changes}})
        place = make_workdir(tmp_path / str(len(list(tmp_path.iterdir()))), 600.0)
        return qe.calculate(replace(task, level=level), settings, place), place

    return run


def crystal(settings, numbers, a):
    positions = a * CORNERS[: len(numbers)]
    return Task(np.array(numbers), a * FCC, positions, levels(settings, ["pbe"])["pbe"])


def test_nickel_is_magnetic_and_its_smearing_is_accounted_for(settings, calculate):
    found, place = calculate(crystal(settings, [28], 3.52))
    assert isinstance(found, Result), found
    # PBE: 0.6 μB a cell; in the sphere of the atom as much
    assert found.magmoms_muB[0] == pytest.approx(0.65, abs=0.15)
    assert found.band_gap_eV == 0.0
    printed = (place.keep / "pw.out").read_text()
    minus_ts = float(re.findall(r"smearing contrib\. \(-TS\)\s+=\s+(\S+) Ry", printed)[-1]) * 13.605693
    assert minus_ts < -1e-4
    assert entropy(found.energy_eV, found.free_energy_eV) == pytest.approx(-minus_ts, abs=2e-6)


def test_energies_extrapolated_to_zero_smearing_hardly_depend_on_it(settings, calculate):
    found = {}
    for width in (0.05, 0.2):
        found[width], _ = calculate(crystal(settings, [28], 3.52), width_eV=width)
    free, extrapolated = (
        abs(getattr(found[0.2], name) - getattr(found[0.05], name))
        for name in ("free_energy_eV", "energy_eV")
    )
    # 0.28 of it with this mesh, and as much as it for the energy without entropy, the other end
    assert extrapolated < 0.4 * free


def test_a_left_handed_cell_is_the_same_crystal(settings, calculate):
    level = levels(settings, ["pbe"])["pbe"]
    task = Task(NUMBERS, CELL, POSITIONS, level)
    right, _ = calculate(task)
    left, _ = calculate(replace(task, cell=CELL[[1, 0, 2]]))
    assert left.energy_eV == pytest.approx(right.energy_eV, abs=1e-5)
    np.testing.assert_allclose(left.forces_eV_per_A, right.forces_eV_per_A, atol=1e-3)
    np.testing.assert_allclose(left.stress_eV_per_A3, right.stress_eV_per_A3, atol=1e-4)


# PBE lattice constants: Haas, Tran, Blaha, Phys. Rev. B 79, 085104 (2009), table II.
@pytest.mark.parametrize(("numbers", "a"), [([14, 14], 5.475), ([14, 6], 4.385)], ids=["Si", "SiC"])
def test_lattice_constants_are_those_of_pbe(settings, calculate, numbers, a):
    lengths = a * np.array([0.97, 0.985, 1.0, 1.015, 1.03])
    energies = [calculate(crystal(settings, numbers, length))[0].energy_eV for length in lengths]
    cubic = np.polynomial.Polynomial.fit(lengths, energies, 3)
    minimum = next(r.real for r in cubic.deriv().roots() if cubic.deriv(2)(r.real) > 0)
    assert minimum == pytest.approx(a, rel=0.01)


def test_cohesive_energy_of_silicon(settings, calculate):
    # PBE: -4.6 eV/atom (Si crystal less spin-polarised atom); coarse k-points and box leave about 0.2
    solid, _ = calculate(crystal(settings, [14, 14], 5.475), kpoint_spacing_per_A=0.5)
    atom, _ = calculate(task_of_atom(14, levels(settings, ["pbe"])["pbe"]))
    assert atom.magmoms_muB[0] > 1.0
    assert atom.band_gap_eV is None
    assert solid.energy_eV / 2 - atom.energy_eV == pytest.approx(-4.6, abs=0.25)


def test_what_pw_says_of_no_convergence_is_understood(settings, calculate):
    found, _ = calculate(crystal(settings, [28], 3.52), max_steps=3)
    assert isinstance(found, Failed)
    assert found.reason == "not_converged"
    assert "no convergence in 3 SCF steps" in found.detail
    assert "mixing_beta = 0.1, mixing_mode = local-TF" in found.detail


def test_what_pw_says_of_a_missing_pseudopotential_is_understood(settings, calculate, monkeypatch):
    from pesatlas.label.qe import pw_run

    write = pw_run.write

    def elsewhere(inputs, folder, electrons):
        write(inputs, folder, electrons)
        text = (folder / "pw.in").read_text()
        (folder / "pw.in").write_text(text.replace("Ni.pbe", "Nothing.pbe"))

    monkeypatch.setattr(pw_run, "write", elsewhere)
    found, _ = calculate(crystal(settings, [28], 3.52))
    assert (found.reason, "not found" in found.detail) == ("missing_pseudopotential", True)
