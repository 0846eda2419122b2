"""The interface of a labelling backend: what it receives and returns."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pesatlas.levels.level import Level
from pesatlas.tables import FailureReason

# What a machine did, not what the structure is: worth another attempt.
TRANSIENT = frozenset({FailureReason.CRASHED, FailureReason.TIMEOUT, FailureReason.OUT_OF_MEMORY})


@dataclass(frozen=True)
class Task:
    """One calculation.

    Attributes
    ----------
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors
    positions : (n, 3) Å
    level : at which level
    isolated : an atom alone in its box, for cohesive energies
    charges : whether Bader charges are wanted with the label; they change no number of it
    """

    numbers: np.ndarray
    cell: np.ndarray
    positions: np.ndarray
    level: Level
    isolated: bool = False
    charges: bool = False


@dataclass(frozen=True)
class Workdir:
    """Folders and resources of one attempt at a calculation.

    Attributes
    ----------
    scratch : empty folder on the node, removed afterwards
    keep : empty folder; what is left there is archived with the outcome
    handover : folder that the levels of one geometry share while they are calculated one after the other,
        e.g. for a wavefunction; may be empty where a level before was taken from the store
    timeout_s : longest time for the attempt, s
    cores : how many cores it may use
    cpus : which; empty if they are not assigned
    """

    scratch: Path
    keep: Path
    handover: Path
    timeout_s: float
    cores: int = 1
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Charges:
    """Bader charges of a calculation, in the task's order of atoms; or why there are none.

    Attributes
    ----------
    electrons : valence electrons in the Bader volume of each atom, as ``bader_charges`` of MatPES
    net_e : charge of each atom, e: valence electrons of the free atom less ``electrons``
    magmoms_muB : electrons of the first spin less those of the second in each volume, μB; None without spin
    method : method with its version, and the densities
    missing : why there are none; None if there are
    """

    electrons: list[float] | None = None
    net_e: list[float] | None = None
    magmoms_muB: list[float] | None = None
    method: str | None = None
    missing: str | None = None

    def in_order(self, order: Sequence[int] | np.ndarray) -> "Charges":
        """Return the charges with atom ``i`` of the new ones being atom ``order[i]`` of these."""
        return replace(
            self,
            electrons=sort(self.electrons, order),
            net_e=sort(self.net_e, order),
            magmoms_muB=sort(self.magmoms_muB, order),
        )


def sort(values: list[float] | None, order: Sequence[int] | np.ndarray) -> list[float] | None:
    """Return values of atoms in another order; None if there are none."""
    return None if values is None else [values[i] for i in order]


@dataclass(frozen=True)
class Result:
    """A finished calculation, in the units of the tables; forces and moments in the task's order of atoms.

    Attributes
    ----------
    corrections : what was changed, by a program, to make the calculation succeed
    quarantine_reasons : why the label must not enter a dataset although it is finished, e.g. a correction of
        what defines its level
    charges : what ``Task.charges`` asked for; None if it did not
    """

    energy_eV: float
    free_energy_eV: float
    forces_eV_per_A: list[list[float]]
    stress_eV_per_A3: list[float]
    magmoms_muB: list[float] | None
    band_gap_eV: float | None
    scf_steps: int
    converged: bool
    corrections: list[str]
    pseudopotentials: dict[str, str]
    settings: dict[str, Any]
    wall_s: float
    quarantine_reasons: list[str] = field(default_factory=list)
    charges: Charges | None = None


@dataclass(frozen=True)
class Failed:
    """A calculation without a result, and why.

    Attributes
    ----------
    attempts : how many were made in all
    before : how many of them were made before it was last put back into the queue; they do not count against
        the limit
    memory_mb : memory of the job of the last attempt, MB; 0 if it is not known
    """

    reason: FailureReason
    detail: str
    attempts: int = 1
    before: int = 0
    memory_mb: int = 0


Outcome = Result | Failed


@dataclass(frozen=True)
class Requeued:
    """A requeued calculation: it is calculated as if unknown, and stays on record.

    Attributes
    ----------
    reason : why it had failed; quarantined for a label that a dataset would not take
    detail : the same, in a sentence
    attempts : how many were made until then
    at : when, seconds since 1970
    """

    reason: FailureReason
    detail: str
    attempts: int
    at: float


class Backend(Protocol):
    """A module in ``pesatlas.label.backends``."""

    def calculate(self, task: Task, options: Any, workdir: Workdir) -> Outcome:
        """Prepare, run, parse and verify one calculation; failures are returned, not raised.

        Called from several threads.
        """
        ...


_STORED = {"quarantine_reasons": "objections"}
"""Names in records that differ from those here: stores outlive versions, and versions share stores."""
_READ = {stored: name for name, stored in _STORED.items()}


def to_bytes(outcome: Outcome | Requeued) -> bytes:
    """Write a record for the store; charges have their own: see ``charges_to_bytes``."""
    raw = {_STORED.get(name, name): value for name, value in asdict(outcome).items()}
    raw.pop("charges", None)
    return json.dumps({"kind": type(outcome).__name__, **raw}).encode()


def from_bytes(payload: bytes) -> Outcome | Requeued:
    """Read what ``to_bytes`` wrote."""
    raw = {_READ.get(name, name): value for name, value in json.loads(payload).items()}
    kind = raw.pop("kind")
    if kind == "Result":
        return Result(**raw)
    raw["reason"] = FailureReason(raw["reason"])
    return Requeued(**raw) if kind == "Requeued" else Failed(**raw)


def charges_to_bytes(result: Result) -> bytes:
    """Write the record of a result's charges.

    It has the energy of its label, which tells a label that was calculated again since.
    """
    assert result.charges is not None
    return json.dumps(
        {"kind": "Charges", "energy_eV": result.energy_eV, "charges": asdict(result.charges)}
    ).encode()


def charges_from_bytes(payload: bytes, result: Result) -> Charges | None:
    """Read what ``charges_to_bytes`` wrote; None if it is of another calculation than ``result``."""
    raw = json.loads(payload)
    return Charges(**raw["charges"]) if raw["energy_eV"] == result.energy_eV else None
