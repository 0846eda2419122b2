"""Relaxation of many structures at once: it ends where the crystal is known to be at rest, as ASE's does."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from ase_calculator import Ase
from known_thermodynamics import ElasticCrystal, LennardJones
from pesatlas.dynamics.relax import Relaxed, Settings, Start, relax, to_batch
from pesatlas.tables import FailureReason


def displaced(potential, length, seed=0):
    numbers, cell, positions = potential.crystal(1, length)
    draw = np.random.default_rng(seed)
    strain = np.eye(3) + 0.02 * draw.normal(size=(3, 3))
    return Start(numbers, cell @ strain, positions @ strain + 0.05 * draw.normal(size=positions.shape))


def test_displaced_crystals_find_their_lattice_constant_at_zero_pressure():
    potential = ElasticCrystal()
    numbers, cell, positions = potential.crystal(4)
    strain = np.eye(3) + 0.03 * np.random.default_rng(1).normal(size=(3, 3))
    start = Start(numbers, cell @ strain, positions @ strain + 0.1)
    (found,) = relax(potential, [start], Settings(1e-4, 2000))
    assert np.linalg.det(found.cell) == pytest.approx(4 * potential.volume_per_atom, rel=1e-4)
    np.testing.assert_allclose(found.cell @ found.cell.T, cell @ cell.T, atol=1e-2)
    again = potential.evaluate(to_batch([Start(numbers, found.cell, found.positions)], torch.device("cpu")))
    assert again.forces.norm(dim=1).max() <= 1e-4
    virial = again.stresses[0] * np.linalg.det(found.cell) / 4
    assert virial.norm(dim=1).max() <= 1e-4
    assert found.energy_eV == pytest.approx(0, abs=1e-6)


def test_it_ends_where_ase_ends():
    potential = LennardJones()
    start = displaced(potential, 5.6)
    (found,) = relax(potential, [start], Settings(1e-3, 2000))
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True, calculator=Ase(potential))
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=2000)
    assert found.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    assert np.linalg.det(found.cell) == pytest.approx(atoms.get_volume(), rel=1e-3)


def test_structures_relax_chunk_as_they_do_alone():
    potential = LennardJones()
    starts = [displaced(potential, length, seed) for seed, length in enumerate((5.1, 5.3, 5.5))]
    together = relax(potential, starts, Settings(0.01, 500))
    for start, found in zip(starts, together, strict=True):
        (alone,) = relax(potential, [start], Settings(0.01, 500))
        assert found.steps == alone.steps
        np.testing.assert_allclose(found.positions, alone.positions, atol=1e-9)
        np.testing.assert_allclose(found.cell, alone.cell, atol=1e-9)


def test_a_fixed_cell_stays_and_its_atoms_move():
    potential = LennardJones()
    start = displaced(potential, 5.5)
    (found,) = relax(potential, [start], Settings(1e-3, 500, relax_cell=False))
    np.testing.assert_array_equal(found.cell, start.cell)
    assert np.abs(found.positions - start.positions).max() > 0.01


class Breaking(LennardJones):
    """No energy for cells of more than four atoms."""

    def energies_of(self, positions, cells, owner, batch):
        energies = super().energies_of(positions, cells, owner, batch)
        return torch.where(batch.n_atoms > 4, torch.nan, 1.0) * energies


def test_failures_have_their_reasons_and_do_not_disturb_the_others():
    potential = Breaking()
    good = displaced(potential, 5.3)
    large = Start(*potential.crystal(2, 5.3))
    far = displaced(potential, 5.9)
    found = relax(potential, [large, good, far], Settings(1e-3, 30))
    assert found[0].reason is FailureReason.NOT_FINITE
    assert found[2].reason is FailureReason.NOT_CONVERGED
    assert "30 steps" in found[2].detail
    assert isinstance(found[1], Relaxed) or found[1].reason is FailureReason.NOT_CONVERGED
    (loose,) = relax(potential, [good], Settings(0.05, 500))
    assert isinstance(loose, Relaxed)
