"""Crystals for tests of potentials and encoders."""

from typing import Any

import numpy as np
import torch
from ase import Atoms

from pesatlas.potentials.gate_crystals import made_up_for, references_for
from pesatlas.potentials.potential import Batch


def to_batch(crystals: list[Atoms]) -> Batch:
    """Put ASE structures side by side."""
    return Batch(
        numbers=torch.tensor(np.concatenate([a.numbers for a in crystals]).astype(np.int64)),
        positions=torch.tensor(np.concatenate([a.positions for a in crystals])),
        cells=torch.tensor(np.stack([a.cell[:] for a in crystals])),
        n_atoms=torch.tensor([len(a) for a in crystals]),
    )


def rattled(crystal: Atoms, seed: int, strain: float = 0.03) -> Atoms:
    """Return a displaced and strained copy: nothing is left of symmetry."""
    rng = np.random.default_rng(seed)
    copy = crystal.copy()
    copy.rattle(0.08, rng=rng)
    copy.set_cell(copy.cell[:] @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    return copy


def crystals_of(elements: frozenset[int]) -> list[Atoms]:
    """Return four rattled crystals of these elements, of 2 to 16 atoms.

    Those that the gate knows, or a made-up one; one has atoms outside of the cell.
    """
    references = references_for(elements)[:2] or [made_up_for(elements)]
    first, second = (_atoms(references[i]) for i in (0, -1))
    crystals = [first * (2, 2, 1), second, second * (2, 2, 2), first * (1, 1, 2)]
    crystals = [rattled(crystal, seed) for seed, crystal in enumerate(crystals)]
    crystals[3].positions += crystals[3].cell[0] * 1.3
    return crystals


def _atoms(reference: Any) -> Atoms:
    cell, positions = reference.geometry(reference.a_A)
    return Atoms(reference.numbers, positions, cell=cell, pbc=True)
