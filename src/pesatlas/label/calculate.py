"""Calculations addressed by their content: finished ones are taken from the store."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from threading import Event, Lock
from typing import Any

import numpy as np

from pesatlas.atoms.geometry import canonical_order, geometry_digest
from pesatlas.config import plugins
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.label import Label
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from pesatlas.label.archive import pack
from pesatlas.label.backend import (
    TRANSIENT,
    Backend,
    Charges,
    Failed,
    Outcome,
    Requeued,
    Result,
    Task,
    Workdir,
    charges_from_bytes,
    charges_to_bytes,
    from_bytes,
    sort,
    to_bytes,
)
from pesatlas.label.scratch import scratch_folder
from pesatlas.runtime import supervise
from pesatlas.storage.ledger import Ledger
from pesatlas.storage.ledger import Lock as FileLock
from pesatlas.storage.store import Store, stores_at
from pesatlas.tables import FailureReason

log = logging.getLogger(__name__)

BACKENDS = "pesatlas.label.backends"
_POLL_S = 0.1
_NO_CHARGES = "the label was calculated when label.charges did not ask for them"
_LATE_S = 1.0
"""Time in which a job hears of its own end: its calculations may be ended a moment earlier."""


def content_key(task: Task) -> str:
    """Hash of a task's geometry (canonical order, 1e-8 Å) and of its level's fingerprint."""
    order = canonical_order(task.numbers, task.positions)
    geometry = geometry_digest(task.numbers[order], task.cell, task.positions[order])
    return digest(task.level.fingerprint, task.isolated, geometry, length=32)


def reorder(result: Result, order: Sequence[int] | np.ndarray) -> Result:
    """Return ``result`` with atom ``i`` of the new one being atom ``order[i]`` of the old one."""
    return replace(
        result,
        forces_eV_per_A=[result.forces_eV_per_A[i] for i in order],
        magmoms_muB=sort(result.magmoms_muB, order),
        charges=result.charges and result.charges.in_order(order),
    )


def failure_key(key: str) -> str:
    """Key of what went wrong for no reason of the task's own.

    Another than the task's, so that it never hides a result.
    """
    return f"{key}-mishap"


def charges_key(key: str) -> str:
    """Key of the charges of a label.

    Another than the label's, whose record is the same with and without charges.
    """
    return f"{key}-bader"


@dataclass
class _Attempts:
    """Attempts at one calculation, in total and before it was last put back into the queue."""

    made: int = 0
    before: int = 0

    @property
    def counting(self) -> int:
        """Those that count against the limit."""
        return self.made - self.before


@dataclass
class Calculations:
    """The one way to a label: out of the store, or by a calculation whose outcome goes into the store.

    Use ``open_calculations`` to get one. May be asked from several threads.
    """

    settings: Label
    store: Store
    labels: Ledger
    outputs: Ledger
    scratch: Path
    memory_mb: int = 0
    made: int = 0
    found: int = 0
    _writing: Lock = field(default_factory=Lock)
    _stopping: Event = field(default_factory=Event)
    _slots: Queue[tuple[int, ...]] = field(default_factory=Queue)

    def __post_init__(self) -> None:
        for cpus in supervise.share_cores(self.settings.parallel, self.settings.cores):
            self._slots.put(cpus)

    def outcomes(self, groups: Iterable[Sequence[Task]]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of each group of tasks, in order; a group is one geometry at several levels.

        What no campaign on this store ever calculated is calculated: the tasks of a group one after the
        other, ``label.parallel`` groups side by side. When this generator is closed or fails, calculations
        that run are stopped and count for nothing.
        """
        with ThreadPoolExecutor(self.settings.parallel) as threads:
            futures = [threads.submit(self._outcomes, tasks) for tasks in groups]
            try:
                for future in futures:
                    yield future.result()
            finally:
                self._stopping.set()
                threads.shutdown(wait=False, cancel_futures=True)
                while not all(future.done() for future in futures):
                    supervise.stop_all()  # again: a program may have been about to start
                    time.sleep(_POLL_S)

    def _outcomes(self, tasks: Sequence[Task]) -> list[Outcome]:
        cpus = self._slots.get()
        handover = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            return [self._outcome(task, handover, cpus) for task in tasks]
        finally:
            shutil.rmtree(handover)
            self._slots.put(cpus)

    def _outcome(self, task: Task, handover: Path, cpus: tuple[int, ...]) -> Outcome:
        key, order = content_key(task), canonical_order(task.numbers, task.positions)
        known = self._known(key)
        if known is None or isinstance(known, Requeued):
            outcome = self._unknown(task, key, order, handover, cpus)
        else:
            outcome = self._with_charges(known, key) if self._wants_charges(task) else known
            self.found += 1
        # from canonical order back to the task's
        return reorder(outcome, np.argsort(order)) if isinstance(outcome, Result) else outcome

    def _unknown(
        self, task: Task, key: str, order: np.ndarray, handover: Path, cpus: tuple[int, ...]
    ) -> Outcome:
        """Calculate, unless all allowed attempts have failed since the last requeue.

        The limit starts anew where memory ran out and there is more now.
        """
        earlier = self._known(failure_key(key))
        attempts = _Attempts()
        if isinstance(earlier, Requeued):
            attempts = _Attempts(earlier.attempts, earlier.attempts)
        elif isinstance(earlier, Failed):
            attempts = _Attempts(earlier.attempts, earlier.before)
            if earlier.reason is FailureReason.OUT_OF_MEMORY and self.memory_mb > earlier.memory_mb:
                attempts.before = attempts.made
            if attempts.counting >= self.settings.attempts:
                return earlier
        sorted_task = replace(
            task,
            numbers=task.numbers[order],
            positions=task.positions[order],
            charges=self._wants_charges(task),
        )
        return self._attempt(sorted_task, key, handover, cpus, attempts)

    def _known(self, key: str) -> Outcome | Requeued | None:
        with self._writing:
            payload = self.store.get(key)
        return from_bytes(payload) if payload else None

    def _wants_charges(self, task: Task) -> bool:
        return bool(self.settings.charges) and not task.isolated

    def _with_charges(self, outcome: Outcome, key: str) -> Outcome:
        """Return a label of the store with its charges; without any it is a label all the same."""
        if isinstance(outcome, Failed):
            return outcome
        with self._writing:
            payload = self.store.get(charges_key(key))
        charges = charges_from_bytes(payload, outcome) if payload else None
        return replace(outcome, charges=charges or Charges(missing=_NO_CHARGES))

    def _attempt(
        self, task: Task, key: str, handover: Path, cpus: tuple[int, ...], attempts: _Attempts
    ) -> Outcome:
        """Calculate until there is a result or attempts are used up.

        Every outcome is durable before the next step.
        """
        while True:
            outcome, kept = self._calculate(task, handover, cpus)
            final = isinstance(outcome, Result) or outcome.reason not in TRANSIENT
            # outputs of a program that was ended may look bad, too
            late = (
                outcome.reason in {*TRANSIENT, FailureReason.BAD_OUTPUT}
                if isinstance(outcome, Failed)
                else outcome.charges is not None and outcome.charges.missing is not None
            )
            if self._stopping.wait(_LATE_S) if late else self._stopping.is_set():
                raise CancelledError
            attempts.made += 1
            if isinstance(outcome, Failed):
                outcome = replace(
                    outcome, attempts=attempts.made, before=attempts.before, memory_mb=self.memory_mb
                )
            with self._writing:
                self.made += 1
                # later than what it replaces, though a machine whose clock is ahead may have written that
                after = self.store.newest(key, failure_key(key), charges_key(key))
                if kept:
                    after = self.outputs.append(key, kept, after)
                if isinstance(outcome, Result) and outcome.charges is not None:
                    # before the label: a job that is killed in between calculates both again
                    after = self.labels.append(charges_key(key), charges_to_bytes(outcome), after)
                self.labels.append(key if final else failure_key(key), to_bytes(outcome), after)
            if final or attempts.counting >= self.settings.attempts:
                return outcome
            if isinstance(outcome, Failed):
                log.warning(
                    "attempt %d failed (%s: %s); trying again", attempts.made, outcome.reason, outcome.detail
                )

    def _calculate(self, task: Task, handover: Path, cpus: tuple[int, ...]) -> tuple[Outcome, bytes]:
        """Make one attempt; return its outcome and the archive of what is kept of it."""
        label = self.settings
        options: Any = label.backend
        with (
            tempfile.TemporaryDirectory(dir=self.scratch) as scratch,
            tempfile.TemporaryDirectory(dir=self.scratch) as keep,
        ):
            workdir = Workdir(Path(scratch), Path(keep), handover, 60 * label.timeout_min, label.cores, cpus)
            outcome = _attempted(plugins.find(BACKENDS, options.kind), task, options, workdir)
            kept = pack(workdir.keep) if label.keep_outputs and any(workdir.keep.iterdir()) else b""
        return outcome, kept


def _attempted(backend: Backend, task: Task, options: Any, workdir: Workdir) -> Outcome:
    """Return the outcome of one attempt, whatever a backend raises.

    One calculation's outputs cost no other its label.

    Raises
    ------
    UserError, ImportError
        No calculation can be made until a person mends what it names: to go on would fail every label.
    """
    try:
        return backend.calculate(task, options, workdir)
    except (UserError, ImportError):
        raise
    except MemoryError:
        return Failed(FailureReason.OUT_OF_MEMORY, "this job's memory was used up while outputs were read")
    except OSError as error:
        where = f" ({Path(error.filename).name})" if error.filename else ""
        return Failed(FailureReason.CRASHED, f"on this machine: {error.strerror or error}{where}")
    except Exception as error:
        log.exception("a calculation's outputs could not be read")
        return Failed(FailureReason.BAD_OUTPUT, f"{type(error).__name__}: {str(error)[:300]}")


@contextmanager
def open_calculations(
    settings: Label, info: CampaignInfo, name: str, work: Path, memory_mb: int = 0
) -> Iterator[Calculations]:
    """Open the label store for one job, which is locked against another job of the same name.

    Parameters
    ----------
    info : CampaignInfo
        Its name, and its stores.
    name : str
        Name of the job, unique in the campaign and the same when it is run again.
    work : Path
        Folder for locks.
    memory_mb : int
        Memory that the job has, MB; 0 if it is not known.
    """
    identity = digest(settings.identity(), info.name)
    segment = f"{name}-{identity}"
    store = stores_at(info.store, info.read_stores, "labels")
    with (
        FileLock(work / f"{segment}.lock"),
        store.writer(segment) as labels,
        Store(Path(info.store) / "outputs").writer(segment) as outputs,
        scratch_folder(settings.scratch) as scratch,
    ):
        store.refresh()
        yield Calculations(settings, store, labels, outputs, scratch, memory_mb)
