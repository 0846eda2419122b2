"""Checks of everything that pw.x needs, before a campaign begins."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import atomic_number
from pesatlas.errors import UserError
from pesatlas.label.command import command_line, program
from pesatlas.label.dry_inputs import Finding, task_of_all
from pesatlas.label.qe.inputs import INPUT, prepare, write
from pesatlas.label.qe.pw_output import read_printed
from pesatlas.label.qe.pw_run import OUTPUT
from pesatlas.levels.qe import levels, pseudopotentials
from pesatlas.runtime import supervise

_WAIT_S = 20.0


def diagnose(options: Any, elements: Iterable[str], folder: Path) -> list[Finding]:
    """Check the command, its version and the pseudopotentials of ``elements``; write a dry input.

    Returns
    -------
    list of (whether all is well, what was found, how to mend it)
    """
    found = [_command(options)]
    try:
        chosen = pseudopotentials(options)
    except UserError as error:
        return [*found, (False, "pseudopotentials", str(error))]
    wanted = sorted(set(elements), key=atomic_number)
    for element in wanted:
        if element not in chosen:
            remedy = "add its UPF file to the folder, or leave out its compounds"
            found.append((False, f"{element}: no UPF file in {options.pseudopotentials}", remedy))
            continue
        about = chosen[element].about()
        cutoffs = f"{about['ecutwfc_Ry']:g} and {about['ecutrho_Ry']:g} Ry"
        found.append((True, f"{element}: {about['file']} ({about['type']}, PBE), {cutoffs}", ""))
    if wanted and all(ok for ok, _, _ in found[1:]):
        found.append(_dry_input(options, wanted, folder))
    return found


def _command(options: Any) -> Finding:
    """Start pw.x without a calculation, to see its version."""
    try:
        path = program(options.command)
    except UserError as error:
        return False, "pw.x can't be started", str(error)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / INPUT).write_text("&control\n/\n", encoding="utf-8")
        words = [*command_line(options.command, 1, ()), "-in", INPUT]
        supervise.start(words, folder, folder / OUTPUT, _WAIT_S).wait()
        version = read_printed(folder / OUTPUT, 1).version
    if not version:
        # srun, outside of a job, waits for one
        return True, f"pw.x is started with {path}; it did not tell its version here", ""
    if version != options.qe_version:
        return (
            False,
            f"{path} starts Quantum ESPRESSO {version}, the level is {options.qe_version}",
            f"write label.backend.qe_version: {version}, or correct label.backend.command",
        )
    return True, f"Quantum ESPRESSO {version} is started with {path}", ""


def _dry_input(options: Any, elements: list[str], folder: Path) -> Finding:
    """Write the input of one cell with an atom of every element."""
    level = levels(options, ["pbe"])["pbe"]
    target = folder / "pbe"
    target.mkdir(parents=True, exist_ok=True)
    inputs = prepare(task_of_all(elements, level), options.pseudopotentials.expanduser().resolve())
    write(inputs, target, {})
    return True, f"the input of a cell with every element is {target / INPUT}: look at it", ""
