"""The way that exploration takes on a GPU, on the CPU: the same rows, and restart = no restart."""

import numpy as np
import pytest

from exploring import Gregarious, Interrupted, Mortal, explore, structure_row
from known_thermodynamics import LennardJones
from pesatlas.potentials import device
from pesatlas.potentials.kinds import matgl
from pesatlas.testing.device_waits import watched
from small_potentials import rattled_salts, save_tensornet

LONG = {"frame_interval_ps": 0.16, "length_ps": 0.64}


@pytest.fixture
def ahead(monkeypatch):
    monkeypatch.setattr(device, "runs_ahead", lambda _: True)


def test_rows_are_those_of_a_cpu(tmp_path, monkeypatch):
    """Frames between which no step is looked at, and a limit that is broken between two of them."""
    tables = []
    for ahead in (False, True):
        monkeypatch.setattr(device, "runs_ahead", lambda _, ahead=ahead: ahead)
        abort = {"max_volume_ratio": 1.02}
        folder = tmp_path / str(ahead)
        folder.mkdir()
        tables.append(explore(folder, LennardJones(), **LONG, abort=abort))
    (rows, failures), (rows_ahead, failures_ahead) = tables
    assert rows["snapshot_id"].equals(rows_ahead["snapshot_id"])
    assert failures.num_rows > 0
    for name in ("structure_id", "condition", "reason", "detail"):
        if name in failures.column_names:
            assert failures[name].equals(failures_ahead[name])
    for name in ("positions_A", "min_distance_A", "instant_temperature_K", "mlip_energy_eV"):
        for one, other in zip(rows[name].to_pylist(), rows_ahead[name].to_pylist(), strict=True):
            if one is not None:
                np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)


@pytest.fixture
def uninterrupted(tmp_path, ahead):
    (tmp_path / "through").mkdir()
    return explore(tmp_path / "through", Gregarious(), **LONG)[0]


@pytest.mark.parametrize("lives", [1, 30, 47, 90, 161, 200])
def test_interrupted_once(tmp_path, uninterrupted, lives):
    with pytest.raises(Interrupted):
        explore(tmp_path, Mortal(lives), checkpoint_interval_s=0, **LONG)
    assert explore(tmp_path, Gregarious(), **LONG)[0].equals(uninterrupted)


def salt_rows():
    return [
        structure_row(
            f"s{i}",
            (each.numbers, each.cell[:], each.positions),
            conditions=((100.0 * (i + 1), 0.0),),
        )
        for i, each in enumerate(rattled_salts())
    ]


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    weights = save_tensornet(tmp_path_factory.mktemp("weights") / "tensornet", steps=60)
    return matgl.load(matgl.Options(path=weights), "cpu")


def test_interrupted_with_neighbours_on_the_device(tmp_path, potential, ahead, monkeypatch):
    """Sizes that are kept from step to step begin anew where a checkpoint may be."""
    settings = {"timestep_fs": 1.0, "frame_interval_ps": 0.025, "length_ps": 0.1, "max_atoms_in_memory": 64}
    (tmp_path / "through").mkdir()
    through, _ = explore(tmp_path / "through", potential, salt_rows(), **settings)
    evaluate, left = type(potential).evaluate, 60

    def mortal(self, batch):
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted
        return evaluate(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(type(potential), "evaluate", mortal)
        with pytest.raises(Interrupted):
            explore(tmp_path, potential, salt_rows(), checkpoint_interval_s=0, **settings)
    assert explore(tmp_path, potential, salt_rows(), **settings)[0].equals(through)


def test_waits_between_frames_are_few(tmp_path, potential, ahead):
    """Ten steps are one look; what frames take comes on top, whatever lies between them."""
    counted = {}
    for steps in (20, 60):
        settings = {"timestep_fs": 1.0, "frame_interval_ps": steps / 1000, "length_ps": steps / 1000}
        folder = tmp_path / str(steps)
        folder.mkdir()
        with watched() as counts:
            explore(folder, potential, salt_rows(), **settings, max_atoms_in_memory=64)
        counted[steps] = sum(counts.waits.values())
    assert counted[60] - counted[20] <= 4 * 6
