"""Stability of molecular dynamics: crystals are heated until the trajectory turns unphysical."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.property_options import FromFile

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
FILES = ("md-stability.json.gz", "wbm-equilibrium.json.gz", "wbm-random-pbe52-equilibrium-2025.1.json.gz")
QUANTITIES = {"end_temperature": ("K", "half_life", "")}


class Options(FromFile):
    """NpT at no pressure, the target rising in a straight line.

    It ends at exploded volume, lost or overlapping atoms, heat, NaN.
    """

    kind: Literal["md_stability"] = Field(
        "md_stability",
        description="temperature at which heated dynamics fail; half of all have failed at T1/2 (K)",
    )
    first_K: float = Field(300.0, gt=0, description="temperature at the start (K)")
    last_K: float = Field(2100.0, gt=0, description="temperature at the end (K)")
    length_ps: float = Field(100.0, gt=0, description="time of the ramp (ps)")
    timestep_fs: float = Field(2.0, gt=0, le=10, description="time step (fs)")
    min_length_A: float = Field(
        8.0, ge=0, description="cells are repeated to edges of at least this length (Å)"
    )
    max_volume_ratio: float = Field(
        2.0, gt=1, description="failed when the volume grows or shrinks by this factor"
    )
    min_distance_A: float = Field(0.5, ge=0, description="failed when two atoms are closer (Å)")
    max_jump_A: float = Field(1.0, gt=0, description="failed when an atom moves farther in one step (Å)")
    max_temperature_ratio: float = Field(
        5.0, gt=1, description="failed when it is hotter than its target by this factor"
    )


SUITES = {
    "quick": Options(structures=4, max_atoms=6, length_ps=1.0, min_length_A=5.0),
    "full": Options(structures=172),
}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Heat, and see who survives."""
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.md import Plan, Run  # noqa: PLC0415
    from pesatlas.benchmark.trajectories import repeated, run_all  # noqa: PLC0415
    from pesatlas.config.section import digest  # noqa: PLC0415
    from pesatlas.dynamics.limits import Limits  # noqa: PLC0415
    from pesatlas.dynamics.npt import NpT  # noqa: PLC0415

    steps = max(1, round(1000 * options.length_ps / options.timestep_fs))
    plan = Plan(
        NpT(options.timestep_fs, 100.0, 1000.0, 0.01),
        steps,
        (options.first_K, options.last_K),
        Limits(
            options.max_volume_ratio,
            options.max_jump_A,
            options.min_distance_A,
            temperature_ratio=options.max_temperature_ratio,
        ),
    )
    runs = [
        Run(
            digest("heated", evaluator.identity, case.digest, options.settings(), evaluator.seed, length=32),
            repeated(case.start, options.min_length_A),
            options.first_K,
        )
        for case in cases
    ]
    for ended in run_all(evaluator, runs, plan):
        if ended.outcome is None:
            yield PropertyResult(failure=ended.failure)
            continue
        yield PropertyResult(
            {"end_temperature": ended.temperature_K},
            outcome=ended.outcome,
            detail=f"{ended.steps} of {steps} steps",
        )
