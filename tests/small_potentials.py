"""Small matgl potentials that tests make, save and load; crystals to ask them about; batches."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from pesatlas.atoms.elements import atomic_number
from pesatlas.potentials.gate_crystals import FIRST
from pesatlas.potentials.graph import build_graph
from pesatlas.testing.crystals import rattled, to_batch

ELEMENTS = ("O", "Na", "Mg", "Cl")
SHARED_MODELS = Path(__file__).parents[2] / "shared" / "models"


def rattled_salts() -> list[Atoms]:
    """Rattled cells of NaCl and MgO of 2 to 16 atoms, one of them skewed, one with atoms outside of the
    cell."""
    cells = [
        bulk("NaCl", "rocksalt", 5.69, cubic=True),
        bulk("MgO", "rocksalt", 4.25),
        bulk("MgO", "rocksalt", 4.25) * (2, 2, 2),
        bulk("NaCl", "cesiumchloride", 3.4) * (1, 1, 2),
    ]
    crystals = [rattled(cell, seed) for seed, cell in enumerate(cells)]
    crystals[3].positions += crystals[3].cell[0] * 1.3
    return crystals


def save_m3gnet(folder: Path, *, smooth: bool = True) -> Path:
    """Save an M3GNet potential with random weights, large enough for its forces to matter."""
    from matgl.apps.pes import Potential
    from matgl.models import M3GNet

    torch.manual_seed(11)
    model = M3GNet(
        element_types=ELEMENTS,
        is_intensive=False,
        use_smooth=smooth,
        units=16,
        dim_node_embedding=12,
        dim_edge_embedding=8,
        nblocks=2,
    )
    _enlarge(model)
    Potential(model, data_std=5.0, element_refs=[-1.0, -2.0, -3.0, -4.0]).save(folder)
    return folder


def save_tensornet(folder: Path, *, steps: int = 0, seed: int = 1) -> Path:
    """Save a TensorNet potential: random, or after ``steps`` of training it knows where NaCl and MgO have
    their minimum."""
    from matgl.apps.pes import Potential
    from matgl.models import TensorNet

    torch.manual_seed(seed)
    model = TensorNet(
        element_types=ELEMENTS,
        is_intensive=False,
        rbf_type="SphericalBessel",
        use_smooth=True,
        max_n=8,
        units=16,
        nblocks=1,
    )
    scales = np.linspace(0.9, 1.1, 15)
    salts = [reference for reference in FIRST if set(reference.symbols) <= set(ELEMENTS)]
    crystals, targets = [], []
    for reference in salts:
        for scale in scales:
            cell, positions = reference.geometry(scale * reference.a_A)
            crystals.append(Atoms(reference.numbers, positions, cell=cell, pbc=True))
            targets.append(len(positions) * (8 * (scale**3 - 1) ** 2 - 4))
    batch = to_batch(crystals)
    graph = build_graph(batch, model.cutoff)
    types = torch.tensor([[atomic_number(e) for e in ELEMENTS].index(z) for z in batch.numbers.tolist()])
    inputs = SimpleNamespace(
        node_type=types,
        pos=torch.zeros(len(types), 3),
        edge_index=torch.stack([graph.sources, graph.targets]),
        pbc_offshift=graph.vectors.float(),
        batch=graph.owners,
        num_graphs=graph.n_structures,
    )
    if steps:
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
        for _ in range(steps):
            optimizer.zero_grad()
            ((model(g=inputs) - torch.tensor(targets).float()) / batch.n_atoms).square().mean().backward()
            optimizer.step()
            schedule.step()
    else:
        _enlarge(model)
    Potential(model, element_refs=[-1.0, -2.0, -3.0, -4.0]).save(folder)
    return folder


def _enlarge(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.8)
