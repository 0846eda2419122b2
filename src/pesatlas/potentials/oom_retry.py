"""Evaluation with retries: a batch that fails or exceeds memory is halved until the culprit is alone."""

import logging

import torch

from pesatlas.errors import UserError
from pesatlas.potentials.potential import Batch, Evaluation, Layout, Potential
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)


def evaluate(potential: Potential, batch: Batch) -> tuple[Evaluation, dict[int, Failure], bool]:
    """Evaluate a batch; halve it when it fails or exceeds memory, until the culprit is alone.

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
    layout = batch.layout
    own = Layout(layout.counts[start:stop], layout.device)
    first = int(layout.starts[start])
    atoms = slice(first, first + own.atoms)
    return Batch(
        batch.numbers[atoms], batch.positions[atoms], batch.cells[start:stop], batch.n_atoms[start:stop], own
    )


def _nothing(batch: Batch) -> Evaluation:
    return Evaluation(
        *(torch.full_like(x, torch.nan) for x in (batch.cells[:, 0, 0], batch.positions, batch.cells))
    )
