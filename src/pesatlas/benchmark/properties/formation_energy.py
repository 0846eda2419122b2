"""Formation energy of relaxed crystals, relative to elements relaxed with the same potential."""

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
QUANTITIES = {"formation_energy": ("eV/atom", "mae", "formation_energy_per_atom")}
NEEDS_ELEMENTS = True
CORRECTED = "corrected_formation_energy_per_atom"
"""Reference key of potentials trained on energies with the Materials Project's corrections."""


class Options(Displaced):
    """As relaxation, with the same relaxed crystals; and crystals of the elements, which are relaxed too."""

    kind: Literal["formation_energy"] = Field("formation_energy", description="formation energy (eV/atom)")


SUITES = {"quick": Options(structures=20, max_atoms=12), "full": Options()}


def reference_key(sources: "Sources") -> str:
    """Return the column of the file with the reference of the potential."""
    return CORRECTED if sources.corrected else QUANTITIES["formation_energy"][2]


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals and their formation energies."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {"formation_energy": reference_key(sources)})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Relax crystals and elements, and take the difference."""
    from pesatlas.benchmark.cached_evaluator import perturbed  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.element_energies import element_energies  # noqa: PLC0415
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.dynamics.relax import Relaxed, Settings  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    settings = Settings(options.fmax_eV_per_A, options.max_steps)
    starts = [perturbed(case.start, options.perturb_A, evaluator.seed) for case in cases]
    relaxed = evaluator.relax(starts, settings)
    numbers = {int(z) for case in cases for z in case.start.numbers}
    elements = element_energies(evaluator, numbers, settings)
    for case, found in zip(cases, relaxed, strict=True):
        if not isinstance(found, Relaxed):
            yield PropertyResult(failure=found)
            continue
        energies = [elements[int(z)] for z in case.start.numbers]
        known = [energy for energy in energies if not isinstance(energy, Failure)]
        lacking = next((energy for energy in energies if isinstance(energy, Failure)), None)
        if lacking is not None:
            yield PropertyResult(failure=lacking)
        else:
            yield PropertyResult(
                {"formation_energy": (found.energy_eV - sum(known)) / len(known)},
                detail=f"{found.steps} steps",
            )
