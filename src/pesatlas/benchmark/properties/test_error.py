"""Errors of energy, forces and stress on the held-out frames of a campaign."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.property_options import FromFrames

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
QUANTITIES = {
    "energy_error": ("eV/atom", "mean", ""),
    "force_error": ("eV/Å", "mean", ""),
    "stress_error": ("GPa", "mean", ""),
}
NEEDS_DATASET = True
SAME_LEVEL = True
"""Errors against labels of another level would be differences between two theories."""


class Options(FromFrames):
    """Frames of the test split of the level that the potential was trained at.

    A frame has the mean of its components.
    """

    kind: Literal["test_error"] = Field(
        "test_error", description="errors of energy (eV/atom), forces (eV/Å), stress (GPa)"
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
    """Evaluate, and take absolute differences."""
    import numpy as np  # noqa: PLC0415 - every command reads this module

    from pesatlas.atoms.units import EV_PER_A3_TO_GPA  # noqa: PLC0415
    from pesatlas.benchmark.cached_evaluator import Static  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.potentials.potential import VOIGT  # noqa: PLC0415

    for case, answer in zip(cases, evaluator.evaluate([case.start for case in cases]), strict=True):
        if not isinstance(answer, Static):
            yield PropertyResult(failure=answer)
            continue
        energy = abs(answer.energy_eV - float(case.arrays["energy"])) / len(case.start.numbers)
        forces = float(np.abs(answer.forces - case.arrays["forces"]).mean())
        stress = float(np.abs(answer.stress[VOIGT] - case.arrays["stress"]).mean()) * EV_PER_A3_TO_GPA
        yield PropertyResult({"energy_error": energy, "force_error": forces, "stress_error": stress})
