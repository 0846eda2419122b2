"""OUTCAR: end of the run, final energies, forces and stress, magnetic moments of every layout.

VASP 4.6 to 6 with and without profiling, one ion and many, collinear and non-collinear. Numbers have a fixed
number of decimals, so columns that run into each other are told apart; asterisks, which are numbers without
room, are refused.
"""

import math
import re
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np

from pesatlas.label.bad_output import BadOutputError, TornError
from pesatlas.label.vasp.open_files import read_text

_HEADER = re.compile(r"^ ?vasp\.\d", re.MULTILINE)
_ITERATION = re.compile(r"- Iteration\s*(\d+|\*+)\(\s*(\d+|\*+)\)")
_BLOCK = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_BLOCK_CHARACTERS = 1000
# Some builds write each energy a second time, without van der Waals; the first one is that of the
# calculation.
_BARE = r"w/o vdW\s*=\s*"
_ENERGIES = re.compile(
    rf"free  energy   TOTEN\s*=\s*(?P<free>\S+)\s+eV(?:\s+{_BARE}(?P<bare>\S+)\s+eV)?\s*"
    rf"energy\s+without\s+entropy\s*=\s*\S+(?:\s+eV)?(?:\s+{_BARE}\S+(?:\s+eV)?)?\s+"
    rf"energy\(sigma->0\)\s*=\s*(?P<zero>\S+)(?:\s+eV)?(?:[ \t]+{_BARE}\S+(?:[ \t]+eV)?)?[ \t]*\n"
)
_STOPPED = re.compile(
    r"aborting loop EDIFF was not reached[^-\n]*|aborting loop because hard stop[^-\n]*|(?:hard|soft) stop "
    r"encountered"
)
_TIMING = "General timing and accounting informations for this job"
# The last line of the timings. A profile may follow it.
_TIMING_END = re.compile(r"Voluntary context switches:[ \t]+\S+[ \t]*(?:\n|$)")
_ION = re.compile(r"^\s*(?:\d+|\*+)")
_POSITION = re.compile(r"\s*(?:-?\d*\.\d{5}\s*){3}")
_FINITE = re.compile(r"-?\d*\.\d+")
_MOMENTS = re.compile(r"^ ?magnetization \(([xyz])\)[ \t]*\n", re.MULTILINE)
# Numbers have a fixed number of decimals, and may leave no space before the next one.
_DECIMALS = {
    count: re.compile(rf"(-?\d*\.\d{{{count}}}|-?NaN|[-+]?Inf(?:inity)?)\s*", re.IGNORECASE)
    for count in (2, 3, 5, 6)
}


@dataclass(frozen=True)
class Outcar:
    """Contents of ``OUTCAR``, of its last ionic step.

    Attributes
    ----------
    finished : it has the timings that VASP writes last, of this run; a profile may follow them
    stopped : why the SCF ended without reaching EDIFF; None if it did not
    moments_muB : final magnetic moments in the POSCAR's order; None without spin, or where the table is
        missing
    version : VASP's, as in its first line; None if that is missing
    n_atoms : number of ions; None if it is not told
    spin : ``none``, ``collinear`` or ``noncollinear``
    moment_vectors_muB : (x, y, z) of each ion of a non-collinear run; None else, or where a table is missing
    ionic_steps : how many were completed
    scf_steps, nelm : SCF steps of the last ionic step, and how many were allowed; None if it is not told
    forces : (n, 3) eV/Å; None if there is no table
    stress : (3, 3) kbar, positive under compression; None if there is no table
    stress_decimals : how many it is written with: VASP 4 has 2
    vdw_eV : what of the energies is van der Waals, where a build writes them without it, too; NaN if it
        cannot be told
    """

    finished: bool
    stopped: str | None
    energy_eV: float
    free_energy_eV: float
    moments_muB: list[float] | None
    version: str | None = None
    n_atoms: int | None = None
    spin: str = "none"
    moment_vectors_muB: list[list[float]] | None = None
    ionic_steps: int = 1
    scf_steps: int | None = None
    nelm: int | None = None
    forces: np.ndarray | None = field(default=None, compare=False)
    stress: np.ndarray | None = field(default=None, compare=False)
    stress_decimals: int = 5
    vdw_eV: float = 0.0

    @property
    def converged(self) -> bool:
        """Whether the SCF of the last ionic step ended before its limit.

        VASP 5 says "EDIFF is reached" at the limit, too.
        """
        limited = self.scf_steps is not None and self.nelm is not None and self.scf_steps >= self.nelm
        return self.stopped is None and not limited


def read_outcar(path: Path) -> Outcar:
    """Read an ``OUTCAR``, plain or compressed.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    BadOutputError
        If it has no final energy, numbers that cannot be read, or two runs; ``TornError`` if it has no
        timings, too.
    """
    text = read_text(path).replace("\r\n", "\n")
    kind = BadOutputError if _TIMING in text else TornError
    version = _version(text)
    old = f" (written by VASP {version}: not all outputs of VASP 4 are read)" if _is_old(version) else ""
    try:
        return _read(text)
    except BadOutputError as error:
        raise kind(f"{error}{old}") from error
    except Exception as error:
        raise kind(f"OUTCAR: {type(error).__name__}: {str(error)[:200]}{old}") from error


def _version(text: str) -> str | None:
    found = re.search(r"^ ?vasp\.(\S+)", text, re.MULTILINE)
    return found[1] if found else None


def _is_old(version: str | None) -> bool:
    """Whether it is VASP 4."""
    return version is not None and version.startswith("4.")


def _read(text: str) -> Outcar:
    if len(_HEADER.findall(text)) > 1 or text.count(_TIMING) > 1:
        raise BadOutputError("OUTCAR has two runs, one after the other")
    block = text.rfind(_BLOCK)
    if block < 0:
        raise BadOutputError("OUTCAR has no final energy")
    # The last ionic step, from its last SCF step on. Linear response, which counts its steps in the same way,
    # is after it.
    scf = list(_ITERATION.finditer(text, 0, block))
    begin = scf[-1].start() if scf else 0
    response = _ITERATION.search(text, block)
    step = text[begin : response.start() if response else len(text)]
    free, energy, vdw = _energies(text[block : block + _BLOCK_CHARACTERS])
    n_atoms = _integer(r"number of ions     NIONS =\s*(\d+)", text)
    spin = _spin(text)
    moments = _moments(text[begin:], n_atoms) if spin != "none" else {}
    stopped = _STOPPED.search(step)
    version = _version(text)
    decimals = 2 if _is_old(version) else 5
    return Outcar(
        finished=_finished(text, block),
        stopped=stopped[0].strip() if stopped else None,
        energy_eV=energy,
        free_energy_eV=free,
        moments_muB=moments.get("x") if spin == "collinear" else None,
        version=version,
        n_atoms=n_atoms,
        spin=spin,
        moment_vectors_muB=_vectors(moments) if spin == "noncollinear" else None,
        ionic_steps=text.count(_BLOCK),
        scf_steps=int(scf[-1][2]) if scf and scf[-1][2].isdigit() else None,
        nelm=_integer(r"^\s*NELM   =\s*(\d+)", text),
        forces=_forces(step, n_atoms),
        stress=_stress(step, decimals),
        stress_decimals=decimals,
        vdw_eV=vdw,
    )


def _finished(text: str, block: int) -> bool:
    """Whether the timings are there, whole, and of the run that the final energy is of."""
    start = text.find(_TIMING, block)
    end = _TIMING_END.search(text, start) if start >= 0 else None
    if end is None or _ITERATION.search(text, start):
        return False
    # A profile or not; its last line, too, is whole.
    rest = text[end.end() :]
    return not rest or rest.endswith("\n")


def _energies(block: str) -> tuple[float, float, float]:
    """Return free energy, energy at zero smearing, and van der Waals energy if known (eV)."""
    found = _ENERGIES.search(block)
    if found is None:
        learned = "ML TOTEN" in block or "ML energy" in block
        why = (
            "its last step is of a machine-learned force field" if learned else "the last block is truncated"
        )
        raise BadOutputError(f"OUTCAR has no final energy: {why}")
    free, bare = float(found["free"]), found["bare"]
    if bare is None:
        return free, float(found["zero"]), 0.0
    return free, float(found["zero"]), free - float(bare) if _FINITE.fullmatch(bare) else math.nan


def _integer(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None


def _spin(text: str) -> str:
    """Return what spin the run had; by its tables of moments where the head of the file is missing."""
    if re.search(r"LNONCOLLINEAR =\s*T", text) or " magnetization (z)" in text:
        return "noncollinear"
    spins = _integer(r"^\s*ISPIN  =\s*(\d)", text)
    return "collinear" if spins == 2 or (spins is None and " magnetization (x)" in text) else "none"


def _numbers(text: str, decimals: int, count: int, *, more: bool = False) -> list[float]:
    """Return the numbers of a row, which are ``count``; with ``more``, others may follow."""
    pattern, position = _DECIMALS[decimals], len(text) - len(text.lstrip())
    found: list[float] = []
    while (
        position < len(text)
        and not (more and len(found) == count)
        and (number := pattern.match(text, position))
    ):
        found.append(float(number[1]))
        position = number.end()
    if (position < len(text) and not more) or len(found) != count:
        raise BadOutputError(f"OUTCAR has a row that cannot be read: '{text.strip()[:100]}'")
    return found


def _moments(text: str, n_atoms: int | None) -> dict[str, list[float]]:
    """Return the totals of the last table of magnetisation of each direction, one for each ion.

    One ion has no row ``tot`` and no second rule: the table ends with a blank line.
    """
    tables: dict[str, list[float]] = {}
    for title in _MOMENTS.finditer(text):
        lines = iter(text[title.end() :].splitlines())
        columns = next((line.split()[3:] for line in lines if line.lstrip().startswith("# of ion")), [])
        next(lines, "")  # the rule
        rows = list(
            takewhile(lambda line: line.strip() and not line.lstrip().startswith(("-----", "tot")), lines)
        )
        totals = [_numbers(_ION.sub("", row, count=1), 3, len(columns))[-1] for row in rows]
        if not totals or (n_atoms is not None and len(totals) != n_atoms):
            raise BadOutputError(
                f"OUTCAR has {len(totals)} moments of {n_atoms} ions in magnetization ({title[1]})"
            )
        tables[title[1]] = totals
    return tables


def _vectors(moments: dict[str, list[float]]) -> list[list[float]] | None:
    if moments.keys() != {"x", "y", "z"}:
        return None
    return [list(vector) for vector in zip(moments["x"], moments["y"], moments["z"], strict=True)]


def _forces(step: str, n_atoms: int | None) -> np.ndarray | None:
    """Return the (n, 3) forces of a step, eV/Å; None if there is no table."""
    start = step.rfind("TOTAL-FORCE (eV/Angst)")
    if start < 0:
        return None
    title, _, *lines = [*step[start:].splitlines(), ""]
    rows = list(takewhile(lambda line: line.strip() and not line.lstrip().startswith("-----"), lines))
    if n_atoms is not None and len(rows) != n_atoms:
        raise BadOutputError(f"OUTCAR has {len(rows)} forces of {n_atoms} ions")
    bare = "w/o" in title  # the same without van der Waals follows in each row
    return np.array([_force(row, more=bare) for row in rows])


def _force(row: str, *, more: bool) -> list[float]:
    """Return the force in a row, after the position, which has a decimal less."""
    position = _POSITION.match(row)
    if position is None:
        raise BadOutputError(f"OUTCAR has a row that cannot be read: '{row.strip()[:100]}'")
    return _numbers(row[position.end() :], 6, 3, more=more)


def _stress(step: str, decimals: int) -> np.ndarray | None:
    """Return the (3, 3) stress of a step, kbar; None if there is none."""
    found = re.findall(r"^\s*in kB(.*)$", step, re.MULTILINE)
    if not found:
        return None
    xx, yy, zz, xy, yz, zx = _numbers(found[-1], decimals, 6)
    return np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
