"""Checks of everything that VASP needs, before a campaign begins."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import atomic_number
from pesatlas.errors import UserError
from pesatlas.label.command import program
from pesatlas.label.dry_inputs import Finding, task_of_all
from pesatlas.label.vasp.inputs import input_set, usable
from pesatlas.levels import potcars
from pesatlas.levels.vasp import FUNCTIONALS, levels


def diagnose(options: Any, elements: Iterable[str], folder: Path) -> list[Finding]:
    """Check the command and the POTCARs of ``elements``; write dry inputs of both levels.

    Returns
    -------
    list of (whether all is well, what was found, how to mend it)
    """
    found = [_command(options)]
    try:
        where = potcars.folder()
    except UserError as error:
        return [*found, (False, "no POTCARs", str(error))]
    found.append((True, f"POTCARs in {where}", ""))
    wanted = sorted(set(elements), key=atomic_number)
    found += [_potcar(element, options) for element in wanted]
    if wanted and all(ok for ok, _, _ in found[2:]):
        found.append(_dry_inputs(options, wanted, folder))
    return found


def _command(options: Any) -> Finding:
    try:
        return True, f"VASP is started with {program(options.command)}", ""
    except UserError as error:
        return False, "VASP can't be started", str(error)


def _potcar(element: str, options: Any) -> Finding:
    symbol = potcars.symbols().get(element)
    if symbol is None:
        return False, f"MatPES has no pseudopotential for {element}", f"leave out compounds of {element}"
    try:
        file = usable(symbol, allow_unknown=options.allow_unknown_potcars)
    except (potcars.MissingPotcarError, UserError) as error:
        remedy = "" if isinstance(error, UserError) else potcars.SET_UP
        return False, f"{element}: {error}", remedy
    about = (
        ""
        if file.known
        else ", which pymatgen does not know (allowed by label.backend.allow_unknown_potcars)"
    )
    return True, f"{element}: {file.title}{about}", ""


def _dry_inputs(options: Any, elements: list[str], folder: Path) -> Finding:
    """Write INCAR, POSCAR and the POTCARs' names for one cell with an atom of every element."""
    for name, level in levels(options, ["pbe", "r2scan"]).items():
        chosen = input_set(task_of_all(elements, level), FUNCTIONALS[name])
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "INCAR").write_text(str(chosen.incar), encoding="utf-8")
        (target / "POSCAR").write_text(str(chosen.poscar), encoding="utf-8")
        (target / "POTCAR.spec").write_text("\n".join(chosen.potcar_symbols) + "\n", encoding="utf-8")
    return (
        True,
        f"inputs of a cell with every element are in {folder}/pbe and {folder}/r2scan: look at them",
        "",
    )
