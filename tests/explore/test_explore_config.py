import pytest
from pydantic import ValidationError

from pesatlas.config.explore import Explore


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"timestep_fs": 20}, "allow_long_timestep"),
        ({"timestep_fs": 0}, "greater than 0"),
        ({"timestep_fs": 3, "frame_interval_ps": 0.1}, "use 0.099"),
        ({"length_ps": 1.05}, "use 1"),
        ({"frame_interval_ps": 0.0001}, "use 0.002"),
        ({"length_ps": 1e7}, "make it shorter"),
        ({"device": "gpu"}, "device"),
        ({"temperature_K": 300}, "temperature_K"),
        ({"abort": {"max_volume_ratio": 0.5}}, "max_volume_ratio"),
    ],
)
def test_mistakes_are_named_with_their_remedy(settings, says):
    with pytest.raises(ValidationError, match=says.replace(".", r"\.")):
        Explore(**settings)


def test_steps():
    published = Explore()
    assert (published.frame_steps, published.total_steps) == (50, 50_000)
    assert Explore(timestep_fs=0.1, frame_interval_ps=0.3, length_ps=0.9).total_steps == 9000
    assert Explore(timestep_fs=20, allow_long_timestep=True).frame_steps == 5


def test_how_to_compute_is_no_part_of_what_is_computed():
    here = Explore(device="cuda", max_atoms_in_memory=9, checkpoint_interval_s=1, progress_interval_s=1)
    assert here.identity() == Explore().identity()
    packed = Explore(structures_per_job=1, allow_long_timestep=True)
    assert packed.identity() != Explore().identity()
    assert packed.dynamics_identity() == Explore().dynamics_identity()
    assert Explore(barostat_tau_fs=2000).dynamics_identity() != Explore().dynamics_identity()
