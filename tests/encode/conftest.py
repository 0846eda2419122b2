import numpy as np
import pytest

from pesatlas.config.encode import Encode
from pesatlas.tables import write_table
from pesatlas.testing.selecting import snapshot as row_of_snapshot


def snapshot(identity, numbers, positions, cell):
    """One row of table ``snapshots`` with what the encode stage does not look at filled in."""
    return row_of_snapshot(
        identity, positions, numbers=list(numbers), cell_A=np.ravel(cell).tolist(), mlip_energy_eV=0.0
    )


@pytest.fixture
def settings():
    return Encode(atoms_per_evaluation=20)


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
