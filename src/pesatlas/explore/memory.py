"""How many atoms advance together, and what happens when they were too many."""

import logging

import torch

from pesatlas.errors import UserError
from pesatlas.explore.frames import Failure
from pesatlas.potentials.interface import Batch, Evaluation, Potential
from pesatlas.tables import FailureReason

log = logging.getLogger(__name__)

_ATOMS_ON_CPU = 512
_FIRST_ATOMS_ON_GPU = 512
_USABLE = 0.8
_LARGEST_GROWTH = 4.0
_NEIGHBOUR_RANGE_A = 6.0


def load_of(n_atoms: torch.Tensor, volumes: torch.Tensor) -> float:
    """Estimate what structures cost in memory: the number of pairs of neighbours, which grows with density."""
    pairs = n_atoms**2 / volumes.abs() * (4 / 3 * torch.pi * _NEIGHBOUR_RANGE_A**3)
    return float(pairs.sum())


class Capacity:
    """How much fits: a number of atoms, and on a GPU a number of neighbours that follows from the memory in use.

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
        self._measured = measured
        self._ceiling = float("inf")

    def fits(self, atoms: int, pairs: float) -> bool:
        """Whether a batch of so many atoms and pairs of neighbours fits."""
        return atoms <= self.atoms and pairs <= self.pairs

    def observe(self, pairs: float) -> None:
        """Learn from a batch that did fit how much more would. Only a GPU without the user's limit is asked."""
        if not self._measured:
            return
        peak = torch.cuda.max_memory_allocated(self._device)
        total = torch.cuda.get_device_properties(self._device).total_memory
        growth = min(_USABLE * total / peak, _LARGEST_GROWTH)
        known = self.pairs if self.pairs < float("inf") else 0.0
        self.atoms, self.pairs = float("inf"), min(max(known, pairs * growth), self._ceiling)

    def shrink(self, atoms: int, pairs: float) -> None:
        """Learn that a batch did not fit."""
        self.atoms = min(self.atoms, 0.7 * atoms)
        self.pairs = self._ceiling = min(self._ceiling, 0.7 * pairs)
        log.warning("out of memory with %d atoms together: going on with at most %d", atoms, int(self.atoms))


def evaluate(potential: Potential, batch: Batch) -> tuple[Evaluation, dict[int, Failure], bool]:
    """Evaluate a batch; one that does not fit into memory, or stops the potential, is halved until the culprit is alone.

    Returns
    -------
    evaluation : NaN for structures that could not be evaluated
    failures : of these, by place in the batch
    too_large : whether memory ran out
    """
    try:
        return potential.evaluate(batch), {}, False
    except UserError:
        raise
    except Exception as error:
        # one bad structure must not stop its neighbours
        too_large = _is_out_of_memory(error)
        if not too_large:
            log.warning("%s stopped on %d structures", potential.name, len(batch.n_atoms), exc_info=True)
        failure = Failure(
            FailureReason.OUT_OF_MEMORY if too_large else FailureReason.CRASHED,
            f"{potential.name}: {type(error).__name__}: {error}"[:500],
        )
    # outside the except block: the traceback would keep the tensors of the failed attempt alive
    if too_large and potential.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(batch.n_atoms) == 1:
        return _nothing(batch), {0: failure}, too_large
    middle = len(batch.n_atoms) // 2
    first, failed, one = evaluate(potential, _part(batch, 0, middle))
    second, also_failed, other = evaluate(potential, _part(batch, middle, len(batch.n_atoms)))
    whole = Evaluation(
        *(torch.cat([getattr(first, x), getattr(second, x)]) for x in ("energies", "forces", "stresses"))
    )
    return whole, failed | {i + middle: why for i, why in also_failed.items()}, too_large or one or other


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    ends = [0, *batch.n_atoms.cumsum(0).tolist()]
    atoms = slice(ends[start], ends[stop])
    return Batch(
        batch.numbers[atoms], batch.positions[atoms], batch.cells[start:stop], batch.n_atoms[start:stop]
    )


def _nothing(batch: Batch) -> Evaluation:
    return Evaluation(
        *(torch.full_like(x, torch.nan) for x in (batch.cells[:, 0, 0], batch.positions, batch.cells))
    )
