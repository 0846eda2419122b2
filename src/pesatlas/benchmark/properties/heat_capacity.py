"""Heat capacity at constant volume of the harmonic crystal at 300 K, by phonopy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pesatlas.config.property_options import Relaxed

if TYPE_CHECKING:
    from pesatlas.benchmark.cached_evaluator import CachedEvaluator
    from pesatlas.benchmark.item import BenchmarkItem, PropertyResult
    from pesatlas.benchmark.structure_sets import Sources
    from pesatlas.dynamics.relax import Start

VERSION = 1
FILES = ("alexandria-phonon.json.gz", "alexandria-binary-pbe-phonon-2025.1.json.gz")
QUANTITIES = {"heat_capacity": ("J/mol/K", "mae", "heat_capacity")}
_IMAGINARY_THZ = -0.01
"""Frequencies below count as imaginary, as in matcalc."""


class Options(Relaxed):
    """The procedure of matcalc's PhononCalc.

    Relax, displace atoms in a supercell, force constants, frequencies.
    """

    kind: Literal["heat_capacity"] = Field(
        "heat_capacity", description="heat capacity of the cell at 300 K (J/mol/K)"
    )
    displacement_A: float = Field(0.015, gt=0, le=0.1, description="finite displacement of an atom (Å)")
    min_length_A: float = Field(20.0, gt=0, description="shortest edge of the supercell (Å)")
    temperature_K: float = Field(300.0, gt=0, description="temperature (K)")


SUITES = {"quick": Options(structures=6, max_atoms=4, min_length_A=12.0), "full": Options()}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals and their heat capacities."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {name: key for name, (_, _, key) in QUANTITIES.items()})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Relax, displace, evaluate, diagonalize."""
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415 - heavy
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    for crystal in evaluator.relaxed([case.start for case in cases], options):
        yield (
            PropertyResult(failure=crystal)
            if isinstance(crystal, Failure)
            else heat_capacity(crystal, options, evaluator)
        )


def heat_capacity(crystal: "Start", options: Options, evaluator: "CachedEvaluator") -> "PropertyResult":
    """Return the heat capacity of a relaxed crystal, per mole of its cell."""
    import warnings  # noqa: PLC0415 - as the others

    import numpy as np  # noqa: PLC0415 - every command reads this module
    import phonopy  # noqa: PLC0415 - heavy
    from phonopy.structure.atoms import PhonopyAtoms  # noqa: PLC0415

    from pesatlas.benchmark.cached_evaluator import Static  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.dynamics.relax import Start  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    repeat = np.ceil(options.min_length_A / np.linalg.norm(crystal.cell, axis=1)).astype(int)
    phonon: Any = phonopy.Phonopy(
        PhonopyAtoms(cell=crystal.cell, positions=crystal.positions, numbers=crystal.numbers),
        supercell_matrix=np.diag(repeat),
        primitive_matrix="P",
    )
    phonon.generate_displacements(distance=options.displacement_A)
    forces = []
    displaced = [
        Start(np.asarray(s.numbers), np.asarray(s.cell), np.asarray(s.positions))
        for s in phonon.supercells_with_displacements
    ]
    for answer in evaluator.evaluate(displaced):
        if not isinstance(answer, Static):
            return PropertyResult(failure=answer)
        forces.append(answer.forces)
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.run_mesh()
    frequencies = phonon.mesh.frequencies
    with warnings.catch_warnings():
        # the three acoustic modes at Gamma are three of some million
        warnings.filterwarnings("ignore", message=".*acoustic")
        phonon.run_thermal_properties(temperatures=[options.temperature_K])
    value = float(phonon.thermal_properties.heat_capacity[0])
    imaginary = float((frequencies < _IMAGINARY_THZ).mean())
    if not np.isfinite(value):
        return PropertyResult(failure=Failure(FailureReason.NOT_FINITE, "the heat capacity is not finite"))
    return PropertyResult(
        {"heat_capacity": value}, detail=f"{imaginary:.1%} of frequencies are imaginary" if imaginary else ""
    )
