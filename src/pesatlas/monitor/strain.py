"""Self-test of reference levels: stresses compared with slopes of the free energy against strain."""

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import __version__
from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.load import read_campaign
from pesatlas.campaign.strain_test import Component, StrainTest, write_strain_test
from pesatlas.config import plugins
from pesatlas.config.plugins import EXTENSIONS
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Outcome, Task, Workdir
from pesatlas.levels.level import Level
from pesatlas.levels.lookup import levels_of, supported_elements
from pesatlas.monitor.check import Check
from pesatlas.monitor.doctor import elements_in
from pesatlas.structures.crystal import Crystal

LIMIT_GPA = 1.0
"""Largest difference: a cut-off that is low for a stress is within it for soft elements."""
_STRAIN = 0.005
_COMPONENTS = {"xx": (0, 0, 0), "yz": (3, 1, 2)}
"""A normal and a shear component: index in a stress, row, column. They fix sign, unit and order."""
_CRYSTALS = ("Si", "SiC", "Al", "NaCl", "LiF", "MgO", "GaAs", "Li2O")
"""Built-in crystals without moments, cheapest first."""
# Compressed by 2 to 4 % and sheared, so that each component is far from zero.
_DEFORMED = np.array([[0.975, 0.0, 0.01], [0.0, 0.985, 0.015], [0.01, 0.015, 0.98]])


def strain_checks(config: Path, results: Path, kept: Path) -> Iterator[Check]:
    """Calculate a small crystal at five strains at every level of a campaign; yield how each level does.

    A level that passes or fails has its test stored below ``results``. One whose calculations fail, or whose
    k-points change with the strain, shows nothing, and what was stored before stays.

    Parameters
    ----------
    config : configuration of the campaign; a crystal of its elements is taken if there is one
    kept : inputs and outputs are written below this folder

    Raises
    ------
    UserError
        If the backend knows the elements of no small crystal.
    """
    campaign = read_campaign(config)
    backend: Any = campaign.label.backend
    levels = levels_of(backend, campaign.label.levels)
    crystal = choose(supported_elements(backend), elements_in(campaign, results)[0])
    calculate = plugins.find(EXTENSIONS["label.backend"], backend.kind).calculate
    for name, level in levels.items():
        folder = kept / f"{name}-{level.fingerprint}"
        with tempfile.TemporaryDirectory(prefix="pesatlas-doctor-", dir=campaign.label.scratch) as top:

            def run(task: Task, which: str, top: str = top, folder: Path = folder) -> Outcome:
                places = [Path(top) / which / each for each in ("scratch", "keep", "handover")]
                for place in places:
                    place.mkdir(parents=True)
                scratch, keep, handover = places
                timeout_s, cores = campaign.label.timeout_min * 60, campaign.label.cores
                found: Outcome = calculate(task, backend, Workdir(scratch, keep, handover, timeout_s, cores))
                shutil.copytree(keep, folder / which, dirs_exist_ok=True)
                return found

            check, measured = compare(crystal, level, run)
        if measured is not None:
            test = StrainTest(
                level=name,
                fingerprint=level.fingerprint,
                backend=backend.kind,
                definition=level.identity(),
                code=level.code,
                command=getattr(backend, "command", None),
                crystal=_name(crystal),
                strain=_STRAIN,
                tolerance_GPa=LIMIT_GPA,
                verdict="passed" if check.ok else "failed",
                date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
                pesatlas_version=__version__,
                **measured,
            )
            write_strain_test(results, test)
        yield check


def choose(known: frozenset[int], wanted: set[int]) -> Crystal:
    """Return the crystal to calculate: the first of the campaign's elements, else the first that is known.

    Raises
    ------
    UserError
        If the backend knows the elements of none.
    """
    source = plugins.find("pesatlas.structures.sources", "demo")
    crystals = [
        each for each in source.load(source.Options(names=list(_CRYSTALS))) if isinstance(each, Crystal)
    ]
    possible = [each for each in crystals if set(each.numbers.tolist()) <= known]
    if not possible:
        symbols = " ".join(symbol_of(number) for number in sorted(known))
        raise UserError(
            f"the strain test has no small crystal of the elements that the backend knows ({symbols}); it "
            f"has {', '.join(_CRYSTALS)}. Add a pseudopotential of one of them to the set."
        )
    return min(possible, key=lambda each: not set(each.numbers.tolist()) <= wanted)


def compare(crystal: Crystal, level: Level, run: Any) -> tuple[Check, dict[str, Any] | None]:
    """Return how the stress of a level compares with slopes of its free energy, and what was measured.

    Parameters
    ----------
    run : function of a task and its name that returns the outcome

    Returns
    -------
    check
    free energies (eV), components and largest difference (GPa), by their names in ``StrainTest``; None if
    nothing was shown
    """
    at = f"{_name(crystal)} at {level.name}"
    cell, positions = crystal.cell @ _DEFORMED, crystal.positions @ _DEFORMED
    rest = Task(crystal.numbers, cell, positions, level)
    base = run(rest, "rest")
    if isinstance(base, Failed):
        return _failed(at, base), None
    energies = {"rest": base.free_energy_eV}
    components: dict[str, Component] = {}
    volume, meshes = abs(float(np.linalg.det(cell))), {str(base.settings.get("kpoints"))}
    for component, (index, i, j) in _COMPONENTS.items():
        for sign in (1, -1):
            turn = np.eye(3)
            turn[i, j] += sign * _STRAIN / 2
            turn[j, i] += sign * _STRAIN / 2
            strained = replace(rest, cell=cell @ turn, positions=positions @ turn)
            outcome = run(strained, f"{component}{sign:+d}")
            if isinstance(outcome, Failed):
                return _failed(at, outcome), None
            energies[f"{component}{sign:+d}"] = outcome.free_energy_eV
            meshes.add(str(outcome.settings.get("kpoints")))
        slope = (energies[f"{component}+1"] - energies[f"{component}-1"]) / (2 * _STRAIN * volume)
        components[component] = Component(
            stress_GPa=base.stress_eV_per_A3[index] * EV_PER_A3_TO_GPA, slope_GPa=slope * EV_PER_A3_TO_GPA
        )
    pairs = ", ".join(
        f"{name} {each.stress_GPa:.2f} and {each.slope_GPa:.2f} GPa" for name, each in components.items()
    )
    text = f"{at}: stress, and slope of the free energy: {pairs}"
    if len(meshes) > 1:
        about = f"{text}; k-points change with the strain ({', '.join(sorted(meshes))}), so nothing is shown"
        return Check(True, about, doubtful=True), None
    apart = max(abs(each.stress_GPa - each.slope_GPa) for each in components.values())
    measured = {"free_energies_eV": energies, "components": components, "difference_GPa": apart}
    if apart <= LIMIT_GPA:
        return Check(True, text), measured
    remedy = (
        f"they differ by {apart:.1f} GPa: the code's stress is wrong at this level, or its cut-off is too "
        "low for a stress. Do not label with it; take another version, or a higher cut-off or quality"
    )
    return Check(False, text, remedy), measured


def _name(crystal: Crystal) -> str:
    return crystal.structure_id.removeprefix("demo-")


def _failed(at: str, outcome: Failed) -> Check:
    return Check(False, f"{at}: no label ({outcome.reason}: {outcome.detail})", "see pesatlas doctor")
