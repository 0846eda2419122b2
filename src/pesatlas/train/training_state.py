"""Training state on disk, written atomically: a kill costs some minutes and changes nothing."""

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from pesatlas.storage.atomic import atomic_path


@dataclass
class TrainingState:
    """Everything that decides how a training goes on.

    Attributes
    ----------
    epoch, batches : epochs that are done, and batches of the one that is under way
    step : steps in all
    model, optimizer : their states
    sums : of the epoch that is under way, see ``loss.Sums``
    best_loss, best_epoch, best : smallest loss of the split valid (of train without one), when it was, and
        the weights then
    history : a row of table ``history`` for each epoch that is done
    seconds : spent so far
    finished : whether it has ended
    """

    model: dict[str, Any]
    optimizer: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    batches: int = 0
    step: int = 0
    sums: torch.Tensor | None = None
    best_loss: float = float("inf")
    best_epoch: int = -1
    best: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False


def save(path: Path, state: TrainingState) -> None:
    """Write a state; the file exists only whole."""
    content = io.BytesIO()
    torch.save({each.name: getattr(state, each.name) for each in fields(state)}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load(path: Path) -> TrainingState | None:
    """Read a state; None if there is none."""
    if not path.is_file():
        return None
    return TrainingState(**torch.load(path, map_location="cpu", weights_only=True))
