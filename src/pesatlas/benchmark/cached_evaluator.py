"""Batched relaxations and evaluations for properties; relaxations are cached by geometry."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.config.section import digest
from pesatlas.dynamics import relax as fire
from pesatlas.dynamics.relax import Relaxed, Settings, Start
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.oom_retry import evaluate
from pesatlas.potentials.potential import Potential
from pesatlas.storage.ledger import Ledger, Lock
from pesatlas.storage.store import Store
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

PASSING = {FailureReason.OUT_OF_MEMORY, FailureReason.CRASHED}
"""Failures of a machine or a program rather than of the physics.

Never stored, so that the next run tries again.
"""


@dataclass(frozen=True, eq=False)
class Static:
    """Predictions of a potential for one structure.

    Energy in eV, forces (n, 3) in eV/Å, stress (3, 3) in eV/Å³, tension positive.
    """

    energy_eV: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass(frozen=True)
class CachedEvaluator:
    """A potential and what it has done so far.

    Attributes
    ----------
    potential : Potential
    identity : what it is, for keys: name, hash of the weights, options
    store : finished results, by key
    writer : where new ones go
    work : folder for what is under way
    atoms_per_chunk : atoms that are evaluated together
    seed : of random numbers
    elements : file of elemental crystals, or None for matcalc's
    """

    potential: Potential
    identity: list[Any]
    store: Store
    writer: Ledger
    work: Path
    atoms_per_chunk: int
    seed: int
    elements: Path | None = None

    def relax(self, starts: Sequence[Start], settings: Settings) -> list[Relaxed | Failure]:
        """Relax structures, or take what the store has of them; in their order."""
        about = [
            "relax",
            fire.VERSION,
            self.identity,
            [settings.fmax_eV_per_A, settings.max_steps, settings.relax_cell],
        ]
        keys = [
            digest(about, geometry_digest(start.numbers, start.cell, start.positions), length=32)
            for start in starts
        ]
        done: dict[str, Relaxed | Failure]
        # another property's job may need the same: it waits, and takes them from the store
        with Lock(self.work / f"relax-{digest(sorted(keys))}.lock"):
            self.store.refresh()
            stored = {key: self.store.get(key) for key in keys}
            done = {key: _unpack(payload) for key, payload in stored.items() if payload is not None}
            missing = [i for i in range(len(starts)) if keys[i] not in done]
            for group in chunks_by_atoms([len(starts[i].numbers) for i in missing], self.atoms_per_chunk):
                places = [missing[k] for k in group]
                found = fire.relax(self.potential, [starts[i] for i in places], settings)
                for i, result in zip(places, found, strict=True):
                    done[keys[i]] = result
                    if not (isinstance(result, Failure) and result.reason in PASSING):
                        self.writer.append(keys[i], _pack(result))
        return [done[key] for key in keys]

    def relaxed(self, starts: Sequence[Start], options: Any) -> Iterator[Start | Failure]:
        """Yield relaxed structures, or why they are not, in their order.

        ``options`` are those of a property that relaxes.
        """
        found = self.relax(starts, Settings(options.fmax_eV_per_A, options.max_steps))
        for start, each in zip(starts, found, strict=True):
            yield each if isinstance(each, Failure) else Start(start.numbers, each.cell, each.positions)

    def evaluate(self, structures: Sequence[Start]) -> Iterator[Static | Failure]:
        """Evaluate structures; yield one answer for each, in their order."""
        return evaluate_all(self.potential, structures, self.atoms_per_chunk)


def evaluate_all(
    potential: Potential, structures: Sequence[Start], atoms_per_chunk: int
) -> Iterator[Static | Failure]:
    """Evaluate structures, ``atoms_per_chunk`` at a time; yield one answer for each, in their order."""
    for group in chunks_by_atoms([len(s.numbers) for s in structures], atoms_per_chunk):
        batch = fire.to_batch([structures[i] for i in group], potential.device)
        found, failures, _ = evaluate(potential, batch)
        energies, forces, stresses = (x.cpu().numpy() for x in (found.energies, found.forces, found.stresses))
        end = 0
        for k, i in enumerate(group):
            start, end = end, end + len(structures[i].numbers)
            answer = Static(float(energies[k]), forces[start:end], stresses[k])
            if k in failures:
                yield failures[k]
            elif np.isfinite(answer.energy_eV) and np.isfinite(answer.forces).all():
                yield answer
            else:
                yield Failure(FailureReason.NOT_FINITE, "energy, forces or stress are not finite")


def perturbed(start: Start, distance_A: float, seed: int) -> Start:  # noqa: N803 - a unit
    """Move every atom by ``distance_A`` in a random direction that the structure and ``seed`` decide."""
    if distance_A == 0:
        return start
    key = digest("perturb", geometry_digest(start.numbers, start.cell, start.positions), seed)
    directions = np.random.default_rng(int(key, 16)).normal(size=start.positions.shape)
    moves = distance_A * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return Start(start.numbers, start.cell, start.positions + moves)


def _pack(result: Relaxed | Failure) -> bytes:
    if isinstance(result, Failure):
        return json.dumps({"failure": result.as_json()}).encode()
    return json.dumps(
        {
            "cell": result.cell.tolist(),
            "positions": result.positions.tolist(),
            "energy_eV": result.energy_eV,
            "steps": result.steps,
        }
    ).encode()


def _unpack(payload: bytes) -> Relaxed | Failure:
    found = json.loads(payload)
    if "failure" in found:
        return Failure.from_json(found["failure"])
    return Relaxed(np.array(found["cell"]), np.array(found["positions"]), found["energy_eV"], found["steps"])
