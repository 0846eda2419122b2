"""Time steps by the lightest element: which they are, that a batch mixes them, and that hydrogen stays where
it belongs."""

import numpy as np
import pytest
import torch

from exploring import SHORT, Interrupted, Mortal, explore, structure_row
from known_thermodynamics import LennardJones
from pesatlas.config.explore import Explore
from pesatlas.dynamics.md_state import initial_state
from pesatlas.dynamics.npt import NpT, Timesteps
from pesatlas.explore.trajectory import read_trajectories
from pesatlas.tables import write_table

LIGHT, MEDIUM, HEAVY = 1, 7, 18
ARGON = LennardJones().crystal(1, 5.3)
TIMES = {"timestep_fs": "auto", "length_ps": 0.08, "frame_interval_ps": 0.02}


def like_argon(z, length=5.3):
    numbers, cell, positions = LennardJones().crystal(1, length)
    return np.full_like(numbers, z), cell, positions


def mixed_rows():
    at = ((60.0, 0.0), (30.0, 0.1))
    return [
        structure_row("h", like_argon(LIGHT), conditions=at),
        structure_row("n", like_argon(MEDIUM, 5.35), conditions=at),
        structure_row("ar", like_argon(HEAVY, 5.4), conditions=at),
        structure_row("both", (np.array([18, 18, 18, 1]), *ARGON[1:]), conditions=at),
    ]


@pytest.mark.parametrize(
    ("numbers", "step"),
    [([8, 1], 0.5), ([1], 0.5), ([3, 8], 1), ([6, 22], 1), ([7], 1), ([8, 12], 2), ([55, 17], 2)],
)
def test_the_lightest_element_decides(numbers, step):
    settings = Explore(**TIMES)
    assert settings.of(numbers).timestep_fs == step
    # frames are as many
    assert settings.of(numbers).frame_steps * step == 20
    assert settings.of(numbers).total_steps * step == 80
    assert settings.of(numbers).steps_of([0.04]) * step == 120
    assert Explore(timestep_fs=1.5, frame_interval_ps=0.03, length_ps=0.3).of(numbers).timestep_fs == 1.5


def test_times_have_to_be_multiples_of_the_longest_step():
    with pytest.raises(
        ValueError, match=r"frame_interval_ps: 0\.005 ps is not a multiple of the time step of 2 fs"
    ):
        Explore(timestep_fs="auto", frame_interval_ps=0.005, length_ps=0.1)
    with pytest.raises(ValueError, match="valid number"):
        Explore(timestep_fs="automatic")


def test_auto_and_the_same_number_have_the_same_trajectories(tmp_path):
    """What was made with a number is found in the store, and the other way round."""
    path = tmp_path / "structures.parquet"
    write_table(path, "structures", mixed_rows(), "test")

    def keys(step):
        settings = Explore(**{**SHORT, **TIMES, "timestep_fs": step})
        return {each.name: each.key for each in read_trajectories(path, 0, settings, 1, LennardJones())[0]}

    auto = keys("auto")
    for step, names in ((0.5, ("h", "both")), (1.0, ("n",)), (2.0, ("ar",))):
        given = keys(step)
        moving = [name for name in auto if "equilibrium" not in name]
        assert {name for name in moving if given[name] == auto[name]} == {
            name for name in moving if name.split(":")[0] in names
        }


def test_a_batch_mixes_time_steps_and_each_trajectory_is_as_if_alone(tmp_path):
    together, failures = explore(
        tmp_path / "together", LennardJones(), mixed_rows(), max_atoms_in_memory=64, **TIMES
    )
    assert failures.num_rows == 0
    found = {}
    for row in together.to_pylist():
        found.setdefault(row["structure_id"], []).append(row)
    for step, name in ((0.5, "h"), (1.0, "n"), (2.0, "ar"), (0.5, "both")):
        rows = [row for row in mixed_rows() if row["structure_id"] == name]
        alone, _ = explore(tmp_path / name, LennardJones(), rows, **{**TIMES, "timestep_fs": step})
        assert alone.to_pylist() == found[name]
        frames = [row for row in found[name] if row["condition"] == "60K-0GPa"]
        assert [row["time_fs"] for row in frames] == [0, 20, 40, 60, 80][-len(frames) :]
        assert all(row["step"] * step == row["time_fs"] for row in frames)
        assert all(row["snapshot_id"].endswith(f":{row['step']:07d}") for row in frames)


def test_a_mixed_batch_goes_on_bit_for_bit(tmp_path):
    whole, _ = explore(tmp_path / "whole", rows=mixed_rows(), **TIMES)
    for lives in (5, 40, 90):
        folder = tmp_path / str(lives)
        with pytest.raises(Interrupted):
            explore(folder, Mortal(lives), mixed_rows(), checkpoint_interval_s=0, **TIMES)
        again, failures = explore(folder, rows=mixed_rows(), checkpoint_interval_s=0, **TIMES)
        assert again.equals(whole)
        assert failures.num_rows == 0


def ice(length=6.36):
    """Water molecules on the sites of diamond, each giving two hydrogens to its neighbours."""
    cell = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * length
    bonds = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    oxygen = np.array([[0, 0, 0], [0.25, 0.25, 0.25]]) * length
    hydrogen = [oxygen[0] + bonds[0], oxygen[0] + bonds[1], oxygen[1] - bonds[2], oxygen[1] - bonds[3]]
    return [8, 8, 1, 1, 1, 1], cell, np.vstack([oxygen, hydrogen])


def test_a_crystal_of_water_survives_with_auto_and_not_with_2_fs(tmp_path):
    from pesatlas.potentials.loading import load_potential

    potential = load_potential(Explore().potential, "cpu")
    rows = [structure_row("ice", ice(), conditions=((1000.0, 0.0), (1500.0, 0.0), (2000.0, 0.0)))]
    settings = {
        "length_ps": 0.2,
        "frame_interval_ps": 0.02,
        "compressibility_per_GPa": 0.01,
        "max_atoms_in_memory": None,
    }
    frames, failures = explore(tmp_path / "auto", potential, rows, timestep_fs="auto", **settings)
    assert failures.num_rows == 0
    assert frames.num_rows == 3 * 10 + 1
    _, failures = explore(tmp_path / "two", potential, rows, timestep_fs=2.0, **settings)
    assert failures.num_rows > 0
    for row in failures.to_pylist():
        assert row["reason"].startswith("exploded_")
        assert "there is hydrogen, and explore.timestep_fs is 2 fs" in row["detail"]
        assert "auto" in row["detail"]


class Stretching(LennardJones):
    """Pairs of atoms on springs that vibrate as O-H does, 3,700 /cm, far from other pairs."""

    name = "analytic/stretching"
    # (2 pi c 3700 /cm)^2 times the reduced mass of O and H, eV/Å^2
    stiffness = 47.7

    def energies_of(self, positions, cells, owner, batch):
        length = (positions[1::2] - positions[::2]).norm(dim=1)
        energies = 0.5 * self.stiffness * (length - 0.97) ** 2
        return energies.new_zeros(len(cells)).index_add(0, owner[::2], energies)


def test_energy_is_kept_by_the_step_for_hydrogen():
    """Without thermostat and barostat."""
    potential, swings = Stretching(), {}
    start = initial_state(
        np.array([8, 1]),
        np.eye(3) * 8,
        np.array([[0, 0, 0], [1.07, 0, 0]]),
        np.zeros((2, 3)),
        temperature=300.0,
        pressure=0.0,
        device=potential.device,
    )
    start = start.evaluated(potential.evaluate(start.batch))
    for step in (0.5, 2.0):
        npt, state, total = NpT(2.0, np.inf, np.inf, 0.01), start, []
        own = Timesteps.of([step], np.inf, potential.device)
        for _ in range(200):
            moved = npt.move(state, torch.zeros(1, 8, dtype=torch.float64), timesteps=own)
            state = npt.complete(moved, potential.evaluate(moved.batch), timesteps=own)
            total.append(float(state.energies + state.kinetic_energy()))
        swings[step] = np.ptp(total) / float(start.energies)
    # (omega dt)^2 / 4: 3 % and half of it
    assert swings[0.5] == pytest.approx((0.697 * 0.5) ** 2 / 4, rel=0.2)
    assert swings[2.0] > 0.4
