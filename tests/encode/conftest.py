from types import SimpleNamespace

import numpy as np
import pytest

from pesatlas.config.encode import Encode
from pesatlas.tables import write_table


def snapshot(identity, numbers, positions, cell):
    """One row of table ``snapshots`` with what the encode stage does not look at filled in."""
    return {
        "snapshot_id": identity,
        "structure_id": identity.split(":", maxsplit=1)[0],
        "variant": "unit",
        "domain": "bulk",
        "condition": "300K",
        "ensemble": "NpT",
        "temperature_K": 300.0,
        "pressure_GPa": 0.0,
        "step": 0,
        "n_atoms": len(numbers),
        "numbers": list(numbers),
        "cell_A": np.ravel(cell).tolist(),
        "positions_A": np.ravel(positions).tolist(),
        "time_fs": 0.0,
        "mlip_energy_eV": 0.0,
        "mlip_stress_eV_per_A3": [0.0] * 6,
        "mlip_max_force_eV_per_A": 0.0,
        "min_distance_A": 2.0,
        "potential": "none",
        "potential_hash": "none",
        "source": "test",
        "code_version": "test",
    }


@pytest.fixture
def campaign():
    return SimpleNamespace(encode=Encode(atoms_per_evaluation=20))


@pytest.fixture
def write_snapshots(tmp_path):
    def write(frames, name="snapshots.parquet"):
        path = tmp_path / name
        write_table(
            path,
            "snapshots",
            [snapshot(f"x-{i}:unit:300K:{i}", *frame) for i, frame in enumerate(frames)],
            "test",
        )
        return path

    return write
