"""9,420 frames of real datasets: all of them are read, with the numbers that ASE reads."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from ase.io import iread

from pesatlas.frames import xyz
from pesatlas.frames.labels import read_labels

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "dft"
FRAMES = {
    "snap-NbMoTaW": 5658,
    "mattersim-mpf-TP": 1069,
    "mattersim-mptrj-highest-stress-1k": 1000,
    "mattersim-mptrj-random-1k": 1000,
    "mattersim-random-TP": 693,
}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data/dft is not beside the checkout")


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_is_read_as_ase_reads_it(name):
    path = FOLDER / f"{name}.extxyz.gz"
    # not the path: ASE seeks in it, and unpacks it again for each frame
    text = gzip.decompress(path.read_bytes()).decode()
    theirs = iread(io.StringIO(text), index=":", format="extxyz")
    count = 0
    for item, atoms in zip(xyz.items(path), theirs, strict=True):
        frame = item.frame()
        labels = read_labels(frame)
        assert np.array_equal(frame.numbers, atoms.numbers)
        assert np.array_equal(frame.positions, atoms.positions)
        assert np.array_equal(frame.cell, atoms.cell.array)
        assert labels.energy == atoms.get_potential_energy()
        assert np.array_equal(labels.forces, atoms.get_forces())
        assert np.array_equal(labels.stress, atoms.get_stress())
        assert (labels.notes, frame.warnings) == ((), ())
        count += 1
    assert count == FRAMES[name]
