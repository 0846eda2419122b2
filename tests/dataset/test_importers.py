"""Every importer keeps what is promised of all."""

import gzip
import json

from pesatlas import testing
from pesatlas.atoms.units import KBAR_TO_EV_PER_A3
from pesatlas.config.plugins import available


class TestExtxyz(testing.ImporterTests):
    kind = "extxyz"
    file = "theirs.extxyz"

    @staticmethod
    def write(path, frames):
        from ase.io import write

        write(path, frames)


class TestAseDatabase(testing.ImporterTests):
    kind = "ase_database"
    file = "theirs.db"

    @staticmethod
    def write(path, frames):
        from ase.db import connect

        with connect(path) as database:
            for atoms in frames:
                database.write(atoms, snapshot_id=f"frame {atoms.info['snapshot_id']}")


class TestMatpes(testing.ImporterTests):
    kind = "matpes"
    file = "theirs.json.gz"

    @staticmethod
    def write(path, frames):
        from pymatgen.io.ase import AseAtomsAdaptor

        documents = [
            {
                "matpes_id": atoms.info["snapshot_id"],
                "structure": AseAtomsAdaptor.get_structure(atoms).as_dict(),
                "energy": atoms.get_potential_energy(),
                "forces": atoms.get_forces().tolist(),
                # kbar, as VASP has it: pressure is positive
                "stress": (-atoms.get_stress() / KBAR_TO_EV_PER_A3).tolist(),
            }
            for atoms in frames
        ]
        path.write_bytes(gzip.compress(json.dumps(documents).encode()))


def test_every_importer_is_tested():
    here = {each.kind for each in (TestExtxyz, TestAseDatabase, TestMatpes)}
    assert here == set(available("pesatlas.dataset.importers"))
