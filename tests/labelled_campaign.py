"""Datasets to train on: crystals with labels of a formula, as the results of a campaign that finished."""

import json
from types import SimpleNamespace

import numpy as np
from ase import Atoms
from ase.build import bulk

from pesatlas.campaign.layout import below
from pesatlas.potentials.graph import build_graph, to_evaluation
from pesatlas.potentials.potential import VOIGT
from pesatlas.tables import TableWriter
from pesatlas.testing.blank import blank
from small_potentials import rattled, to_batch

CUTOFF_A = 4.0
ATOM_EV = {11: -1.3, 17: -2.1, 12: -0.7, 8: -3.2}
CRYSTALS = {
    "NaCl": bulk("NaCl", "rocksalt", 5.4),
    "MgO": bulk("MgO", "rocksalt", 4.2),
    "NaCl-2": bulk("NaCl", "cesiumchloride", 3.3),
    "MgO-2": bulk("MgO", "zincblende", 4.6),
}


def pair_labels(crystals: list[Atoms]) -> SimpleNamespace:
    """Morse pairs whose depth depends on the elements, cut off smoothly, and an energy for each atom: eV,
    eV/Å, eV/Å³ tension positive."""
    import torch

    batch = to_batch(crystals)
    graph = build_graph(batch, CUTOFF_A)
    vectors = graph.vectors.clone().requires_grad_()
    r = vectors.norm(dim=1)
    depth = 0.02 * (graph.numbers[graph.sources] + graph.numbers[graph.targets]).double().sqrt()
    morse = (1 - torch.exp(-1.5 * (r - 2.4))).square() - 1
    pairs = 0.5 * depth * morse * (1 - (r / CUTOFF_A) ** 2).clamp(min=0) ** 2
    atoms = torch.tensor([ATOM_EV[z] for z in batch.numbers.tolist()], dtype=torch.float64)
    energies = torch.zeros(len(crystals), dtype=torch.float64).index_add(0, graph.owners, atoms)
    energies = energies.index_add(0, graph.owners[graph.sources], pairs)
    (gradient,) = torch.autograd.grad(energies.sum(), vectors)
    found = to_evaluation(graph, batch.cells, energies, gradient)
    ends = np.cumsum([len(a) for a in crystals])
    return SimpleNamespace(
        energies=found.energies.numpy(),
        forces=[found.forces.numpy()[end - len(a) : end] for a, end in zip(crystals, ends, strict=True)],
        stresses=found.stresses.numpy()[:, *VOIGT],
    )


def dataset_rows(crystals, names, splits, level="pbe", fingerprint="f1", moments=False):
    """Rows of table ``dataset`` with the labels of ``pair_labels``."""
    found = pair_labels(crystals)
    rows = []
    for k, (atoms, name, split) in enumerate(zip(crystals, names, splits, strict=True)):
        forces = found.forces[k]
        rows.append(
            blank("dataset")
            | {
                "snapshot_id": f"{name}:unit:300K:{k:07d}",
                "structure_id": name,
                "domain": "bulk" if k % 2 else "strained",
                "n_atoms": len(atoms),
                "numbers": atoms.numbers.tolist(),
                "cell_A": atoms.cell[:].ravel().tolist(),
                "positions_A": atoms.positions.ravel().tolist(),
                "level": level,
                "level_fingerprint": fingerprint,
                "energy_eV": found.energies[k],
                "free_energy_eV": found.energies[k],
                "forces_eV_per_A": forces.ravel().tolist(),
                "stress_eV_per_A3": found.stresses[k].tolist(),
                "magmoms_muB": [0.1 * z for z in atoms.numbers.tolist()] if moments else None,
                "verdict": "accepted",
                "verdict_rules": "[]",
                "split": split,
            }
        )
    return rows


def frames(count, seed=0):
    """Rattled cells of ``CRYSTALS`` in turn, with the names of their crystals."""
    names = [list(CRYSTALS)[k % len(CRYSTALS)] for k in range(count)]
    return [rattled(CRYSTALS[name], seed + k) for k, name in enumerate(names)], names


def write_dataset(path, rows, level="pbe"):
    with TableWriter(path, "dataset", "test", {"pesatlas.level": level}) as writer:
        # several row groups, as a campaign's files have
        for start in range(0, len(rows), 16):
            writer.write(rows[start : start + 16])


def write_results(results, count=60, level="pbe", **labels):
    """Write what ``train_potential`` reads: manifest, dataset, isolated atoms.

    Every crystal is in all splits.
    """
    crystals, names = frames(count)
    splits = ["valid" if k % 10 == 8 else "test" if k % 10 == 9 else "train" for k in range(count)]
    write_dataset(
        results / "dataset" / level / "part-00000.parquet",
        dataset_rows(crystals, names, splits, level, **labels),
        level,
    )
    symbols = {11: "Na", 17: "Cl", 12: "Mg", 8: "O"}
    atoms = [
        blank("atoms")
        | {"element": symbols[z], "level": level, "level_fingerprint": "f1", "energy_eV": energy}
        for z, energy in ATOM_EV.items()
    ]
    with TableWriter(results / "labels" / "atoms.parquet", "atoms", "test") as writer:
        writer.write(atoms)
    manifest = {"campaign": "test", "code_version": "0", "levels": [level], "label_batches": 1, "files": []}
    below(results, "manifest").write_text(json.dumps(manifest))
    return results
