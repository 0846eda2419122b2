"""Calculations addressed by their content: what was ever finished is taken from the store."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import registry
from pesatlas.config.campaign import Campaign
from pesatlas.config.section import digest
from pesatlas.geometry import geometry_digest
from pesatlas.label.interface import TRANSIENT, Failed, Outcome, Result, Task, from_bytes, to_bytes
from pesatlas.ledger import Ledger, Lock, Store

log = logging.getLogger(__name__)

BACKENDS = "pesatlas.label.backends"
_DECIMALS = 8


def canonical_order(task: Task) -> np.ndarray:
    """Return the permutation that sorts a task's atoms by element and position (1e-8 Å): the same for any order of the same atoms."""
    positions = np.round(task.positions, _DECIMALS)
    return np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0], task.numbers))


def content_key(task: Task) -> str:
    """Hash of a task's geometry (canonical order, 1e-8 Å) and of its level's fingerprint."""
    order = canonical_order(task)
    geometry = geometry_digest(task.numbers[order], task.cell, task.positions[order])
    return digest(task.level.fingerprint, task.isolated, geometry, length=32)


def reorder(result: Result, order: Sequence[int] | np.ndarray) -> Result:
    """Return ``result`` with atom ``i`` of the new one being atom ``order[i]`` of the old one."""
    moments = result.magmoms_muB
    return replace(
        result,
        forces_eV_per_A=[result.forces_eV_per_A[i] for i in order],
        magmoms_muB=None if moments is None else [moments[i] for i in order],
    )


def _mishap(key: str) -> str:
    """Key of what went wrong for no reason of the task's own; another than the task's, so that it never hides a result."""
    return f"{key}-mishap"


@dataclass
class Calculations:
    """The one way to a label: out of the store, or by a calculation whose outcome goes into the store.

    Use ``open_calculations`` to get one.
    """

    campaign: Campaign
    store: Store
    writer: Ledger
    scratch: Path
    made: int = 0
    found: int = 0

    def outcome(self, task: Task) -> Outcome:
        """Return the outcome of ``task``, calculated only if no campaign on this store ever did."""
        key, order = content_key(task), canonical_order(task)
        outcome = self._known(key)
        if outcome is None:
            mishap = self._known(_mishap(key))
            attempts = mishap.attempts if isinstance(mishap, Failed) else 0
            exhausted = attempts >= self.campaign.label.attempts
            outcome = mishap if mishap and exhausted else self._attempt(task, order, key, attempts)
        else:
            self.found += 1
        # from canonical order back to the task's
        return reorder(outcome, np.argsort(order)) if isinstance(outcome, Result) else outcome

    def _known(self, key: str) -> Outcome | None:
        # what this job wrote is newer than what the store knew when it began
        payload = self.writer.get(key) or self.store.get(key)
        return from_bytes(payload) if payload else None

    def _attempt(self, task: Task, order: np.ndarray, key: str, attempts: int) -> Outcome:
        """Calculate until there is a result or attempts are used up; every outcome is durable before the next step."""
        sorted_task = replace(task, numbers=task.numbers[order], positions=task.positions[order])
        options: Any = self.campaign.label.backend
        backend = registry.find(BACKENDS, options.kind)
        while True:
            folder = self.scratch / key
            folder.mkdir()
            outcome: Outcome = backend.calculate(
                sorted_task, options, folder, 60 * self.campaign.label.timeout_min
            )
            shutil.rmtree(folder)
            self.made += 1
            attempts += 1
            if isinstance(outcome, Failed):
                outcome = replace(outcome, attempts=attempts)
            if isinstance(outcome, Result) or outcome.reason not in TRANSIENT:
                self.writer.append(key, to_bytes(outcome))
                return outcome
            self.writer.append(_mishap(key), to_bytes(outcome))
            if attempts >= self.campaign.label.attempts:
                return outcome
            log.warning("attempt %d failed (%s: %s); trying again", attempts, outcome.reason, outcome.detail)


@contextmanager
def open_calculations(campaign: Campaign, name: str, work: Path) -> Iterator[Calculations]:
    """Open the label store for one job, which is locked against another job of the same name.

    Parameters
    ----------
    name : str
        Name of the job, unique in the campaign and the same when it is run again.
    work : Path
        Folder for locks.
    """
    identity = digest(campaign.label.identity(), campaign.campaign.name)
    segment = f"{name}-{identity}"
    store = Store(Path(campaign.campaign.store) / "labels")
    with (
        Lock(work / f"{segment}.lock"),
        store.writer(segment) as writer,
        tempfile.TemporaryDirectory(prefix="pesatlas-") as scratch,
    ):
        store.refresh()
        yield Calculations(campaign, store, writer, Path(scratch))


class Progress:
    """Lines in the log: how many are done, how fast, how long still."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = time.monotonic()

    def done(self, count: int, name: str, calculations: Calculations) -> None:
        """Say that ``count`` of all are done."""
        spent = time.monotonic() - self._begun
        left = spent / max(count, 1) * (self._total - count)
        log.info(
            "%d of %d: %s; %d calculations, %.0f s left", count, self._total, name, calculations.made, left
        )
