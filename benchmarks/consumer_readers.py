"""Read an export as a program's own loader does: python benchmarks/consumer_readers.py NAME PATH OUT.json.

benchmarks/consumers.py runs this in the environment of that program, where there is no pesatlas. By
``snapshot_id``: energy (eV), forces (eV/Å), stress (eV/Å³, tension positive, three rows of three).
Conversions are those that the program's documentation gives.
"""

# ruff: noqa: PLC0415 - an environment has the imports of its own programs alone
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

GPA = 160.21766208
KEYS = {"energy": "energy", "forces": "forces", "stress": "stress"}
Labels = dict[str, dict[str, Any]]


def label(energy: Any, forces: Any, stress: Any) -> dict[str, Any]:
    """Return a label as JSON takes it."""
    return {
        "energy": float(np.asarray(energy).reshape(())),
        "forces": np.asarray(forces, dtype=float).reshape(-1, 3).tolist(),
        "stress": np.asarray(stress, dtype=float).reshape(3, 3).tolist(),
    }


def names_of(path: Path) -> list[str]:
    """Return the ids of the frames of a file in their order, without isolated atoms.

    Trainers keep no names.
    """
    from ase.io import read

    frames = read(path, ":")
    return [a.info["snapshot_id"] for a in frames if a.info.get("config_type") != "IsolatedAtom"]


def mace(path: Path) -> Labels:
    """Read all files of the export ``mace`` as ``mace_run_train`` does, down to its loss tensors."""
    import torch
    from mace import data, tools

    torch.set_default_dtype(torch.float64)
    found: Labels = {}
    for file in sorted(path.glob("*.extxyz")):
        keys = data.KeySpecification.from_defaults()
        _, configurations = data.load_from_xyz(
            str(file), keys, extract_atomic_energies=file.name.endswith("-train.extxyz")
        )
        table = tools.get_atomic_number_table_from_zs(z for c in configurations for z in c.atomic_numbers)
        for name, one in zip(names_of(file), configurations, strict=True):
            tensors = data.AtomicData.from_config(one, z_table=table, cutoff=4.0)
            assert float(tensors.stress_weight) == 1, "MACE found no stress"
            found[name] = label(tensors.energy, tensors.forces, tensors.stress)
    return found


def nequip(path: Path) -> Labels:
    """Read the export ``extxyz`` with nequip's ``ASEDataset``; its convention of stress is ours."""
    import torch

    torch.set_default_dtype(torch.float64)
    from nequip.data.dataset import ASEDataset

    found: Labels = {}
    for file in sorted(path.glob("*.extxyz")):
        frames = ASEDataset(str(file))
        for name, one in zip(names_of(file), frames.data_list, strict=True):
            found[name] = label(one["total_energy"], one["forces"], one["stress"])
    return found


def metatrain(path: Path) -> Labels:
    """Read the export ``extxyz`` as ``mtt train`` does.

    Gradients of the energy by positions and by strain.
    """
    from metatrain.utils.data.readers import read_systems, read_targets
    from omegaconf import OmegaConf

    found: Labels = {}
    for file in sorted(path.glob("*.extxyz")):
        about = {"read_from": str(file), "reader": "ase", "unit": None}
        target = {**about, "quantity": "energy", "key": "energy", "unit": "eV", "per_atom": False}
        target |= {"sample_kind": "system", "num_subtargets": 1, "type": "scalar", "description": ""}
        target |= {
            "forces": {**about, "key": "forces"},
            "stress": {**about, "key": "stress"},
            "virial": False,
        }
        targets, _ = read_targets(OmegaConf.create({"energy": target}))
        systems = read_systems(str(file), reader="ase")
        for name, system, one in zip(names_of(file), systems, targets["energy"], strict=True):
            block = one.block()
            volume = abs(np.linalg.det(system.cell.numpy()))
            found[name] = label(
                block.values,
                -block.gradient("positions").values.numpy(),
                block.gradient("strain").values.numpy() / volume,
            )
    return found


def matgl(path: Path) -> Labels:
    """Read the export ``matgl`` with ``MGLDatasetLoader``; its unit of stress is GPa."""
    from matgl.utils.training import MGLDatasetLoader

    found: Labels = {}
    for file in sorted(path.glob("*.json.gz")):
        if file.name.endswith("-split.json.gz"):
            continue
        names = [document["matpes_id"] for document in json.loads(gzip.decompress(file.read_bytes()))]
        labels = MGLDatasetLoader.from_json(file, save_cache=False).labels
        for i, name in enumerate(names):
            stress = np.asarray(labels["stresses"][i]) / GPA
            found[name] = label(labels["energies"][i], labels["forces"][i], stress)
    return found


def fairchem(path: Path) -> Labels:
    """Read the export ``aselmdb`` with fairchem's ``AseDBDataset``, down to the tensors that it trains on."""
    import torch
    from fairchem.core.datasets import AseDBDataset

    found: Labels = {}
    for folder in sorted(each for each in path.glob("*/*") if each.is_dir()):
        arguments = {"r_energy": True, "r_forces": True, "r_stress": True, "target_dtype": torch.float64}
        rows = AseDBDataset({"src": str(folder), "a2g_args": arguments})
        for i in range(len(rows)):
            one = rows[i]
            found[rows.get_atoms(i).info["sid"]] = label(one.energy, one.forces, one.stress)
    return found


def datasets(path: Path) -> Labels:
    """Read the export ``huggingface`` with ``datasets.load_dataset``: the columns of our tables."""
    import datasets as library

    library.disable_progress_bars()
    found: Labels = {}
    level = next(each.name for each in sorted(path.iterdir()) if each.is_dir())
    loaded = library.load_dataset(str(path), level, cache_dir=str(path.parent / "cache"))
    for part in loaded.values():
        for row in part:
            xx, yy, zz, yz, xz, xy = row["stress_eV_per_A3"]
            stress = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
            found[row["snapshot_id"]] = label(row["energy_eV"], row["forces_eV_per_A"], stress)
    return found


def dpdata(path: Path) -> Labels:
    """Read the export ``extxyz`` with ``dpdata.MultiSystems``.

    It has virials (eV), positive under compression.
    """
    import dpdata as library
    from ase.io import read

    found: Labels = {}
    for file in sorted(path.glob("*.extxyz")):
        waiting = list(read(file, ":"))
        for system in library.MultiSystems.from_file(str(file), fmt="extxyz"):
            data = system.data
            for i in range(len(system)):
                symbols = [data["atom_names"][t] for t in data["atom_types"]]
                atoms, order = _same(waiting, symbols, data["coords"][i])
                stress = -data["virials"][i] / abs(np.linalg.det(data["cells"][i]))
                found[atoms.info["snapshot_id"]] = label(
                    data["energies"][i], data["forces"][i][order], stress
                )
    return found


def _same(waiting: list[Any], symbols: list[str], positions: Any) -> tuple[Any, Any]:
    """Take the frame with these atoms out of the list.

    Return it and the order of its atoms here, which dpdata sorts by element.
    """
    for atoms in waiting:
        if len(atoms) != len(symbols):
            continue
        apart = np.linalg.norm(atoms.positions[:, None] - positions, axis=-1)
        order = apart.argmin(axis=1)
        if apart.min(axis=1).max() < 1e-6 and [symbols[k] for k in order] == list(atoms.symbols):
            waiting.remove(atoms)
            return atoms, order
    raise ValueError("dpdata has a frame that is not in the file")


READERS = {
    "mace": mace,
    "nequip": nequip,
    "metatrain": metatrain,
    "matgl": matgl,
    "fairchem": fairchem,
    "datasets": datasets,
    "dpdata": dpdata,
}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in READERS:
        print(__doc__)
        print(f"NAME is one of: {', '.join(READERS)}.")
        sys.exit(0 if {"-h", "--help"} & set(sys.argv) else 2)
    Path(sys.argv[3]).write_text(json.dumps(READERS[sys.argv[1]](Path(sys.argv[2]))))
