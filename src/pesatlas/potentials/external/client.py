"""The client of a worker: starts it, sends batches through shared memory, ends it, starts it anew."""

import json
import logging
import mmap
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pesatlas.errors import UserError
from pesatlas.potentials.external import worker
from pesatlas.potentials.external.options import WorkerOptions

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]

_MOST_DEATHS = 24
"""Deaths in a row, with nothing evaluated in between: bisection of 4,096 structures has 14."""
_TAIL_BYTES = 2000
_SLICE_S = 1.0
_UNWANTED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSAFEPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)
"""Variables that would bring this environment's modules into the other one."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerDiedError(RuntimeError):
    """The worker ended, or was ended because it gave no answer."""


class Structures(NamedTuple):
    """Structures for a worker.

    Attributes
    ----------
    n_atoms : (B,) of each
    numbers : (N,) atomic numbers
    positions : (N, 3) Å
    cells : (B, 3, 3) Å, rows are lattice vectors
    """

    n_atoms: NDArray[np.int64]
    numbers: NDArray[np.int64]
    positions: Floats
    cells: Floats

    def halves(self) -> tuple[Self, Self]:
        """Return the first half of the structures, and the second."""
        k = len(self.n_atoms) // 2
        atom = int(self.n_atoms[:k].sum())
        return (
            type(self)(self.n_atoms[:k], self.numbers[:atom], self.positions[:atom], self.cells[:k]),
            type(self)(self.n_atoms[k:], self.numbers[atom:], self.positions[atom:], self.cells[k:]),
        )


@dataclass
class Described:
    """A distribution in another environment.

    Attributes
    ----------
    versions : of python, the package and its libraries
    checksum : sha256 over the installed files of the package
    licence : as the package states it, or None
    """

    versions: dict[str, str]
    checksum: str
    licence: str | None


class Client:
    """A worker and the memory that it shares; it starts when it is first asked, and again after it died.

    Parameters
    ----------
    options : python, loader and arguments
    device : for the loader's argument {device}
    features : method or module:callable that describes atoms, for encoders
    """

    def __init__(self, options: WorkerOptions, device: str, features: str | None = None) -> None:
        self._options = options
        self._device = device
        self._features = features
        self._memory = _shared_memory()
        self._map: mmap.mmap | None = None
        self._process: _Process | None = None
        self._deaths = 0
        self._answered = 0
        weakref.finalize(self, os.close, self._memory)

    @property
    def who(self) -> str:
        """Loader and environment, for messages."""
        return f"{self._options.loader} in {self._options.python}"

    def describe(self) -> Described:
        """Return what is installed there, without importing it."""
        process = _Process(self._options, self._memory)
        try:
            found = self._checked(
                process.call({"do": "describe", "loader": self._options.loader}, self._timeout)
            )
        except WorkerDiedError as error:
            raise UserError(
                f"{self._options.python} cannot run the worker: {error}. It must be Python 3.10 or newer."
            ) from None
        finally:
            process.end()
        return Described(found["versions"], found["checksum"], found["licence"])

    @cached_property
    def loaded(self) -> dict[str, Any]:
        """Answer of the worker about its model: ``elements`` (or None), ``batched``, ``read`` (files)."""
        self._running()
        return self._description

    def evaluate(self, given: Structures) -> tuple[Floats, Floats, Floats]:
        """Energies (B,) eV, forces (N, 3) eV/Å, stresses (B, 3, 3) eV/Å³, tension positive.

        Raises
        ------
        WorkerDiedError
            If the worker ends or gives no answer in time.
        MemoryError
            If memory runs out there.
        RuntimeError
            If the calculator raises an error.
        UserError
            If what it gives has wrong shapes or lacks something, or if it dies whatever it is asked.
        """
        sizes = {"structures": len(given.n_atoms), "atoms": len(given.numbers)}
        view = self._filled(worker.bytes_of(**sizes), given, 0)
        self._call({"do": "evaluate", **sizes})
        return view["energies"].copy(), view["forces"].copy(), view["stresses"].copy()

    def width(self, numbers: list[int]) -> int:
        """Return how many features an atom has, seen on a crystal of one of these elements."""
        return int(self._call({"do": "width", "numbers": numbers})["width"])

    def features(self, given: Structures, width: int) -> tuple[Floats, dict[int, str]]:
        """Features (N, d) of atoms, and reasons of structures without, by place; raises as ``evaluate``."""
        sizes = {"structures": len(given.n_atoms), "atoms": len(given.numbers)}
        view = self._filled(worker.bytes_of(**sizes, features=width), given, width)
        found = self._call({"do": "features", **sizes, "width": width})
        return view["features"].copy(), {int(k): why for k, why in found["failed"].items()}

    def end(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.end()
            self._process = None

    @property
    def pid(self) -> int | None:
        """Process of the worker, if it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def _timeout(self) -> float:
        return self._options.timeout_s

    def _filled(self, size: int, given: Structures, width: int) -> dict[str, NDArray[Any]]:
        if self._map is None or len(self._map) < size:
            # twice as much: batches grow by a trajectory at a time
            os.ftruncate(self._memory, 2 * size)
            self._map = mmap.mmap(self._memory, 0)
        view: dict[str, NDArray[Any]] = worker.arrays(
            self._map, len(given.n_atoms), len(given.numbers), width
        )
        for name, values in given._asdict().items():
            view[name][...] = values
        return view

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._running()
        try:
            answer = process.call(request, self._timeout)
        except WorkerDiedError as error:
            self.end()
            self._deaths += 1
            log.warning("the worker of %s died: %s", self.who, error)
            if self._deaths >= _MOST_DEATHS:
                raise UserError(
                    f"The worker of {self.who} died {self._deaths} times in a row, for every request: {error}"
                ) from None
            raise
        self._deaths = 0
        return self._checked(answer)

    def _running(self) -> "_Process":
        if self._process is None:
            start = time.monotonic()
            process = _Process(self._options, self._memory)
            request = {
                "do": "load",
                "loader": self._options.loader,
                "arguments": self._options.arguments_on(self._device),
                "device": self._device,
                "features": self._features,
            }
            try:
                self._description = self._checked(process.call(request, self._timeout), loading=True)
            except WorkerDiedError as error:
                raise UserError(f"{self.who} cannot be loaded: its worker {error}") from None
            except BaseException:
                process.end()
                raise
            self._process = process
            log.info(
                "worker of %s: process %d, loaded in %.1f s; %s",
                self.who,
                process.pid,
                time.monotonic() - start,
                "evaluates batches" if self._description["batched"] else "evaluates one structure at a time",
            )
        return self._process

    def _checked(self, answer: dict[str, Any], *, loading: bool = False) -> dict[str, Any]:
        kind = answer.get("error")
        if kind is None:
            return answer
        message = f"{self._options.loader}: {answer['message']}"
        if kind == "contract" or (loading and kind != "memory"):
            raise UserError(
                f"{self.who} cannot be used: {answer['message']}. See loader and arguments of the potential "
                "or encoder of kind external."
            )
        raise MemoryError(message) if kind == "memory" else RuntimeError(message)


class _Process:
    """One process of a worker."""

    def __init__(self, options: WorkerOptions, memory: int) -> None:
        requests, self._outgoing = os.pipe()
        self._incoming, answers = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (requests, answers, memory, lifeline)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        environment = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
        threads = os.environ.get("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
        environment.update({name: os.environ.get(name, threads) for name in _THREADS})
        main_thread = threading.current_thread() is threading.main_thread()
        try:
            self._process = subprocess.Popen(
                [
                    str(options.python.expanduser()),
                    str(Path(worker.__file__).resolve()),
                    *map(str, theirs),
                    str(int(main_thread)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=theirs,
                env=environment,
                # a Ctrl-C is for the job, which ends its worker
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"{options.python} cannot be run: {error}") from None
        finally:
            for each in (requests, answers, lifeline):
                os.close(each)
        self._rest = b""
        self._end = weakref.finalize(
            self, _end, self._process, (self._outgoing, self._incoming, self._lifeline), self._errors
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer to a request.

        Raises
        ------
        WorkerDiedError
            If there is none, for the process ended or was ended after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        try:
            os.write(self._outgoing, (json.dumps(request) + "\n").encode())
        except BrokenPipeError:
            raise WorkerDiedError(self._death()) from None
        poller = select.poll()
        poller.register(self._incoming, select.POLLIN)
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                self._process.kill()
                raise WorkerDiedError(
                    f"gave no answer to '{request['do']}' within {timeout_s:g} s (timeout_s) and was ended"
                    f"{self._last_words()}"
                )
            # a child of the worker could hold the pipe open after it died
            if not poller.poll(1000 * min(left, _SLICE_S)):
                if self._process.poll() is not None:
                    raise WorkerDiedError(self._death())
                continue
            more = os.read(self._incoming, 1 << 16)
            if not more:
                raise WorkerDiedError(self._death())
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the process."""
        self._end()

    def _death(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{how}{self._last_words()}"

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL_BYTES))
        text = self._errors.read().decode(errors="replace").strip()
        return f". Its last words: {text}" if text else ""


def _end(process: "subprocess.Popen[bytes]", pipes: tuple[int, ...], errors: IO[bytes]) -> None:
    for each in pipes:
        os.close(each)
    process.kill()
    process.wait()
    errors.close()


def _shared_memory() -> int:
    """Return a file of memory without a name: it is gone with the last process that has it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pesatlas-worker", os.MFD_CLOEXEC)
    log.info(
        "no anonymous memory on this system: batches for workers go through a file in %s",
        tempfile.gettempdir(),
    )
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
