"""A small MACE that knows where NaCl and MgO have their minimum; run by a python that has mace.

    python tests/small_mace.py FILE [--steps 150]

It needs nothing of pesatlas: the environments of potentials do not have it.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ELEMENTS = (8, 11, 12, 17)
SALTS = (((11, 17), 5.640), ((12, 8), 4.212))
FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def train(path, steps=150):
    """Write a model of some thousand weights to ``path``."""
    import torch
    from mace import modules  # before e3nn, whose constants torch loads only since mace said so
    from mace.tools import torch_geometric
    from e3nn import o3  # isort: skip

    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=4.5,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block,
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps("8x0e"),
        atomic_energies=np.array([-1.0, -2.0, -3.0, -4.0]),
        avg_num_neighbors=18.0,
        atomic_numbers=list(ELEMENTS),
        correlation=2,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        radial_MLP=[16, 16],
    )
    graphs, targets = _curves()
    batch = next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs)))).to_dict()
    wanted = torch.tensor(targets)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        found = model(batch, compute_force=False)["interaction_energy"] / 2
        (found - wanted).square().mean().backward()
        optimizer.step()
        schedule.step()
    torch.save(model, path)


def _curves():
    """Return cells of the salts between 0.9 and 1.1 of their lattice constants; energies (eV/atom)."""
    from ase import Atoms
    from mace import data, tools

    table = tools.AtomicNumberTable(list(ELEMENTS))
    graphs, targets = [], []
    for numbers, a in SALTS:
        for scale in np.linspace(0.9, 1.1, 15):
            crystal = Atoms(numbers, [[0, 0, 0], [a * scale / 2] * 3], cell=FCC * a * scale, pbc=True)
            graphs.append(
                data.AtomicData.from_config(data.config_from_atoms(crystal), z_table=table, cutoff=4.5)
            )
            targets.append(8 * (scale**3 - 1) ** 2 - 4)
    return graphs, targets


def make_small_mace(folder):
    """Return the file of a small model, made by this python in a process of its own."""
    path = Path(folder) / "small-mace.model"
    subprocess.run([sys.executable, __file__, path], check=True, capture_output=True)
    return path


def given_small_mace(tmp_path_factory):
    """Options of kind ``external`` for a small model, in this environment; skip where it has no mace."""
    import pytest  # not where this file is run as a program

    if find_spec("mace") is None:
        pytest.skip("mace is not installed here")
    return {
        "python": sys.executable,
        "loader": "mace.calculators:MACECalculator",
        "arguments": {"model_paths": "{weights}", "device": "cpu", "default_dtype": "float64"},
        "weights": str(make_small_mace(tmp_path_factory.mktemp("mace"))),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    given = parser.parse_args()
    train(given.path, given.steps)
