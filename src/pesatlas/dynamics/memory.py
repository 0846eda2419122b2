"""Number of atoms that fit into a batch."""

import logging

import torch

log = logging.getLogger(__name__)

_ATOMS_ON_CPU = 512
_FIRST_ATOMS_ON_GPU = 4096
_MOST_ATOMS_ON_GPU = 50_000
"""Beyond it a GPU computes no faster, and a trajectory more of the batch only takes longer to end."""
_USABLE = 0.8
_LARGEST_GROWTH = 4.0
_NEIGHBOUR_RANGE_A = 6.0


def load_of(n_atoms: torch.Tensor, volumes: torch.Tensor) -> float:
    """Estimate what structures cost in memory.

    The number of pairs of neighbours, which grows with density.
    """
    pairs = n_atoms**2 / volumes.abs() * (4 / 3 * torch.pi * _NEIGHBOUR_RANGE_A**3)
    return float(pairs.sum())


class Capacity:
    """Capacity of a batch: atoms, and on a GPU neighbours, which follow from the memory in use.

    Parameters
    ----------
    device : where the potential runs
    max_atoms : the user's limit, or None
    """

    def __init__(self, device: torch.device, max_atoms: int | None) -> None:
        self._device = device
        measured = device.type == "cuda" and max_atoms is None
        self.atoms = float(max_atoms or (_FIRST_ATOMS_ON_GPU if measured else _ATOMS_ON_CPU))
        self.pairs = float("inf")
        self.learns = measured
        self._ceiling = float("inf")

    def fits(self, atoms: int, pairs: float) -> bool:
        """Whether a batch of so many atoms and pairs of neighbours fits."""
        return atoms <= self.atoms and pairs <= self.pairs

    def observe(self, pairs: float) -> None:
        """Learn from a batch that did fit how much more would.

        Only a GPU without the user's limit is asked.
        """
        if not self.learns:
            return
        peak = torch.cuda.max_memory_allocated(self._device)
        total = torch.cuda.get_device_properties(self._device).total_memory
        growth = min(_USABLE * total / peak, _LARGEST_GROWTH)
        known = self.pairs if self.pairs < float("inf") else 0.0
        self.atoms, self.pairs = _MOST_ATOMS_ON_GPU, min(max(known, pairs * growth), self._ceiling)

    def shrink(self, atoms: int, pairs: float) -> None:
        """Learn that a batch did not fit."""
        self.atoms = min(self.atoms, 0.7 * atoms)
        self.pairs = self._ceiling = min(self._ceiling, 0.7 * pairs)
        log.warning(
            "out of memory with %d atoms in a batch: continuing with at most %d", atoms, int(self.atoms)
        )
