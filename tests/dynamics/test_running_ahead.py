"""Steps that a device runs ahead of the host: nothing waits, and everything ends as it would have.

The tests take the way of a GPU on the CPU; what would wait is known by name.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from ase.data import atomic_masses

from pesatlas.dynamics import driver
from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.driver import Driver
from pesatlas.dynamics.group import Group, Running, start_group
from pesatlas.dynamics.limits import Limits
from pesatlas.dynamics.md_state import initial_state
from pesatlas.dynamics.noise import BLOCK, Noise, initial_velocities
from pesatlas.dynamics.npt import NpT
from pesatlas.dynamics.shortest_distances import shortest_distances
from pesatlas.potentials import device
from pesatlas.potentials.kinds import chgnet, matgl
from pesatlas.testing.device_waits import watched
from small_potentials import rattled_salts, save_m3gnet, save_tensornet, to_batch

CPU = torch.device("cpu")
KINDS = ("tensornet", "m3gnet", "chgnet")


@pytest.fixture
def ahead(monkeypatch):
    monkeypatch.setattr(device, "runs_ahead", lambda _: True)


@pytest.fixture(scope="module")
def potentials(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    tensornet, m3gnet = save_tensornet(root / "tensornet"), save_m3gnet(root / "m3gnet")
    return {
        "tensornet": matgl.load(matgl.Options(path=tensornet), "cpu"),
        "m3gnet": matgl.load(matgl.Options(path=m3gnet), "cpu"),
        "chgnet": chgnet.load(chgnet.Options(), "cpu"),
    }


@dataclass(frozen=True, eq=False)
class Salt:
    """A trajectory of one of the rattled salts."""

    index: int
    limits: Limits = field(default_factory=Limits)
    kelvin: float = 100.0
    is_ramped: bool = False
    timestep_fs: float = 2.0
    cell_motion: str = "all"
    compressibility_per_GPa: float = 0.01
    same_compressibility: bool = True

    @property
    def atoms(self):
        return rattled_salts()[self.index % 4]

    @property
    def random_key(self) -> int:
        return 2**70 + self.index

    @property
    def numbers(self):
        return self.atoms.numbers

    @property
    def cell(self):
        return self.atoms.cell[:]

    def temperature_at(self, step: int) -> float:
        return self.kelvin + (10.0 * step if self.is_ramped else 0.0)

    def start(self, device):
        atoms = self.atoms
        velocities = initial_velocities(self.random_key, atomic_masses[atoms.numbers], self.kelvin)
        return initial_state(
            atoms.numbers,
            atoms.cell[:],
            atoms.positions,
            velocities,
            temperature=self.kelvin,
            pressure=0.0,
            device=device,
        )


def driven(potential, trajectories) -> tuple[Driver[Salt], Group[Salt], list[Any]]:
    ended: list[Any] = []

    def end(run: Running[Salt], failure) -> None:
        ended.append((run.trajectory.index, run.step, failure.reason, failure.detail))

    made = Driver[Salt](NpT(2.0, 100.0, 1000.0, 0.01), potential, end)
    return made, made.start(trajectories), ended


WIDE = Limits(temperature_ratio=100.0, jump_A=np.inf, distance_every=0)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mixed", [False, True])
def test_no_step_waits(name, mixed, potentials, ahead):
    salts = [Salt(i, WIDE) for i in range(4)]
    if mixed:
        salts[1] = Salt(1, WIDE, is_ramped=True, cell_motion="in_plane")
        salts[2] = Salt(2, Limits(temperature_ratio=100.0, distance_every=0), timestep_fs=1.0)
    made, group, ended = driven(potentials[name], salts)
    group = made.advance(group, 6)  # the first steps look at sizes
    waits = {}
    for steps in (2, 7):
        with watched() as counts:
            group = made.advance(group, steps)
        waits[steps] = dict(counts.waits)
    assert not ended
    assert waits[2] == waits[7]
    # random numbers and targets go there once, and one number comes back
    assert waits[7] == {"as_tensor": 1 + mixed, "__bool__": 1, "_local_scalar_dense": 1}


def test_without_it_steps_do_wait(potentials):
    made, group, _ = driven(potentials["tensornet"], [Salt(i, WIDE) for i in range(4)])
    with watched() as counts:
        made.advance(group, 5)
    assert sum(counts.waits.values()) > 5 * 5


def positions_by_trajectory(group: Group[Salt]) -> dict[int, np.ndarray]:
    layout = group.state.layout
    return {
        run.trajectory.index: group.state.positions[start : start + count].numpy()
        for run, start, count in zip(group.runs, layout.starts, layout.counts, strict=True)
    }


STRICT = {
    "hot": Limits(temperature_ratio=3.0, jump_A=np.inf, distance_every=0),
    "jumps": Limits(temperature_ratio=100.0, jump_A=0.035, distance_every=0),
    "close": Limits(temperature_ratio=100.0, jump_A=np.inf, distance_A=1.9, distance_every=4),
    "volume": Limits(volume_ratio=1.004, temperature_ratio=100.0, jump_A=np.inf, distance_every=0),
}


@pytest.mark.parametrize("limits", STRICT)
def test_ends_are_those_of_single_steps(limits, potentials, ahead, monkeypatch):
    found = []
    for stride in (1, 10):
        monkeypatch.setattr(driver, "_STRIDE", stride)
        salts = [Salt(i, STRICT[limits], kelvin=80.0 * (i + 1), is_ramped=i == 3) for i in range(8)]
        made, group, ended = driven(potentials["m3gnet"], salts)
        for _ in range(6):
            group = made.advance(group, 12)
        found.append((ended, positions_by_trajectory(group) if group.runs else {}))
    assert found[0][0] == found[1][0] != []
    assert found[0][1].keys() == found[1][1].keys()
    for index, positions in found[0][1].items():
        np.testing.assert_allclose(found[1][1][index], positions, atol=1e-6)


def test_what_outgrows_its_room_is_computed_again(potentials, ahead, monkeypatch):
    """Cells that shrink get more neighbours than there was room for."""
    made, group, ended = driven(potentials["tensornet"], [Salt(i, WIDE) for i in range(4)])
    group = made.advance(group, 3)
    for key, value in group.state.layout.kept.items():
        if isinstance(value, tuple):
            search, room = value
            group.state.layout.kept[key] = search, room // 2
    state, steps = group.state, group.steps
    group = made.advance(group, 5)
    again = Group([Running(run.trajectory, step) for run, step in zip(group.runs, steps, strict=True)], state)
    again.forget_sizes()
    expected = made.advance(again, 5)
    assert not ended
    torch.testing.assert_close(group.state.positions, expected.state.positions, rtol=0, atol=1e-6)


def test_a_failure_of_the_potential_inside_is_that_of_its_step(potentials, ahead, monkeypatch):
    potential = potentials["tensornet"]
    evaluate, calls = type(potential).evaluate, []

    def failing(self, batch):
        calls.append(len(batch.n_atoms))
        if len(batch.n_atoms) > 1 and len(calls) >= 6:
            raise RuntimeError("too many")
        return evaluate(self, batch)

    made, group, ended = driven(potential, [Salt(i, WIDE) for i in range(2)])
    monkeypatch.setattr(type(potential), "evaluate", failing)
    group = made.advance(group, 8)
    assert not ended
    assert group.steps == [8, 8]


@pytest.mark.parametrize("norm", [1e-6, 0.01, 0.3])
def test_exponential_of_a_strain(norm, ahead):
    from pesatlas.dynamics.npt import _exponential

    strains = torch.as_tensor(norm * np.random.default_rng(1).uniform(-0.5, 0.5, (50, 3, 3)))
    torch.testing.assert_close(_exponential(strains), torch.linalg.matrix_exp(strains), rtol=0, atol=4e-15)


def test_distances_at_once_are_those_one_by_one():
    rng = np.random.default_rng(4)
    crystals = [*rattled_salts(), *[each * (1, 2, 3) for each in rattled_salts()]]
    crystals[1].set_cell(crystals[1].cell[:] * 4, scale_atoms=False)  # far apart, and one pair
    crystals[2].positions += rng.integers(-3, 4, (len(crystals[2]), 3)) @ crystals[2].cell[:]
    found = shortest_distances(to_batch(crystals))
    expected = [min_distance(each.cell[:], each.positions) for each in crystals]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    crystals[0].positions[1] = np.nan
    assert torch.isnan(shortest_distances(to_batch(crystals))).tolist() == [True] + [False] * 7


def test_members_keep_what_is_theirs_when_others_come_and_go():
    """As if each group had been made of its trajectories alone."""
    salts = [
        Salt(i, cell_motion=("all", "none")[i == 2], kelvin=50.0 * i + 50, limits=Limits(jump_A=0.1 + i))
        for i in range(6)
    ]
    group = start_group(salts[:4], CPU)
    group.noise.at([7] * 4)  # drawn numbers go along
    first, rest = group.split([3, 0])
    assert [run.trajectory.index for run in first.runs] == [0, 3]
    later = start_group(salts[4:], CPU)
    for made, members in (
        (rest + later, [1, 2, 4, 5]),
        (later + first, [4, 5, 0, 3]),
        ((first + later).without([1]), [0, 4, 5]),
    ):
        anew = start_group([salts[i] for i in members], CPU)
        assert [run.trajectory.index for run in made.runs] == members
        assert torch.equal(made.start_volumes, anew.start_volumes)
        for name in ("volume_ratio", "jump_A", "lowest_K", "temperature_ratio"):
            assert torch.equal(getattr(made.limits, name), getattr(anew.limits, name))
        for name in ("positions", "velocities", "cells", "numbers", "temperature"):
            assert torch.equal(getattr(made.state, name), getattr(anew.state, name))
        assert torch.equal(made.state.owner, anew.state.owner)
        np.testing.assert_array_equal(made.noise.at([7] * len(members)), anew.noise.at([7] * len(members)))
        strains = torch.ones(len(members), 3, 3, dtype=torch.float64)
        moves = [each.cell_limits.project(strains) if each.cell_limits else strains for each in (made, anew)]
        assert torch.equal(*moves)


def test_numbers_ahead_are_those_of_each_step():
    keys, freedom = [5, 2**127 + 3, 9], [21, 0, 3]
    steps = [BLOCK - 4, 3, 5 * BLOCK - 1]
    ahead = Noise(keys, freedom)
    ahead.prepare(steps, 10)
    found = ahead.ahead(steps, 10)
    for k in range(10):
        np.testing.assert_array_equal(found[k], Noise(keys, freedom).at([step + k for step in steps]))
