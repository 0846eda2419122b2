"""Ionic conductivity from mean squared displacements of the mobile ions (Nernst-Einstein)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from pesatlas.config.property_options import FromFile

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.md import Ended, Run
    from pesatlas.benchmark.structure_sets import Sources

VERSION = 1
_FRAMES_OF_BLOCK = 8
FILES = ("ionic-conductivity.json.gz", "ionic-conductivity.json")
QUANTITIES = {"log10_conductivity": ("log10(S/cm)", "mae", "log10_conductivity_S_per_cm")}
_NEEDED = ("ion", "charge", "temperature_K")
ON_REQUEST = True
"""matcalc has no such set, so that no suite has it.

It is measured where a file of conductivities is given.
"""


class Options(FromFile):
    """NVT at the temperature of the entry.

    Entries have ``ion`` (a symbol), ``charge``, ``temperature_K`` and the reference.
    """

    kind: Literal["conductivity"] = Field(
        "conductivity", description="log10 of the ionic conductivity (S/cm)"
    )
    length_ps: float = Field(100.0, gt=0, description="length of the trajectory (ps)")
    equilibration_ps: float = Field(10.0, ge=0, description="equilibration time at the start, not used (ps)")
    timestep_fs: float = Field(2.0, gt=0, le=10, description="time step (fs)")
    frame_fs: float = Field(100.0, gt=0, description="time between the positions that are used (fs)")
    min_length_A: float = Field(
        10.0, ge=0, description="cells are repeated to edges of at least this length (Å)"
    )
    blocks: int = Field(5, ge=2, description="pieces of the trajectory; their scatter gives the error")

    @property
    def steps(self) -> int:
        """Steps of the trajectory."""
        return round(1000 * self.length_ps / self.timestep_fs)

    @property
    def every(self) -> int:
        """Steps between the positions that are used."""
        return max(1, round(self.frame_fs / self.timestep_fs))

    @model_validator(mode="after")
    def _blocks_have_frames(self) -> Self:
        frames = (self.length_ps - self.equilibration_ps) * 1000 / (self.every * self.timestep_fs)
        if frames / self.blocks < _FRAMES_OF_BLOCK + 1:
            raise ValueError(
                f"length_ps: after equilibration {max(frames, 0):.0f} positions are left, too few for "
                f"{self.blocks} blocks of {_FRAMES_OF_BLOCK}; make it longer, or frame_fs shorter"
            )
        return self


SUITES = {
    "quick": Options(structures=1, length_ps=2.0, equilibration_ps=0.5, frame_fs=20.0),
    "full": Options(),
}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals, ions and references."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    references = {"log10_conductivity": QUANTITIES["log10_conductivity"][2]}
    return cases_of_file(options, sources, FILES, references, _conditions, _NEEDED)


def _conditions(entry: dict[str, Any]) -> dict[str, Any]:
    from pesatlas.atoms.elements import atomic_number  # noqa: PLC0415 - as the others

    temperature = float(entry["temperature_K"])
    if temperature <= 0:
        raise ValueError("temperature_K must be above 0")
    return {
        "ion": atomic_number(entry["ion"]),
        "charge": float(entry["charge"]),
        "temperature_K": temperature,
    }


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Run at the temperature of each case, and follow the ions."""
    from math import inf  # noqa: PLC0415 - as the others

    from pesatlas.benchmark.md import Plan, Run  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.trajectories import repeated, run_all  # noqa: PLC0415
    from pesatlas.config.section import digest  # noqa: PLC0415
    from pesatlas.dynamics.limits import Limits  # noqa: PLC0415
    from pesatlas.dynamics.npt import NpT  # noqa: PLC0415

    npt = NpT(options.timestep_fs, 100.0, inf, 0.01)
    for case in cases:
        what = [evaluator.identity, case.digest, case.conditions, options.settings(), evaluator.seed]
        temperature = float(case.conditions["temperature_K"])
        run = Run(
            digest("diffusion", what, length=32), repeated(case.start, options.min_length_A), temperature
        )
        plan = Plan(npt, options.steps, (temperature, temperature), Limits(), options.every)
        (ended,) = run_all(evaluator, [run], plan)
        yield _of_trajectory(run, ended, case, options)


def _of_trajectory(run: "Run", ended: "Ended", case: "BenchmarkItem", options: Options) -> "PropertyResult":
    import numpy as np  # noqa: PLC0415 - every command reads this module

    from pesatlas.benchmark.diffusion import conductivity, diffusion  # noqa: PLC0415
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415 - heavy
    from pesatlas.dynamics.ends import SURVIVED  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    if ended.outcome is None:
        return PropertyResult(failure=ended.failure)
    if ended.outcome != SURVIVED:
        detail = f"the dynamics ended after {ended.steps} of {options.steps} steps: {ended.outcome}"
        return PropertyResult(failure=Failure(FailureReason.NOT_FINITE, detail), outcome=ended.outcome)
    mobile = run.start.numbers == case.conditions["ion"]
    if not mobile.any():
        return PropertyResult(failure=Failure(FailureReason.BAD_OUTPUT, "no such ion in the crystal"))
    frames = ended.frames[round(1000 * options.equilibration_ps / options.timestep_fs / options.every) :]
    if not mobile.all():
        # the centre of mass is at rest, not the host: ions are followed relative to it
        frames = frames - frames[:, ~mobile].mean(1, keepdims=True)
    found = diffusion(frames[:, mobile], options.every * options.timestep_fs, options.blocks)
    volume = abs(float(np.linalg.det(run.start.cell)))
    sigma, error = conductivity(
        found, int(mobile.sum()), volume, case.conditions["charge"], run.temperature_K
    )
    if sigma <= error:
        detail = f"no diffusion seen within {options.length_ps:g} ps: {sigma:.2g} ± {error:.2g} S/cm"
        return PropertyResult(failure=Failure(FailureReason.NOT_CONVERGED, detail))
    return PropertyResult(
        {"log10_conductivity": float(np.log10(sigma))}, detail=f"{sigma:.3g} ± {error:.2g} S/cm"
    )
