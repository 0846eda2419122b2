"""Measure a property of a potential: from structures to rows of table ``scores``, cached by structure."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pesatlas import __version__
from pesatlas.benchmark.benchmarked import BenchmarkedPotential
from pesatlas.benchmark.cached_evaluator import PASSING, CachedEvaluator
from pesatlas.benchmark.element_energies import elements_file
from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
from pesatlas.benchmark.structure_sets import Sources
from pesatlas.config.benchmark import PROPERTIES, Benchmark
from pesatlas.config.plugins import find
from pesatlas.config.section import digest
from pesatlas.dynamics import npt
from pesatlas.dynamics import relax as fire
from pesatlas.dynamics.ends import current_name
from pesatlas.potentials.chunks import chunks_by_atoms
from pesatlas.potentials.device import check_device
from pesatlas.potentials.loading import load_potential
from pesatlas.potentials.potential import Potential, unknown_elements
from pesatlas.runtime.progress import Progress
from pesatlas.storage.store import Store
from pesatlas.tables import FailureReason, write_table
from pesatlas.tables.failures import Failure

log = logging.getLogger(__name__)

_ATOMS_ON_CPU, _ATOMS_ON_GPU = 256, 8192


@dataclass(frozen=True)
class Workspace:
    """Store and work folder of a measurement, and its batch size.

    Attributes
    ----------
    store : folder of finished results; campaigns may share one
    work : folder for what is under way
    atoms_per_chunk : atoms that are evaluated together
    """

    store: Path
    work: Path
    atoms_per_chunk: int

    @classmethod
    def on(cls, device: str, store: Path, work: Path) -> "Workspace":
        """Return the place with as many atoms together as suit a device.

        What does not fit into its memory is halved.
        """
        return cls(store, work, _ATOMS_ON_CPU if device == "cpu" else _ATOMS_ON_GPU)


def check_data(properties: Iterable[Any], sources: Sources) -> None:
    """Check that the data of all ``properties`` are there, before any calculation.

    Raises
    ------
    UserError
        If data are missing or of another form.
    """
    for options in properties:
        module = find(PROPERTIES, options.kind)
        module.cases(options, sources)
        if getattr(module, "NEEDS_ELEMENTS", False):
            elements_file(sources.data)


def measure(
    benchmarked: BenchmarkedPotential,
    potential: Potential,
    options: Any,
    sources: Sources,
    workspace: Workspace,
    *,
    share: slice = slice(None),
    label: str = "all",
) -> list[dict[str, Any]]:
    """Return rows of table ``scores`` of one potential and property, in the order of the cases.

    What the store has is not computed again.

    Parameters
    ----------
    benchmarked, potential : the potential
    options : of one of the properties
    sources : structures and references
    workspace : where results are kept
    share : which of the cases
    label : of the share; two jobs of one label wait for each other

    Raises
    ------
    UserError
        If the data are missing or of another form.
    """
    module = find(PROPERTIES, options.kind)
    cases: list[BenchmarkItem] = module.cases(options, sources)[share]
    identity = [potential.name, potential.weights_hash, benchmarked.options.identity()]
    elements = elements_file(sources.data) if getattr(module, "NEEDS_ELEMENTS", False) else None
    decides: list[Any] = [
        "benchmark",
        options.kind,
        [module.VERSION, fire.VERSION, npt.VERSION],
        identity,
        options.settings(),
        sources.seed,
        sha256(elements.read_bytes()).hexdigest() if elements else None,
    ]
    keys = [digest(decides, case.digest, case.conditions, length=32) for case in cases]
    store = Store(workspace.store)
    with store.writer(f"benchmark-{digest(decides)}-{label}") as writer:
        store.refresh()
        evaluator = CachedEvaluator(
            potential,
            identity,
            store,
            writer,
            workspace.work,
            workspace.atoms_per_chunk,
            sources.seed,
            elements,
        )
        found = _all(
            module,
            cases,
            keys,
            options=options,
            evaluator=evaluator,
            benchmarked=benchmarked,
            sources=sources,
        )
    about: dict[str, Any] = {
        "benchmarked": benchmarked,
        "potential": potential,
        "options": options,
        "sources": sources,
    }
    return [
        row
        for case, (result, wall_s) in zip(cases, found, strict=True)
        for row in _rows(module, case, result, wall_s, **about)
    ]


def _all(
    module: Any,
    cases: Sequence[BenchmarkItem],
    keys: Sequence[str],
    *,
    options: Any,
    evaluator: CachedEvaluator,
    benchmarked: BenchmarkedPotential,
    sources: Sources,
) -> list[tuple[PropertyResult, float]]:
    """Measure all that the store does not have; return results with their wall times."""
    kept = getattr(module, "KEPT", True)
    done: dict[int, tuple[PropertyResult, float]] = {}
    for i, (case, key) in enumerate(zip(cases, keys, strict=True)):
        refused = _refused(module, case, evaluator.potential, benchmarked, sources)
        payload = evaluator.store.get(key) if kept and refused is None else None
        if refused is not None:
            done[i] = PropertyResult(failure=refused), 0.0
        elif payload is not None:
            done[i] = _unpack(payload)
    progress = Progress(f"{options.kind} of {benchmarked.name}", len(cases))
    progress.step(len(done), failed=sum(result.failure is not None for result, _ in done.values()))
    # groups have the same members whatever is done already: who is evaluated together decides the last bits
    for group in chunks_by_atoms([len(case.start.numbers) for case in cases], evaluator.atoms_per_chunk):
        missing = [i for i in group if i not in done]
        if not missing:
            continue
        start = time.perf_counter()
        for i, result in zip(
            missing, module.measure([cases[i] for i in missing], options, evaluator), strict=True
        ):
            now = time.perf_counter()
            done[i], start = (result, now - start), now
            if kept and not (result.failure and result.failure.reason in PASSING):
                evaluator.writer.append(keys[i], _pack(*done[i]))
            progress.step(failed=int(result.failure is not None))
    return [done[i] for i in range(len(cases))]


def _refused(
    module: Any,
    case: BenchmarkItem,
    potential: Potential,
    benchmarked: BenchmarkedPotential,
    sources: Sources,
) -> Failure | None:
    """Return why an item is not evaluated; None if it is."""
    if case.failure is not None:
        return case.failure
    unknown = unknown_elements(potential, case.start.numbers)
    if unknown:
        return unknown
    if getattr(module, "SAME_LEVEL", False) and benchmarked.own:
        fingerprint = case.conditions.get("level_fingerprint")
        if benchmarked.level != sources.level:
            why = f"it was trained at {benchmarked.level}, these labels are {sources.level}"
        elif benchmarked.fingerprints and fingerprint not in benchmarked.fingerprints:
            why = (
                f"it was trained at another {benchmarked.level}: its card does not have the fingerprint "
                f"{fingerprint}"
            )
        else:
            return None
        return Failure(FailureReason.WRONG_LEVEL, why)
    return None


def _rows(
    module: Any,
    case: BenchmarkItem,
    result: PropertyResult,
    wall_s: float,
    *,
    benchmarked: BenchmarkedPotential,
    potential: Potential,
    options: Any,
    sources: Sources,
) -> list[dict[str, Any]]:
    rows = []
    for name, (unit, _, column) in module.QUANTITIES.items():
        value, reference = result.values.get(name), case.references.get(name)
        failure = result.failure
        if value is None and failure is None:
            failure = Failure(FailureReason.BAD_OUTPUT, "the property gave no such value")
        if value is not None and column and reference is None:
            failure = Failure(FailureReason.NO_REFERENCE, f"its data give no {column}")
        rows.append(
            {
                "potential": benchmarked.name,
                "potential_hash": potential.weights_hash,
                "potential_level": benchmarked.level,
                "property": options.kind,
                "quantity": name,
                "unit": unit,
                "structure_id": case.structure_id,
                "formula": case.formula,
                "value": value,
                "reference": reference,
                "error": None if value is None or reference is None else abs(value - reference),
                "reason": failure.reason.value if failure else None,
                "outcome": result.outcome,
                "detail": failure.detail if failure else result.detail,
                "reference_column": _column(module, column, sources),
                "settings": digest(options.settings(), module.VERSION),
                "wall_s": wall_s,
                "code_version": __version__,
            }
        )
    return rows


def _column(module: Any, column: str, sources: Sources) -> str:
    """Return the reference of a value: its key in the file, or the level of frames."""
    if getattr(module, "NEEDS_DATASET", False):
        return sources.level or ""
    return str(module.reference_key(sources)) if column and hasattr(module, "reference_key") else column


def run_benchmark(
    settings: Benchmark,
    benchmarked: BenchmarkedPotential,
    kind: str,
    shard: int,
    *,
    level: str,
    seed: int,
    store: Path,
    dataset: Path,
    work: Path,
    scores: Path,
) -> None:
    """Measure one property of one potential on a share of the structures; write table ``scores``.

    Parameters
    ----------
    benchmarked : the potential
    kind : name of the property
    shard : which share: every so many-th structure from this one on
    level, dataset : reference level of the benchmarks, and table ``dataset`` of it
    seed : of what a property samples
    store : folder of what is never calculated twice
    work : folder for what is under way
    scores : table to write

    Raises
    ------
    UserError
        If the potential cannot be loaded, or data are missing or of another form.
    """
    check_device(settings.device, "benchmark.device")
    options = settings.chosen()[kind]
    sources = Sources(settings.folder, dataset, level, benchmarked.corrected, seed)
    loaded = load_potential(benchmarked.options, settings.device)
    workspace = Workspace.on(settings.device, store / "benchmark", work)
    jobs = settings.jobs(options)
    rows = measure(
        benchmarked, loaded, options, sources, workspace, share=slice(shard, None, jobs), label=f"{shard:05d}"
    )
    failed = sum(row["reason"] is not None for row in rows)
    write_table(
        scores,
        "scores",
        rows,
        digest(options.identity(), benchmarked.name, loaded.weights_hash, shard, jobs),
        {"scores": len(rows), "scores_failed": failed},
    )
    log.info("%s of %s: %d rows, %d without a value", kind, benchmarked.name, len(rows), failed)


def _pack(result: PropertyResult, wall_s: float) -> bytes:
    failure = result.failure.as_json() if result.failure else None
    return json.dumps(
        {
            "values": result.values,
            "failure": failure,
            "outcome": result.outcome,
            "detail": result.detail,
            "wall_s": wall_s,
        }
    ).encode()


def _unpack(payload: bytes) -> tuple[PropertyResult, float]:
    found = json.loads(payload)
    failure = Failure.from_json(found["failure"]) if found["failure"] else None
    outcome = current_name(found["outcome"]) if found["outcome"] else None
    return PropertyResult(found["values"], failure, outcome, found["detail"]), found["wall_s"]
