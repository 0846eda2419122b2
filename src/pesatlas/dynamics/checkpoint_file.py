"""Checkpoint files: states of dynamics under way and what is known of them, replaced as a whole."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pesatlas.dynamics.md_state import State
from pesatlas.storage.atomic import atomic_path

UNREADABLE = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)
"""Errors of reading a file that is torn, or no checkpoint of these trajectories."""


def write_checkpoint(
    path: Path,
    head: Mapping[str, Any],
    states: Mapping[str, State | None],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a checkpoint; it is on the disk when this returns.

    Parameters
    ----------
    head : as JSON takes it
    states : by the prefix of their names in the file; None for an empty one
    arrays : whatever else belongs to it
    """
    every = dict(arrays or {})
    for prefix, state in states.items():
        every |= {f"{prefix}{name}": values for name, values in state.arrays().items()} if state else {}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, head=np.array(json.dumps(head)), **every)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return head and arrays of a checkpoint; raises one of ``UNREADABLE`` if there is none."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    return json.loads(str(arrays.pop("head"))), arrays


def state_of(arrays: Mapping[str, np.ndarray], prefix: str, device: torch.device) -> State:
    """Bring back the state that was written with a prefix, bit for bit."""
    own = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    return State.from_arrays(own, device)
