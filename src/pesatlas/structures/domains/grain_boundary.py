"""Grain boundaries of cubic crystals: coincidence site lattices by Σ (pymatgen)."""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from pesatlas.atoms.units import ATM_TO_GPA
from pesatlas.config.section import Section
from pesatlas.structures.crystal import Cell, Crystal, Refused, at_temperatures, from_pymatgen, to_pymatgen
from pesatlas.structures.domains.bulk import Pressure, Temperatures
from pesatlas.structures.domains.surface import Miller
from pesatlas.tables.schemas import FailureReason

Kind = Literal["twist", "tilt"]
_NAMES = {"twist": "Twist", "tilt": "Symmetric tilt"}
_LARGEST_INDEX = 4


class Options(Section):
    """Options of the domain ``grain_boundary``."""

    kind: Literal["grain_boundary"] = Field(
        "grain_boundary", description="grain boundaries of cubic crystals"
    )
    sigmas: list[Annotated[int, Field(ge=3, le=99)]] = Field(
        [5],
        min_length=1,
        description="Σ: the volume of the coincidence site lattice over that of the crystal's",
    )
    axis: Miller = Field([0, 0, 1], description="axis of the rotation")
    boundaries: list[Kind] = Field(
        ["twist", "tilt"],
        min_length=1,
        description="planes perpendicular (twist) or symmetric and parallel (tilt) to the axis",
    )
    repeat: int = Field(1, ge=1, le=8, description="thickness of both grains in units of the smallest")
    temperatures_K: Temperatures = Field([300.0], min_length=1, description="temperatures (K)")
    pressure_GPa: Pressure = Field(ATM_TO_GPA, description="pressure (GPa)")


def cells(options: Options, crystal: Crystal) -> Iterator[Cell | Refused]:
    """Yield the bicrystals of a crystal, two boundaries in each, and why others are none."""
    from pymatgen.core.interface import GrainBoundaryGenerator  # noqa: PLC0415 - reading a configuration needs none
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer  # noqa: PLC0415 - as above

    at = at_temperatures(options.temperatures_K, options.pressure_GPa)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        symmetry = SpacegroupAnalyzer(to_pymatgen(crystal))
        if symmetry.get_crystal_system() != "cubic":
            detail = f"it is {symmetry.get_crystal_system()}; this domain knows cubic crystals"
            yield Refused("grain_boundary", FailureReason.NOT_APPLICABLE, detail)
            return
        generator = GrainBoundaryGenerator(symmetry.get_conventional_standard_structure())
        for sigma in options.sigmas:
            angles = generator.get_rotation_angle_from_sigma(sigma, _axis(options), lat_type="c")
            for kind in options.boundaries:
                name = f"grain_boundary-{kind}-s{sigma}"
                made = _made(generator, options, min(angles, default=None), kind, crystal)
                if isinstance(made, str):
                    yield Refused(name, FailureReason.NOT_APPLICABLE, made)
                else:
                    yield Cell(name, "grain_boundary", made.numbers, made.cell, made.positions, at)


def _made(
    generator: Any, options: Options, angle: float | None, kind: Kind, crystal: Crystal
) -> Crystal | str:
    """Return a bicrystal, or why there is none, in words."""
    if angle is None:
        return f"no rotation about {options.axis} has this Σ"
    planes = generator.enum_possible_plane_cubic(_LARGEST_INDEX, _axis(options), angle)[_NAMES[kind]]
    if not planes:
        return f"no such plane with indices up to {_LARGEST_INDEX}"
    plane = min((tuple(int(i) for i in each[0]) for each in planes), key=lambda p: (sum(i * i for i in p), p))
    boundary = generator.gb_from_parameters(
        _axis(options), angle, expand_times=options.repeat, plane=plane, quick_gen=True
    )
    made = from_pymatgen(crystal.structure_id, boundary.copy(), crystal.source)
    if not isinstance(made, Crystal):
        return made.detail
    if _ratios(made) != _ratios(crystal):
        return "atoms that came too close were merged, which changed the composition"
    return made


def _axis(options: Options) -> tuple[int, int, int]:
    return cast("tuple[int, int, int]", tuple(options.axis))


def _ratios(crystal: Crystal) -> dict[int, float]:
    counts = Counter(crystal.numbers.tolist())
    return {z: round(n / len(crystal.numbers), 9) for z, n in counts.items()}
