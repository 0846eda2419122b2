"""Atoms per CPU second of potentials and encoders, against the loops that their own packages come with.

    python benchmarks/cpu_rates.py [--turns 7] [--most 24] [--models FOLDER] [--only chgnet]

Energies, forces and stresses (batched, as dynamics evaluates them, against one structure at a time in the
package's ASE calculator), and features (against the package's own prediction). The crystals are built in and
named below. Both take the same geometries, displaced anew each turn, in turns of one round each, in one
process, on one thread: what else the machine does falls on both. The ratio of each turn is the measure; rates
are medians over turns and depend on the machine. Largest differences are printed too: a rate of something
else would be no rate. matgl's rows need its weights (--models).
"""

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms

from pesatlas.config.encode import Encode
from pesatlas.config.plugins import find
from pesatlas.encode.encoder import Frame
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.loading import POTENTIALS
from pesatlas.potentials.weights import directory_sha256, load_matgl
from pesatlas.structures.sources.demo import CRYSTALS
from pesatlas.testing.crystals import to_batch

NAMES = [
    "Al",
    "AlP",
    "CsCl",
    "GaAs",
    "Li2S",
    "Li3N",
    "Mg2Si",
    "MgO",
    "MoS2",
    "NaCl",
    "NiAl",
    "Si",
    "SiC",
    "TiO2",
    "WS2",
    "ZnO",
]
SHARED = Path(__file__).parents[2] / "shared" / "models"
DISPLACED_A = 0.08
Loop = Callable[[list[Atoms]], list[np.ndarray]]
"""Crystals in; arrays out whose differences between two loops are printed."""


class Pair(NamedTuple):
    """Two ways to the same numbers."""

    name: str
    theirs: Loop
    ours: Loop
    units: tuple[str, ...]


def crystals(most: int) -> list[Atoms]:
    """Return the named crystals as supercells of at most ``most`` atoms."""
    chosen: list[Atoms] = []
    for name in NAMES:
        recipe = CRYSTALS[name]
        crystal = Atoms(
            recipe.species, scaled_positions=recipe.fractional, cell=np.array(recipe.vectors), pbc=True
        )
        while len(crystal) * 2 <= most:
            crystal = crystal.repeat([2 if k == crystal.cell.lengths().argmin() else 1 for k in range(3)])
        chosen.append(crystal)
    return chosen


def displaced(atoms: list[Atoms], turn: int) -> list[Atoms]:
    """Return copies with random displacements."""
    rng = np.random.default_rng(turn)
    copies = [a.copy() for a in atoms]
    for a in copies:
        a.rattle(DISPLACED_A, rng=rng)
    return copies


def evaluated(potential: Any) -> Loop:
    """Energies, forces and stresses in one batch."""

    def loop(atoms: list[Atoms]) -> list[np.ndarray]:
        found = potential.evaluate(to_batch(atoms))
        return [found.energies.numpy(), found.forces.numpy(), found.stresses.numpy()]

    return loop


def calculated(calculator: Any, to_stress: float = 1.0) -> Loop:
    """Energies, forces and stresses by an ASE calculator, one structure after the other."""

    def loop(atoms: list[Atoms]) -> list[np.ndarray]:
        rows = []
        for a in atoms:
            calculator.calculate(a)
            results = calculator.results
            rows.append((results["energy"], results["forces"], results["stress"]))
        energies, forces, stresses = zip(*rows, strict=True)
        return [
            np.array([float(e) for e in energies]),
            np.concatenate(forces),
            np.array([to_stress * _matrix(s) for s in stresses]),
        ]

    return loop


def _matrix(stress: np.ndarray) -> np.ndarray:
    stress = np.asarray(stress)
    return stress if stress.ndim > 1 else stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def encoded(encoder: Any) -> Loop:
    """Features in batches of the size that the encode stage takes."""

    def loop(atoms: list[Atoms]) -> list[np.ndarray]:
        frames = [Frame(a.numbers, a.positions, np.array(a.cell)) for a in atoms]
        most = Encode().atoms_per_evaluation
        runs = chunks_by_atoms([len(f.numbers) for f in frames], most)
        structures, atom_rows = zip(*(encoder.encode(frames[r.start : r.stop]) for r in runs), strict=True)
        return [np.concatenate(structures), np.concatenate(atom_rows)]

    return loop


def chgnet_pairs() -> list[Pair]:
    """CHGNet: its CHGNetCalculator, its predict_structure."""
    from chgnet.model import CHGNet  # noqa: PLC0415 - --only may leave it out
    from chgnet.model.dynamics import CHGNetCalculator  # noqa: PLC0415
    from pymatgen.io.ase import AseAtomsAdaptor  # noqa: PLC0415

    kind, encoders = find(POTENTIALS, "chgnet"), find("pesatlas.encode.encoders", "chgnet")
    own = CHGNet.load(use_device="cpu", verbose=False)

    def features(atoms: list[Atoms]) -> list[np.ndarray]:
        found = own.predict_structure(
            [AseAtomsAdaptor.get_structure(a) for a in atoms],
            task="e",
            return_atom_feas=True,
            return_crystal_feas=True,
        )
        sizes = [len(a) for a in atoms]
        return [
            np.array([row["crystal_fea"] / n for row, n in zip(found, sizes, strict=True)]),
            np.concatenate([row["atom_fea"] for row in found]),
        ]

    return [
        Pair(
            "chgnet 0.3.0, evaluation",
            calculated(CHGNetCalculator(own, use_device="cpu", on_isolated_atoms="ignore")),
            evaluated(kind.load(kind.Options(), "cpu")),
            ("eV", "eV/Å", "eV/Å³"),
        ),
        Pair("chgnet 0.3.0, features", features, encoded(encoders.load(encoders.Options(), "cpu")), ("", "")),
    ]


def matgl_pairs(models: Path) -> list[Pair]:
    """matgl: its PESCalculator; features as its models keep them after ``predict_structure``."""
    from matgl.ext.ase import Atoms2Graph, PESCalculator  # noqa: PLC0415 - takes seconds

    kind, pairs = find(POTENTIALS, "matgl"), []
    for name in ("M3GNet-MP-2021.2.8-PES", "TensorNet-MatPES-PBE-v2025.1-PES"):
        folder, sha256 = models / name, directory_sha256(models / name)
        saved = load_matgl(folder, older_convention=True, sha256=sha256)
        options = kind.Options(path=folder, older_convention=True, sha256=sha256)
        pairs.append(
            Pair(
                f"{name}, evaluation",
                calculated(PESCalculator(saved, stress_unit="eV/A3")),
                evaluated(kind.load(options, "cpu")),
                ("eV", "eV/Å", "eV/Å³"),
            )
        )
    folder = models / "M3GNet-MP-2018.6.1-Eform"
    sha256 = directory_sha256(folder)
    encoders = find("pesatlas.encode.encoders", "m3gnet_eform")
    own = load_matgl(folder, older_convention=True, sha256=sha256).eval()
    inner = getattr(own, "model", own)
    converter = Atoms2Graph(inner.element_types, inner.cutoff)

    def features(atoms: list[Atoms]) -> list[np.ndarray]:
        rows = []
        for a in atoms:
            graph, lattice, _ = converter.get_graph(a)
            graph.pbc_offshift = graph.pbc_offset @ lattice[0]
            graph.pos = graph.frac_coords @ lattice[0]
            with torch.no_grad():
                own(g=graph, state_attr=None)
            kept = inner.feature_dict
            rows.append((kept["readout"].numpy().ravel(), kept["gc_1"]["node_feat"].numpy()))
        return [np.array([row[0] for row in rows]), np.concatenate([row[1] for row in rows])]

    options = encoders.Options(path=folder, older_convention=True, sha256=sha256)
    pairs.append(Pair(f"{folder.name}, features", features, encoded(encoders.load(options, "cpu")), ("", "")))
    return pairs


def measure(pair: Pair, atoms: list[Atoms], turns: int) -> None:
    """Print one row of the table."""
    spent = np.empty((turns, 2))
    apart = np.zeros(len(pair.units))
    for loop in (pair.theirs, pair.ours):
        loop(displaced(atoms, turns))
    for turn in range(turns):
        moved = displaced(atoms, turn)
        found = []
        loops = (pair.theirs, pair.ours)
        for k in (0, 1) if turn % 2 else (1, 0):
            start = time.process_time()
            found.append(loops[k](moved))
            spent[turn, k] = time.process_time() - start
        apart = np.maximum(apart, [np.abs(a - b).max() for a, b in zip(*found, strict=True)])
    n_atoms = sum(map(len, atoms))
    rates, ratios = n_atoms / np.median(spent, axis=0), spent[:, 0] / spent[:, 1]
    differences = ", ".join(f"{x:.1e} {unit}".strip() for x, unit in zip(apart, pair.units, strict=True))
    print(
        f"| {pair.name} | {rates[0]:.0f} | {rates[1]:.0f} | {np.median(ratios):.2f} "
        f"({ratios.min():.2f} to {ratios.max():.2f}) | {differences} |",
        flush=True,
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--most", type=int, default=24, help="atoms of the largest supercell")
    parser.add_argument("--models", type=Path, default=SHARED, help="folder of the weights of matgl")
    parser.add_argument("--only", choices=("chgnet", "matgl"), help="models of this package")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    atoms = crystals(arguments.most)
    pairs = chgnet_pairs() if arguments.only != "matgl" else []
    if arguments.only != "chgnet" and arguments.models.is_dir():
        pairs += matgl_pairs(arguments.models)
    print(
        f"{len(atoms)} crystals of {min(map(len, atoms))} to {max(map(len, atoms))} atoms, "
        f"{sum(map(len, atoms))} in all; torch {torch.__version__}, 1 thread, {arguments.turns} turns\n"
    )
    print("| | its package: atoms per CPU s | pesatlas | ratio (turns) | largest differences |")
    print("|---|---|---|---|---|")
    for pair in pairs:
        measure(pair, atoms, arguments.turns)


if __name__ == "__main__":
    main()
