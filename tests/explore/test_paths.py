"""Paths of least energy between two states: a vacancy's hop in a Lennard-Jones crystal, whose saddle
symmetry tells."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import torch

from exploring import SHORT, Interrupted, explore, structure_row
from known_thermodynamics import LennardJones
from pesatlas.config.explore import Explore
from pesatlas.explore import minimum_energy_paths
from pesatlas.explore.trajectory import read_trajectories
from pesatlas.potentials.potential import Batch
from pesatlas.structures.crystal import STATIC, Condition, Path
from pesatlas.tables import write_table


class Firm(LennardJones):
    """Argon a hundred times as strong, so that its forces are those of a crystal at work."""

    name = "analytic/firm"
    epsilon = 1.0


POTENTIAL = Firm()
NUMBERS, CELL, PERFECT = POTENTIAL.crystal(2, 5.25)
HOPPER = 0
"""Of the atoms that are left; the one beside the vacancy."""
WAY = PERFECT[1] - PERFECT[0]
START = np.delete(PERFECT, 1, axis=0)


def ends(shift):
    end = START.copy()
    end[HOPPER] += shift
    return end


def row(*conditions, name="a"):
    return structure_row(name, (NUMBERS[1:], CELL, START), variant="transition-Ar0", conditions=conditions)


def hop(images=5, shift=WAY, **limits):
    return Condition("path", 0.0, 0.0, path=Path(ends(shift), images), **limits)


def energy(positions):
    n = len(positions)
    batch = Batch(
        torch.full((n,), 18),
        torch.as_tensor(positions),
        torch.as_tensor(CELL)[None],
        torch.tensor([n]),
    )
    found = POTENTIAL.evaluate(batch)
    return float(found.energies), found.forces.numpy()


def relaxed(positions, fixed=()):
    """Energy with all atoms but ``fixed`` relaxed, by another optimiser."""
    free = np.setdiff1d(np.arange(len(positions)), fixed)

    def both(x):
        now = positions.copy()
        now[free] = x.reshape(-1, 3)
        value, forces = energy(now)
        return value, -forces[free].ravel()

    return scipy.optimize.minimize(both, positions[free].ravel(), jac=True, method="L-BFGS-B", tol=1e-10).fun


def test_the_highest_image_is_the_saddle_and_the_others_are_on_the_way(tmp_path):
    snapshots, failures = explore(tmp_path, Firm(), [row(hop())])
    assert failures.num_rows == 0
    found = snapshots.to_pylist()
    assert [each["snapshot_id"] for each in found] == [f"a:transition-Ar0:path:{i:07d}" for i in range(5)]
    energies = np.array([each["mlip_energy_eV"] for each in found])
    positions = np.array([each["positions_A"] for each in found]).reshape(5, -1, 3)
    # halfway the hopper feels nothing, for symmetry: the saddle is where all others have given way to it
    saddle = relaxed(ends(WAY / 2), fixed=[HOPPER])
    assert energies.argmax() == 2
    assert energies[2] == pytest.approx(saddle, abs=0.02)
    assert energies[0] == pytest.approx(relaxed(START), abs=0.02)
    assert energies[2] - energies[0] > 1
    # it is a maximum along the path alone
    along = positions[3] - positions[1]
    along *= 0.3 / np.linalg.norm(along)
    assert max(energy(positions[2] + along)[0], energy(positions[2] - along)[0]) < energies[2]
    aside = np.zeros_like(along)
    aside[HOPPER] = np.cross(WAY, [0, 0, 0.02])
    assert min(energy(positions[2] + aside)[0], energy(positions[2] - aside)[0]) > energies[2] - 1e-3
    # there and back are the same, and what is said of each image is what the potential says
    assert energies == pytest.approx(energies[::-1], abs=0.02)
    for each, x in zip(found, positions, strict=True):
        value, forces = energy(x)
        assert each["mlip_energy_eV"] == pytest.approx(value)
        assert each["mlip_max_force_eV_per_A"] == pytest.approx(np.linalg.norm(forces, axis=1).max())
        assert each["cell_A"] == CELL.ravel().tolist()
    assert {(each["ensemble"], each["temperature_K"], each["time_fs"]) for each in found} == {
        ("none", 0.0, 0.0)
    }
    assert {(each["instant_temperature_K"], each["lindemann"]) for each in found} == {(None, None)}


def test_paths_and_dynamics_stand_side_by_side_and_what_was_found_is_not_sought_again(tmp_path):
    rows = [row(hop(), Condition("60K", 60.0, 0.0), STATIC)]
    first, _ = explore(tmp_path, Firm(), rows)
    assert set(first["condition"].to_pylist()) == {"path", "60K", "static"}
    again = Firm()
    assert explore(tmp_path, again, rows, out="again")[0].equals(first)
    assert again.evaluated == 0


def test_a_killed_search_ends_the_same(tmp_path):
    rows = [row(hop(), name=name) for name in ("a", "b")] + [row(hop(images=3), name="c")]
    quiet, _ = explore(tmp_path / "quiet", Firm(), rows, max_atoms_in_memory=200)

    class Mortal(Firm):
        lives = 60

        def evaluate(self, batch):
            self.lives -= 1
            if self.lives < 0:
                raise Interrupted
            return super().evaluate(batch)

    with pytest.raises(Interrupted):
        explore(tmp_path / "killed", Mortal(), rows, max_atoms_in_memory=200)
    assert explore(tmp_path / "killed", Firm(), rows, max_atoms_in_memory=200)[0].equals(quiet)


def test_what_is_no_path_is_a_failure_that_says_why(tmp_path, monkeypatch):
    nowhere = row(hop(shift=WAY * 0.02), name="nowhere")
    into = row(hop(shift=PERFECT[2] - PERFECT[0] + 0.1), name="into")
    snapshots, failures = explore(tmp_path, Firm(), [nowhere, into])
    assert snapshots.num_rows == 0
    said = {each["structure_id"]: (each["reason"], each["detail"]) for each in failures.to_pylist()}
    assert said["nowhere"][0] == "not_applicable"
    assert "both states relax to the same one" in said["nowhere"][1]
    assert said["into"][0] == "exploded_distance"
    # a search that comes to no end keeps its images
    monkeypatch.setattr(minimum_energy_paths, "_MAX_STEPS", 2)
    snapshots, failures = explore(tmp_path, Firm(), [row(hop(images=4))], out="short")
    assert snapshots.num_rows == 4
    (only,) = failures.to_pylist()
    assert only["reason"] == "not_converged"
    assert "after 2 steps" in only["detail"]
    # images with atoms too close are left out, and no others
    monkeypatch.undo()
    snapshots, failures = explore(tmp_path, Firm(), [row(hop(min_distance_A=3.6))], out="close")
    assert 2 <= snapshots.num_rows < 5
    assert failures["reason"].to_pylist() == ["exploded_distance"]


def test_where_forces_jump_no_path_is_found_and_the_search_ends(tmp_path):
    class Jumping(Firm):
        """Pushes and pulls in turns between the two states, as a potential does at the rim of a cutoff."""

        def evaluate(self, batch):
            found = super().evaluate(batch)
            along = (batch.positions[0] - torch.as_tensor(START[HOPPER])) @ torch.as_tensor(WAY) / (WAY @ WAY)
            if len(batch.n_atoms) == 1 and 0.2 < along < 0.8:
                return dataclasses.replace(found, forces=found.forces * (-1) ** self.evaluated)
            return found

    snapshots, failures = explore(tmp_path, Jumping(), [row(hop(images=3))])
    assert failures["reason"].to_pylist() == ["not_converged"]
    assert snapshots.num_rows == 3


def test_both_states_decide_what_a_path_is_and_the_dynamics_do_not(tmp_path):
    def keys(**settings):
        conditions = [hop(), hop(images=7), hop(shift=-WAY), hop(min_distance_A=1.0)]
        names = [
            Condition(f"c{i}", 0.0, 0.0, path=c.path, min_distance_A=c.min_distance_A)
            for i, c in enumerate(conditions)
        ]
        table = tmp_path / "structures.parquet"
        write_table(table, "structures", [row(*names)], "test")
        found, _ = read_trajectories(table, 0, Explore(**{**SHORT, **settings}), 1, POTENTIAL)
        return [each.key for each in found]

    assert len(set(keys())) == 4
    assert keys(timestep_fs=2.0, length_ps=0.4) == keys()
