"""Exports read back by the libraries that people use for them.

Each reader takes the folder of an export, the level, and the ids of the rows in their order (matgl keeps no
names), and returns by ``snapshot_id`` atoms, energy (eV), forces (eV/Å), stress (eV/Å³, tension positive,
Voigt) and split, which may be None.
"""

import numpy as np
import pytest

from pesatlas.dataset.convert import to_ase
from pesatlas.testing import ExporterTests

GPA = 160.21766208
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
FUNCTIONALS = {"pbe": "PBE", "r2scan": "r2SCAN"}
SPLITS = ("train", "valid", "test")


def only(folder, level, ending):
    """The file of a level with this ending."""
    (path,) = folder.glob(f"*-{FUNCTIONALS[level]}{ending}")
    return path


def from_calculator(atoms):
    return atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()


def read_extxyz(folder, level, _):
    from ase.io import read

    frames = read(only(folder, level, ".extxyz"), ":")
    return {a.info["snapshot_id"]: (*from_calculator(a), a.info["split"]) for a in frames}


def read_mace(folder, level, _):
    """Read with the conventions of MACE's own data loader."""
    from ase.io import read

    found = {}
    for split in SPLITS:
        for path in folder.glob(f"*-{FUNCTIONALS[level]}-{split}.extxyz"):
            for atoms in read(path, ":"):
                if atoms.info["config_type"] == "IsolatedAtom":
                    assert split == "train"
                    continue
                stress = np.array(atoms.info["REF_stress"])
                assert stress.shape == (3, 3)
                assert atoms.calc is None
                six = [stress[i, j] for i, j in VOIGT]
                label = (atoms.info["REF_energy"], atoms.arrays["REF_forces"], six)
                found[atoms.info["snapshot_id"]] = (atoms, *label, split)
    return found


def read_aselmdb(folder, level, _):
    pytest.importorskip("ase_db_backends")
    from ase.db import connect

    found = {}
    for split in SPLITS:
        sizes = []
        for path in sorted(folder.glob(f"*-{FUNCTIONALS[level]}/{split}/*.aselmdb")):
            with connect(path, readonly=True, use_lock_file=False) as database:
                for row in database.select():
                    atoms = row.toatoms()
                    found[row.data["sid"]] = (*from_calculator(atoms), row.split)
                    assert row.split == split
                    sizes.append(len(atoms))
        if sizes:
            assert np.load(path.parent / "metadata.npz")["natoms"].tolist() == sizes
    return found


def read_matpes(folder, level, _):
    from monty.serialization import loadfn
    from pymatgen.io.ase import AseAtomsAdaptor

    documents = loadfn(only(folder, level, ".json.gz"))
    splits = loadfn(only(folder, level, "-split.json.gz"))
    of = {i: split for split, many in splits.items() for i in many}
    found = {}
    for i, d in enumerate(documents):
        assert d["functional"] == FUNCTIONALS[level]
        assert d["abs_forces"] == pytest.approx(np.linalg.norm(d["forces"], axis=1))
        atoms = AseAtomsAdaptor.get_atoms(d["structure"])
        stress = -np.array(d["stress"]) / 10 / GPA
        found[d["matpes_id"]] = (atoms, d["energy"], d["forces"], stress, of[i])
    return found


def read_matgl(folder, level, names):
    from matgl.utils.training import MGLDatasetLoader

    dataset = MGLDatasetLoader.from_json(only(folder, level, ".json.gz"), save_cache=False)
    found = {}
    for i, name in enumerate(names):
        labels = {key: np.asarray(value[i]) for key, value in dataset.labels.items()}
        # matgl's unit is GPa, tension positive
        stress = np.asarray(labels["stresses"]).reshape(-1) / GPA
        assert stress.size in {6, 9}
        six = stress if stress.size == 6 else [stress.reshape(3, 3)[a, b] for a, b in VOIGT]
        atoms = dataset.structures[i].to_ase_atoms()
        found[name] = (atoms, float(labels["energies"]), labels["forces"], six, None)
    return found


def read_huggingface(folder, level, _):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(folder), level, cache_dir=str(folder.parent / "cache"))
    assert set(datasets.get_dataset_config_names(str(folder))) == {"pbe", "r2scan"}
    names = {"train": "train", "validation": "valid", "test": "test"}
    return {
        row["snapshot_id"]: (*from_calculator(to_ase(row)), names[split])
        for split, part in loaded.items()
        for row in part
    }


def read_pymatgen(folder, level, _):
    from monty.serialization import loadfn
    from pymatgen.entries.computed_entries import ComputedStructureEntry
    from pymatgen.io.ase import AseAtomsAdaptor

    found = {}
    for entry in loadfn(only(folder, level, "-entries.json.gz")):
        assert isinstance(entry, ComputedStructureEntry)
        data = entry.data
        atoms = AseAtomsAdaptor.get_atoms(entry.structure)
        label = (entry.energy, data["forces_eV_per_A"], data["stress_eV_per_A3"])
        found[entry.entry_id] = (atoms, *label, data["split"])
    return found


READERS = {
    "extxyz": read_extxyz,
    "mace": read_mace,
    "aselmdb": read_aselmdb,
    "matpes": read_matpes,
    "matgl": read_matgl,
    "huggingface": read_huggingface,
    "pymatgen": read_pymatgen,
}


# matgl keeps float32
TOLERANCES = {
    "matgl": {"energy_eV": 1e-5, "force_eV_per_A": 1e-6, "slope_eV_per_A3": 2e-3},
    "aselmdb": {"reproducible": False},
}


def check_same(kind, found, rows):
    """What a library read is what the rows of the dataset are, by snapshot_id: units, signs, order of atoms,
    splits."""
    type(kind, (ExporterTests,), TOLERANCES.get(kind, {})).check_same(found, rows)
