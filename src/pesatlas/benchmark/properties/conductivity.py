"""Ionic conductivity: mean squared displacements of the mobile ions, by Nernst and Einstein."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pesatlas.config.properties import FromFile

if TYPE_CHECKING:
    from pesatlas.benchmark.bench import Bench
    from pesatlas.benchmark.case import Case, Measured
    from pesatlas.benchmark.sources import Sources

VERSION = 1
FILES = ("ionic-conductivity.json.gz", "ionic-conductivity.json")
QUANTITIES = {"log10_conductivity": ("log10(S/cm)", "mae", "log10_conductivity_S_per_cm")}
ON_REQUEST = True
"""matcalc has no such set, so that no suite has it: it is measured where a file of conductivities is given."""


class Options(FromFile):
    """NVT at the temperature of the entry; entries have ``ion`` (a symbol), ``charge``, ``temperature_K`` and the reference."""

    kind: Literal["conductivity"] = Field("conductivity", description="log10 of the ionic conductivity (S/cm)")
    length_ps: float = Field(100.0, gt=0, description="length of the trajectory (ps)")
    equilibration_ps: float = Field(10.0, ge=0, description="time at its start that is not used (ps)")
    timestep_fs: float = Field(2.0, gt=0, le=10, description="time step (fs)")
    frame_fs: float = Field(100.0, gt=0, description="time between the positions that are used (fs)")
    min_length_A: float = Field(10.0, ge=0, description="cells are repeated until their edges are as long (Å)")
    blocks: int = Field(5, ge=2, description="pieces of the trajectory, whose scatter is the error")


SUITES = {"quick": Options(structures=1, length_ps=2.0, equilibration_ps=0.5, frame_fs=20.0), "full": Options()}


def cases(options: Options, sources: "Sources") -> "list[Case]":
    """Read the crystals, ions and references."""
    from dataclasses import replace  # noqa: PLC0415 - as the others

    from pesatlas.benchmark.sources import choose, find_file, identifier, read_cases, read_entries  # noqa: PLC0415
    from pesatlas.elements import atomic_number  # noqa: PLC0415
    from pesatlas.errors import UserError  # noqa: PLC0415

    path = find_file(sources.data, FILES, options.file, "conductivity")
    reference = QUANTITIES["log10_conductivity"][2]
    needed = ("ion", "charge", "temperature_K", reference)
    entries = {identifier(e): e for e in choose(read_entries(path, needed), options.structures, options.max_atoms)}
    found = []
    for case in read_cases(path, {"log10_conductivity": reference}, options.structures, options.max_atoms):
        entry = entries[case.structure_id]
        try:
            conditions = {
                "ion": atomic_number(entry["ion"]),
                "charge": float(entry["charge"]),
                "temperature_K": float(entry["temperature_K"]),
            }
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: entry {case.structure_id}: {error}. Correct it.") from None
        if conditions["temperature_K"] <= 0:
            raise UserError(f"{path}: entry {case.structure_id}: temperature_K has to be above 0.")
        found.append(replace(case, conditions=conditions))
    return found


def measure(cases: "list[Case]", options: Options, bench: "Bench") -> "Iterator[Measured]":
    """Run, and follow the ions."""
    import numpy as np  # noqa: PLC0415 - every command reads this module

    from pesatlas.benchmark.case import Measured  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.diffusion import conductivity, diffusion  # noqa: PLC0415
    from pesatlas.benchmark.md import End, Limits, Plan, Run  # noqa: PLC0415
    from pesatlas.benchmark.trajectories import repeated, run_all  # noqa: PLC0415
    from pesatlas.config.section import digest  # noqa: PLC0415
    from pesatlas.dynamics.npt import NpT  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    every = max(1, round(options.frame_fs / options.timestep_fs))
    steps = round(1000 * options.length_ps / options.timestep_fs)
    first = round(1000 * options.equilibration_ps / options.timestep_fs / every)
    for case in cases:
        temperature = case.conditions["temperature_K"]
        plan = Plan(
            NpT(options.timestep_fs, 100.0, np.inf, 0.01), steps, lambda _, t=temperature: t, Limits(), every
        )
        start = repeated(case.start, options.min_length_A)
        key = digest("diffusion", bench.identity, case.digest, case.conditions, options.settings(), bench.seed, length=32)
        (ended,) = run_all(bench, [Run(key, start, temperature)], plan)
        if isinstance(ended.end, Failure):
            yield Measured(failure=ended.end)
            continue
        if ended.end is not End.SURVIVED:
            detail = f"the dynamics ended after {ended.steps} of {steps} steps: {ended.end.value}"
            yield Measured(failure=Failure(FailureReason.NOT_FINITE, detail), outcome=ended.end.value)
            continue
        mobile = start.numbers == case.conditions["ion"]
        if not mobile.any():
            yield Measured(failure=Failure(FailureReason.BAD_OUTPUT, "no such ion in the crystal"))
            continue
        ions = ended.frames[first:, mobile] - ended.frames[first:, ~mobile].mean(1, keepdims=True) if (~mobile).any() else ended.frames[first:]
        found = diffusion(ions, every * options.timestep_fs, options.blocks)
        sigma, error = conductivity(
            found, int(mobile.sum()), abs(np.linalg.det(start.cell)), case.conditions["charge"], temperature
        )
        if sigma <= 0:
            detail = f"no diffusion within {options.length_ps:g} ps: D = {found.value:.2g} ± {found.error:.2g} Å²/fs"
            yield Measured(failure=Failure(FailureReason.NOT_CONVERGED, detail))
        else:
            yield Measured(
                {"log10_conductivity": float(np.log10(sigma))}, detail=f"{sigma:.3g} ± {error:.2g} S/cm"
            )
