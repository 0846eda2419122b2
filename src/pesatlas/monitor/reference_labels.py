"""Elements labelled with the user's own VASP, compared with published MatPES records."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas.atoms.elements import symbol_of
from pesatlas.atoms.geometry import geometry_digest
from pesatlas.atoms.units import EV_PER_A3_TO_GPA
from pesatlas.campaign.load import read_campaign
from pesatlas.errors import UserError
from pesatlas.label.backend import Failed, Result, Task, Workdir
from pesatlas.levels import potcars
from pesatlas.levels.lookup import levels_of
from pesatlas.levels.matpes_records import Record, element_records
from pesatlas.monitor.check import Check
from pesatlas.monitor.doctor import elements_in

ENERGY_MEV, FORCE_MEV_A, STRESS_GPA = 1.0, 10.0, 0.1
"""Agreement of energies (per atom), forces and stresses of equal VASP inputs on any machine."""
_HOW_MANY = 3
_MOST_ATOMS = 4
_NO_MOMENT_MUB = 0.01
_REMEDY = (
    "labels with such differences are not compatible with MatPES: check the version and the build of VASP, "
    "and INCAR, OUTCAR and the titles in POTCAR.spec in {kept}"
)


def reference_labels(config: Path, kept: Path) -> Iterator[Check]:
    """Label a few elements with the backend of a campaign, at its levels.

    Yield how each compares with MatPES.

    Parameters
    ----------
    config : configuration of the campaign; elements that it has are taken first
    kept : outputs of the calculations are copied below this folder

    Raises
    ------
    UserError
        If the backend is not VASP, matcalc is not installed, or no element is cheap enough and has a POTCAR.
    """
    campaign = read_campaign(config)
    backend: Any = campaign.label.backend
    if backend.kind != "vasp":
        raise UserError(
            f"reference labels do not apply to the backend {backend.kind}: MatPES was calculated with VASP, "
            "and total energies of different codes and pseudopotentials cannot be compared. Compare relaxed "
            "volumes or formation energies instead."
        )
    from pesatlas.label.backends.vasp import calculate  # noqa: PLC0415 - with its checks

    levels = levels_of(backend, campaign.label.levels)
    records = {name: element_records(name) for name in levels}
    elements = choose(records, [symbol_of(z) for z in elements_in(campaign, Path("results"))[0]])
    yield Check(
        True,
        f"reference labels: {', '.join(elements)} at {', '.join(levels)}, by {backend.command.split()[0]}",
    )
    timeout, cores = campaign.label.timeout_min * 60, campaign.label.cores
    for element in elements:
        with tempfile.TemporaryDirectory(prefix="pesatlas-doctor-", dir=campaign.label.scratch) as temporary:
            top = Path(temporary)
            for name, level in levels.items():
                record = records[name][element]
                # the ground states of the functionals may be different crystals: then r2SCAN has a PBE
                # solution of its own
                shared = geometry_digest(record.numbers, record.cell, record.positions)
                folders = [top / shared, top / name / "scratch", top / name / "keep"]
                for folder in folders:
                    folder.mkdir(parents=True, exist_ok=True)
                handover, scratch, keep = folders
                task = Task(record.numbers, record.cell, record.positions, level)
                outcome = calculate(task, backend, Workdir(scratch, keep, handover, timeout, cores))
                target = kept / f"{element}-{name}"
                shutil.copytree(keep, target, dirs_exist_ok=True)
                yield compare(record, outcome, name, target)


def choose(records: dict[str, dict[str, Record]], found: Sequence[str]) -> list[str]:
    """Return the elements to label: not magnetic, few atoms, POTCAR there.

    Those of the campaign first, forces among them.

    Raises
    ------
    UserError
        If there is none.
    """
    symbols = potcars.symbols()
    known = set.intersection(*(set(each) for each in records.values()))
    cheap = [
        element
        for element in known
        if all(
            len(each[element].numbers) <= _MOST_ATOMS
            and abs(each[element].moments_muB).max() < _NO_MOMENT_MUB
            for each in records.values()
        )
        and element in symbols
        and potcars.path_of(symbols[element])
    ]
    if not cheap:
        raise UserError(
            f"no POTCAR in {potcars.folder()} of an element that is cheap to label (not magnetic, at most "
            f"{_MOST_ATOMS} atoms, e.g. Al, Si, C). {potcars.SET_UP}."
        )
    first = next(iter(records.values()))

    def cost(element: str) -> tuple[bool, float, str]:
        record = first[element]
        return element not in found, abs(np.linalg.det(record.cell)) * len(record.numbers), element

    order = sorted(cheap, key=cost)
    chosen = order[:_HOW_MANY]
    pulled = [each for each in order if abs(first[each].forces_eV_per_A).max() > 0.1]
    if pulled and not set(pulled) & set(chosen):
        # at least one on whose atoms there are forces
        chosen[-1:] = pulled[:1] if len(chosen) == _HOW_MANY else [*chosen[-1:], pulled[0]]
    return chosen


def compare(record: Record, outcome: Result | Failed, level: str, kept: Path) -> Check:
    """Return how a label of an element compares with its published record."""
    what = f"{record.element} at {level}"
    remedy = _REMEDY.format(kept=kept)
    if isinstance(outcome, Failed):
        return Check(
            False, f"{what}: no label ({outcome.reason}: {outcome.detail})", f"its files are in {kept}"
        )
    energy = 1000 * (outcome.energy_eV - record.energy_eV) / len(record.numbers)
    force = 1000 * float(np.abs(np.array(outcome.forces_eV_per_A) - record.forces_eV_per_A).max())
    stress = float(np.abs(np.array(outcome.stress_eV_per_A3) - record.stress_eV_per_A3).max())
    stress *= EV_PER_A3_TO_GPA
    text = (
        f"{what}: {round(energy, 1) + 0.0:.1f} meV/atom from MatPES ({record.name}), forces within "
        f"{force:.1f} meV/Å, stress within {stress:.2f} GPa"
    )
    if outcome.quarantine_reasons:
        return Check(False, f"{text}; {'; '.join(outcome.quarantine_reasons)}", remedy)
    close = abs(energy) <= ENERGY_MEV and force <= FORCE_MEV_A and stress <= STRESS_GPA
    return Check(True, text) if close else Check(False, text, remedy)
