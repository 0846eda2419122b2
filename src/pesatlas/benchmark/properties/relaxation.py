"""Relaxation: distance between the atomic environments of relaxed crystals and those that DFT found."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.property_options import Displaced

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
FILES = ("wbm-equilibrium.json.gz", "wbm-random-pbe52-equilibrium-2025.1.json.gz")
QUANTITIES = {"distance": ("", "mean", "")}
"""Unit, statistic and key of the reference of each quantity."""


class Options(Displaced):
    """Fingerprint distance of crystals displaced by ``perturb_A`` and relaxed to those of the file."""

    kind: Literal["relaxation"] = Field(
        "relaxation", description="fingerprint distance d of relaxed crystals"
    )


SUITES = {"quick": Options(structures=20, max_atoms=12), "full": Options()}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Relax, and take the distance of fingerprints."""
    import numpy as np  # noqa: PLC0415 - every command reads this module

    from pesatlas.benchmark.cached_evaluator import perturbed  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.fingerprint import fingerprint  # noqa: PLC0415
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.dynamics.relax import Relaxed, Settings, Start  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    starts = [perturbed(case.start, options.perturb_A, evaluator.seed) for case in cases]
    settings = Settings(options.fmax_eV_per_A, options.max_steps)
    for case, found in zip(cases, evaluator.relax(starts, settings), strict=True):
        if not isinstance(found, Relaxed):
            yield PropertyResult(failure=found)
            continue
        relaxed = Start(case.start.numbers, found.cell, found.positions)
        try:
            distance = float(np.linalg.norm(fingerprint(relaxed) - fingerprint(case.start)))
        except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
            # pymatgen gives up on crystals without neighbours and the like
            yield PropertyResult(failure=Failure(FailureReason.BAD_OUTPUT, f"no fingerprint: {error}"))
        else:
            yield PropertyResult({"distance": distance}, detail=f"{found.steps} steps")
