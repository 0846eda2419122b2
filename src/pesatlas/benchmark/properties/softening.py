"""Softening: slope of the potential's forces against DFT forces, on held-out frames far from equilibrium.

Universal potentials underestimate forces by a common factor: Deng et al. 2025,
doi:10.1038/s41524-024-01500-6.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.property_options import FromFrames

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
QUANTITIES = {"force_slope": ("", "ratio", "")}
NEEDS_DATASET = True
_LEAST_FORCE = 1e-3
"""eV/Å, root mean square of the reference.

Below, forces are what is left of convergence, and have no slope.
"""


class Options(FromFrames):
    """Frames of the test split: slope of forces by least squares through the origin, of each frame."""

    kind: Literal["softening"] = Field("softening", description="slope of forces against those of DFT")
    frames: int | None = Field(
        1000, ge=1, description="number of frames at most, chosen at random; null: all"
    )


SUITES = {"quick": Options(frames=50), "full": Options()}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the frames."""
    from pesatlas.benchmark.held_out import held_out  # noqa: PLC0415 - heavy

    return held_out(sources, options.frames)


def measure(
    cases: "list[BenchmarkItem]",
    options: Options,  # noqa: ARG001
    evaluator: "CachedEvaluator",
) -> "Iterator[PropertyResult]":
    """Evaluate, and fit the slope."""
    from pesatlas.benchmark.cached_evaluator import Static  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    for case, answer in zip(cases, evaluator.evaluate([case.start for case in cases]), strict=True):
        forces = case.arrays["forces"]
        if not isinstance(answer, Static):
            yield PropertyResult(failure=answer)
        elif (forces**2).mean() ** 0.5 < _LEAST_FORCE:
            yield PropertyResult(
                failure=Failure(
                    FailureReason.NO_REFERENCE, "the forces of the reference are zero by symmetry"
                )
            )
        else:
            yield PropertyResult({"force_slope": float((answer.forces * forces).sum() / (forces**2).sum())})
