"""Bulk and shear modulus: Voigt-Reuss-Hill averages of elastic constants, from stresses of strained cells."""

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
FILES = ("mp-elasticity.json.gz", "mp-binary-pbe-elasticity-2025.1.json.gz")
QUANTITIES = {
    "bulk_modulus": ("GPa", "mae", "bulk_modulus_vrh"),
    "shear_modulus": ("GPa", "mae", "shear_modulus_vrh"),
}
_NORMAL = (-0.01, -0.005, 0.005, 0.01)
_SHEAR = (-0.06, -0.03, 0.03, 0.06)
"""Strains of matcalc's ElasticityCalc.

The published numbers were made with them, atoms moving with the cell.
"""


class Options(Relaxed):
    """The procedure of matcalc's ElasticityCalc: relax, strain six ways, fit stress against strain."""

    kind: Literal["elasticity"] = Field("elasticity", description="bulk and shear modulus (GPa)")


SUITES = {"quick": Options(structures=20, max_atoms=8), "full": Options()}


def cases(options: Options, sources: "Sources") -> "list[BenchmarkItem]":
    """Read the crystals and their moduli."""
    from pesatlas.benchmark.structure_sets import cases_of_file  # noqa: PLC0415 - heavy

    return cases_of_file(options, sources, FILES, {name: key for name, (_, _, key) in QUANTITIES.items()})


def measure(
    cases: "list[BenchmarkItem]", options: Options, evaluator: "CachedEvaluator"
) -> "Iterator[PropertyResult]":
    """Relax, strain, evaluate, fit."""
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415 - heavy
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    for crystal in evaluator.relaxed([case.start for case in cases], options):
        yield PropertyResult(failure=crystal) if isinstance(crystal, Failure) else moduli(crystal, evaluator)


def moduli(crystal: "Start", evaluator: "CachedEvaluator") -> "PropertyResult":
    """Return the moduli of a relaxed crystal."""
    import numpy as np  # noqa: PLC0415 - every command reads this module

    from pesatlas.atoms.units import EV_PER_A3_TO_GPA  # noqa: PLC0415
    from pesatlas.benchmark.cached_evaluator import Static  # noqa: PLC0415 - heavy
    from pesatlas.benchmark.item import PropertyResult  # noqa: PLC0415
    from pesatlas.tables import FailureReason  # noqa: PLC0415
    from pesatlas.tables.failures import Failure  # noqa: PLC0415

    strained, strains = _strained(crystal)
    stresses: list[Any] = []
    for answer in evaluator.evaluate([crystal, *strained]):
        if not isinstance(answer, Static):
            return PropertyResult(failure=answer)
        stresses.append(answer.stress)
    tensor = _fit(strains, stresses[1:], stresses[0])
    values = {
        "bulk_modulus": float(tensor.k_vrh) * EV_PER_A3_TO_GPA,
        "shear_modulus": float(tensor.g_vrh) * EV_PER_A3_TO_GPA,
    }
    if not np.isfinite(list(values.values())).all():
        return PropertyResult(
            failure=Failure(FailureReason.NOT_FINITE, "the elastic constants cannot be inverted")
        )
    lowest = float(np.linalg.eigvalsh(tensor.voigt).min()) * EV_PER_A3_TO_GPA
    return PropertyResult(
        values, detail=f"elastically unstable: an eigenvalue is {lowest:.3g} GPa" if lowest < 0 else ""
    )


def _strained(crystal: "Start") -> "tuple[list[Start], list[Any]]":
    """Return cells strained in each of six ways by each strain, and the strains."""
    from pymatgen.analysis.elasticity import DeformedStructureSet, Strain  # noqa: PLC0415 - heavy
    from pymatgen.core import Structure  # noqa: PLC0415

    from pesatlas.dynamics.relax import Start  # noqa: PLC0415

    whole = Structure(crystal.cell, crystal.numbers.tolist(), crystal.positions, coords_are_cartesian=True)
    strained = DeformedStructureSet(whole, _NORMAL, _SHEAR, symmetry=False)
    cells = [Start(crystal.numbers, each.lattice.matrix, each.cart_coords) for each in strained]
    return cells, [Strain.from_deformation(deformation) for deformation in strained.deformations]


def _fit(strains: list[Any], stresses: list[Any], at_rest: Any) -> Any:
    """Fit a straight line to every component of the stress against every strain.

    Return pymatgen's ElasticTensor in eV/Å³.
    """
    import numpy as np  # noqa: PLC0415
    from pymatgen.analysis.elasticity import ElasticTensor, Stress  # noqa: PLC0415 - heavy
    from pymatgen.analysis.elasticity.elastic import get_strain_state_dict  # noqa: PLC0415

    pairs = get_strain_state_dict(
        strains, [Stress(s) for s in stresses], eq_stress=Stress(at_rest), add_eq=True
    )
    constants = np.zeros((6, 6))
    for i, state in enumerate(np.eye(6)):
        found = pairs[tuple(state)]
        constants[i] = np.polyfit(found["strains"][:, i], found["stresses"], 1)[0]
    return ElasticTensor.from_voigt(constants).zeroed(1e-7)
