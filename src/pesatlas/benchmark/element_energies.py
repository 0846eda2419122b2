"""Energies of the elements by the potential itself: the reference of formation energies."""

import gzip
import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import symbol_of
from pesatlas.benchmark.cached_evaluator import CachedEvaluator
from pesatlas.benchmark.structure_sets import read_structure
from pesatlas.dynamics.relax import Relaxed, Settings, Start
from pesatlas.errors import UserError
from pesatlas.storage.ledger import Lock
from pesatlas.tables import FailureReason
from pesatlas.tables.failures import Failure

FILE = "MatPES-PBE-Element-Refs.json.gz"
"""Ground states of 89 elements, 440 atoms in all; a file of matcalc (BSD-3-Clause)."""


def elements_file(data: Path) -> Path:
    """Return the file of elemental crystals: of the folder of data, else the one in matcalc's package.

    Raises
    ------
    UserError
        If there is neither.
    """
    candidates = [data / FILE]
    # matcalc itself is not imported: it would ask the hub for its models
    spec = find_spec("matcalc")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "elemental_refs" / FILE)
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"no {FILE} with the reference crystals of formation energies in {data}. Install it with `pip "
        "install 'pesatlas[benchmark]'`, or put a file of that name there: JSON with a `structure` (or a "
        "list) for each element."
    )


def element_energies(
    evaluator: CachedEvaluator, numbers: Iterable[int], settings: Settings
) -> dict[int, float | Failure]:
    """Relax the elements and return the lowest energy of each (eV/atom), or the failure."""
    if evaluator.elements is None:
        raise ValueError("the bench has no file of elements")
    with gzip.open(evaluator.elements, "rt", encoding="utf-8") as handle:
        known: dict[str, Any] = json.load(handle)
    energies: dict[int, float | Failure] = {}
    crystals: list[tuple[int, Start]] = []
    for number in sorted(set(numbers)):
        described = known.get(symbol_of(number), {}).get("structure", [])
        energies[number] = Failure(
            FailureReason.MISSING_REFERENCE_ATOM,
            f"{evaluator.elements.name} has no crystal of {symbol_of(number)}",
        )
        for each in described if isinstance(described, list) else [described]:
            start, failure = read_structure(each)
            if failure is None:
                crystals.append((number, start))
    # one job relaxes an element, others take it from the store
    with Lock(evaluator.work / "elements.lock"):
        for number, start in crystals:
            (found,) = evaluator.relax([start], settings)
            best = energies[number]
            if isinstance(found, Relaxed):
                energy = found.energy_eV / len(start.numbers)
                energies[number] = energy if isinstance(best, Failure) else min(energy, best)
            elif isinstance(best, Failure):
                energies[number] = Failure(
                    found.reason, f"the crystal of {symbol_of(number)}: {found.detail}"
                )
    return energies
