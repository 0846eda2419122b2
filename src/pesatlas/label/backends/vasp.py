"""VASP under custodian: production labels on clusters."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pesatlas.config.section import Runtime, Section
from pesatlas.errors import UserError
from pesatlas.label.backend import Outcome, Task, Workdir
from pesatlas.label.command import program, some_words, version_as_printed
from pesatlas.levels import potcars

CHARGES = ("bader",)
"""Charges that ``label.charges`` may ask for: MatPESStaticSet has LAECHG and LCHARG, nothing is added."""


class Options(Section):
    """Options of the backend ``vasp``."""

    kind: Literal["vasp"] = Field("vasp", description="VASP with pymatgen's MatPESStaticSet, under custodian")
    command: str = Runtime(
        # Snakemake's job is a step of its own, which holds the cores: without --overlap, srun waits for ever.
        "srun --overlap --ntasks {cores} --cpus-per-task 1 vasp_std",
        description="command that starts VASP, without a shell; {cores} is label.cores, {cpus} their "
        "list, e.g. 4,5,6,7",
    )
    vasp_version: str = Field(
        description="version of VASP as in vasprun.xml, e.g. 6.4.3; another version is another level"
    )
    allow_unknown_potcars: bool = Field(
        default=False, description="accept POTCARs unknown to pymatgen: for tests, never for data"
    )

    @field_validator("command")
    @classmethod
    def _words(cls, command: str) -> str:
        return some_words(command, "VASP, e.g. mpirun -n {cores} vasp_std")

    @field_validator("vasp_version")
    @classmethod
    def _version(cls, version: str) -> str:
        return version_as_printed(version, r"\d+\.\d+\.\d+\S*", "6.4.3 or 5.4.4.18Apr17-6-g9f103f2a35")


def check(options: Options) -> None:
    """Raise a UserError if custodian, the command or the folder of POTCARs is not there."""
    if importlib.util.find_spec("custodian") is None:
        raise UserError("custodian is not installed: pip install 'pesatlas[vasp]'.")
    program(options.command)
    potcars.folder()


def calculate(task: Task, options: Options, workdir: Workdir) -> Outcome:
    """Prepare, run, parse and verify one calculation.

    R2SCAN starts from the PBE solution, which is made if it is not handed over.

    Raises
    ------
    UserError
        If a POTCAR is not the one of the level.
    """
    from pesatlas.label.vasp import steps  # noqa: PLC0415 - pymatgen and custodian are slow to import

    return steps.calculate(task, options, workdir)


def diagnose(options: Options, elements: Iterable[str], folder: Path) -> list[tuple[bool, str, str]]:
    """Check everything that VASP needs before a campaign, and write one set of inputs.

    Parameters
    ----------
    elements : iterable of str
        Chemical symbols in the campaign.
    folder : Path
        Where inputs of both levels are written, in folders ``pbe`` and ``r2scan``; without POTCAR.

    Returns
    -------
    list of (whether all is well, what was looked at, how to mend it)
    """
    from pesatlas.label.vasp.diagnose import diagnose as look  # noqa: PLC0415 - as above

    return look(options, elements, folder)
