"""Quantum ESPRESSO: production labels without a licence, with the user's pseudopotentials."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from pesatlas.config.section import Runtime, Section
from pesatlas.label.backend import Failed, Outcome, Result, Task, Workdir
from pesatlas.label.command import program, some_words, version_as_printed
from pesatlas.levels.qe import check_levels, pseudopotentials
from pesatlas.tables import FailureReason

__all__ = ["Options", "calculate", "check", "check_levels", "diagnose"]


class PseudoDojo(Section):
    """Cut-offs from the reports of PseudoDojo."""

    djrepo: Path = Field(description="folder with the reports on the UPF files (*.djrepo)")
    hint: Literal["low", "normal", "high"] = Field("normal", description="which of the recommended cut-offs")


class Options(Section):
    """Options of the backend ``qe``."""

    kind: Literal["qe"] = Field("qe", description="Quantum ESPRESSO (pw.x), settings near MatPES; open")
    command: str = Runtime(
        "mpirun -n {cores} pw.x",
        description="command that starts pw.x, without a shell; {cores} is label.cores, {cpus} their list, "
        "e.g. 4,5,6,7",
    )
    qe_version: str = Field(
        description="version of Quantum ESPRESSO as pw.x prints it, e.g. 7.5; another one is another level"
    )
    pseudopotentials: Path = Field(
        description="folder of the UPF files, one for each element; the whole set is part of the level"
    )
    recommendations: Path | PseudoDojo | None = Field(
        None,
        description="JSON file of SSSP with file name, md5 and cut-offs of each element; or the reports of "
        "PseudoDojo: {djrepo: FOLDER, hint: normal}",
    )
    cutoffs_Ry: dict[str, tuple[PositiveFloat, PositiveFloat]] = Field(
        {},
        description="cut-offs of wavefunctions and density (Ry) by element, before those of recommendations: "
        "{Si: [44, 175]}",
    )
    quality: Literal["coarse", "standard"] = Field(
        "standard",
        description="standard: k-points as MatPES; coarse: a separate level for demonstrations, not for "
        "training",
    )

    @field_validator("command")
    @classmethod
    def _words(cls, command: str) -> str:
        return some_words(command, "pw.x, e.g. mpirun -n {cores} pw.x")

    @field_validator("qe_version")
    @classmethod
    def _version(cls, version: str) -> str:
        return version_as_printed(version, r"\d+\.\d\S*", '"7.5" of Program PWSCF v.7.5')


def check(options: Options) -> None:
    """Raise a UserError if the command is not there, or something is wrong with the pseudopotentials."""
    program(options.command)
    pseudopotentials(options)


def calculate(task: Task, options: Options, workdir: Workdir) -> Outcome:
    """Prepare, run, parse and verify one calculation.

    Raises
    ------
    UserError
        If a UPF file is not the one of the level.
    """
    from pesatlas.label.qe.check_outputs import result  # noqa: PLC0415 - slow to import
    from pesatlas.label.qe.inputs import INPUT, SCHEMA_FILE, MissingUpfError, prepare  # noqa: PLC0415 - as above
    from pesatlas.label.qe.pw_run import OUTPUT, run  # noqa: PLC0415 - as above

    started = time.monotonic()
    try:
        inputs = prepare(task, options.pseudopotentials.expanduser().resolve())
    except MissingUpfError as error:
        return Failed(
            FailureReason.MISSING_PSEUDOPOTENTIAL, f"{error}: add it to the set, which is another level then"
        )
    try:
        changed, corrections, failed = run(options.command, inputs, workdir, started + workdir.timeout_s)
    finally:
        for name in (INPUT, OUTPUT, "CRASH", SCHEMA_FILE):
            if (workdir.scratch / name).is_file():
                shutil.copyfile(workdir.scratch / name, workdir.keep / Path(name).name)
    outcome = failed or result(
        inputs,
        workdir.scratch,
        version=options.qe_version,
        changed=changed,
        wall_s=time.monotonic() - started,
    )
    if isinstance(outcome, Result):
        return replace(outcome, corrections=corrections)
    done = f" (after {'; '.join(corrections)})" if corrections else ""
    return replace(outcome, detail=f"{outcome.detail}{done}")


def diagnose(options: Options, elements: Iterable[str], folder: Path) -> list[tuple[bool, str, str]]:
    """Check everything that pw.x needs before a campaign, and write one input.

    Parameters
    ----------
    elements : iterable of str
        Chemical symbols in the campaign.
    folder : Path
        Where the input of a cell with every element is written.

    Returns
    -------
    list of (whether all is well, what was looked at, how to mend it)
    """
    from pesatlas.label.qe.diagnose import diagnose as look  # noqa: PLC0415 - slow to import

    return look(options, elements, folder)
