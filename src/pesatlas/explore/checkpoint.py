"""Checkpoints of running trajectories, from which a killed job resumes.

Two files in the work folder. ``frames.ledger`` grows by one record of new frames at each checkpoint;
``checkpoint.npz`` is replaced atomically and says how many of these records are its own, so that records of a
checkpoint that was never finished do not count.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pesatlas.dynamics.checkpoint_file import UNREADABLE, read_checkpoint, state_of, write_checkpoint
from pesatlas.dynamics.group import Group, Running
from pesatlas.explore.stored_frames import Frame, frames_table, from_bytes, settled, table_frames, to_bytes
from pesatlas.explore.trajectory import Trajectory
from pesatlas.storage.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """All that is under way: who advances, who waits half-way for memory, who has not begun."""

    active: Group[Trajectory] = field(default_factory=Group)
    paused: Group[Trajectory] = field(default_factory=Group)
    queue: deque[Trajectory] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        """Trajectories that have not ended."""
        return len(self.active.runs) + len(self.paused.runs) + len(self.queue)


class Checkpoint:
    """The checkpoint of one batch.

    Parameters
    ----------
    folder : work folder of the batch
    identity : hash of what is computed there; a checkpoint of anything else is ignored
    device : where states live
    """

    def __init__(self, folder: Path, identity: str, device: torch.device) -> None:
        self._path = folder / "checkpoint.npz"
        self._frames = folder / "frames.ledger"
        self._identity = identity
        self._device = device
        self._chunks = 0

    def save(self, progress: Progress) -> None:
        """Write everything that is under way; it is on the disk when this returns."""
        runs = [*progress.active.runs, *progress.paused.runs]
        new = [frames_table(run.frames[run.saved :]) for run in runs]
        if any(len(table) for table in new):
            names = pa.array(
                [run.trajectory.key for run, table in zip(runs, new, strict=True) for _ in range(len(table))],
                pa.string(),
            )
            with Ledger(self._frames) as ledger:
                ledger.append(
                    str(self._chunks),
                    to_bytes(
                        pa.concat_tables(table for table in new if len(table)).append_column(
                            "trajectory", names
                        )
                    ),
                )
            self._chunks += 1
        head: dict[str, Any] = {
            "identity": self._identity,
            "chunks": self._chunks,
            "queue": [each.key for each in progress.queue],
        }
        states = {}
        for name, group in (("active", progress.active), ("paused", progress.paused)):
            head[name] = [[run.trajectory.key, run.step, len(run.frames)] for run in group.runs]
            states[f"{name}."] = group.state if group.runs else None
        write_checkpoint(self._path, head, states)
        for run in runs:
            run.saved = settled(run.frames)

    def load(self, trajectories: Mapping[str, Trajectory]) -> Progress | None:
        """Return what was under way, or None if nothing of this batch was saved; ``trajectories`` by key."""
        if not self._path.exists():
            self._frames.unlink(missing_ok=True)
            return None
        try:
            progress = self._read(trajectories)
        except (*UNREADABLE, pa.ArrowInvalid) as error:
            log.warning(
                "%s is not a checkpoint of this batch (%s): starting from the beginning", self._path, error
            )
            self._frames.unlink(missing_ok=True)
            self._path.unlink()
            self._chunks = 0
            return None
        steps = [run.step for run in progress.active.runs]
        log.info(
            "resuming %d trajectories at steps %d to %d; %d wait",
            len(steps),
            min(steps, default=0),
            max(steps, default=0),
            len(progress.queue),
        )
        return progress

    def _read(self, trajectories: Mapping[str, Trajectory]) -> Progress:
        head, arrays = read_checkpoint(self._path)
        if head["identity"] != self._identity:
            raise ValueError("other structures, settings or potential")
        self._chunks = head["chunks"]
        frames = self._read_frames(self._chunks)
        groups: list[Group[Trajectory]] = []
        for name in ("active", "paused"):
            runs = [
                Running(trajectories[key], step, list(frames.get(key, {}).values())[:count])
                for key, step, count in head[name]
            ]
            if any(len(run.frames) != count for run, (_, _, count) in zip(runs, head[name], strict=True)):
                raise ValueError("frames are missing")
            for run in runs:
                run.saved = settled(run.frames)
            groups.append(Group(runs, state_of(arrays, f"{name}.", self._device)) if runs else Group())
        active, paused = groups
        return Progress(active, paused, deque(trajectories[key] for key in head["queue"]))

    def _read_frames(self, chunks: int) -> dict[str, dict[int, Frame]]:
        """Return frames by trajectory and step; one that was written again is as it was written last."""
        tables = []
        with Ledger(self._frames) as ledger:
            for chunk in range(chunks):
                payload = ledger.get(str(chunk))
                if payload is None:
                    raise ValueError("frames are missing")
                tables.append(from_bytes(payload))
        found: dict[str, dict[int, Frame]] = {}
        for table in tables:
            for key, frame in zip(table["trajectory"].to_pylist(), table_frames(table), strict=True):
                found.setdefault(key, {})[frame["step"]] = frame
        return found
