"""What VASP wrote, read without what no label needs: orbital projections and densities of states are most of the bytes."""

import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lxml.etree import XMLSyntaxError
from pymatgen.core import Structure
from pymatgen.io.vasp.outputs import Vasprun

OUTPUT = "vasp.out"
_SKIPPED = ("dos", "projected")


class BadOutputError(Exception):
    """A file is torn or cannot be understood."""


@dataclass(frozen=True)
class Run:
    """What ``vasprun.xml`` says, in VASP's units and the POSCAR's order of atoms.

    Attributes
    ----------
    incar : keys of the INCAR as VASP read it
    parameters : keys as VASP used it, defaults included
    kpoints : divisions of the mesh
    forces : (n, 3) eV/Å
    stress : (3, 3) kbar, positive under compression
    band_gap_eV : on the k-points of the calculation, 0 if a band crosses the Fermi level
    """

    version: str
    incar: dict[str, Any]
    parameters: dict[str, Any]
    kpoints: list[int]
    structure: Structure
    energy_eV: float
    free_energy_eV: float
    forces: np.ndarray
    stress: np.ndarray
    band_gap_eV: float
    scf_steps: int
    converged_electronic: bool


@dataclass(frozen=True)
class Outcar:
    """What ``OUTCAR`` says at its end.

    Attributes
    ----------
    finished : it has the timings that VASP writes last
    stopped : why the SCF ended without reaching EDIFF; None if it did not
    moments_muB : final magnetic moments in the POSCAR's order; None without spin
    """

    finished: bool
    stopped: str | None
    energy_eV: float
    free_energy_eV: float
    moments_muB: list[float] | None


def is_unconverged(path: Path) -> bool:
    """Whether a whole ``vasprun.xml`` ran into NELM; a torn or missing one says nothing and gives False."""
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            whole = data.rfind(b"</modeling>") >= 0
            limit = re.search(rb'name="NELM">\s*(\d+)', data)
            return bool(whole and limit and len(re.findall(rb"<scstep>", data)) >= int(limit[1]))
    except (OSError, ValueError):
        return False


def trim(source: Path, target: Path) -> Path:
    """Copy ``vasprun.xml`` without densities of states and orbital projections; return the copy."""
    with source.open("rb") as handle, target.open("wb") as out:
        if os.fstat(handle.fileno()).st_size == 0:
            return target
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            position = 0
            while (found := _next_skipped(data, position)) is not None:
                start, end = found
                out.write(data[position:start])
                position = end
            out.write(data[position:])
    return target


def _next_skipped(data: mmap.mmap, position: int) -> tuple[int, int] | None:
    """Return start and end of the next element that is skipped; one that is torn is not."""
    spans = []
    for name in _SKIPPED:
        start = data.find(f"<{name}>".encode(), position)
        end = data.find(f"</{name}>".encode(), start) if start >= 0 else -1
        if end >= 0:
            spans.append((start, end + len(name) + 3))
    return min(spans, default=None)


def read_run(path: Path) -> Run:
    """Read a ``vasprun.xml``, trimmed or not.

    Raises
    ------
    BadOutputError
        If it is torn or not one.
    """
    try:
        run = Vasprun(path, parse_dos=False, parse_eigen=True, parse_potcar_file=False)
        step = run.ionic_steps[-1]
        if len(run.ionic_steps) != 1:
            raise BadOutputError(
                f"vasprun.xml has {len(run.ionic_steps)} ionic steps, a static calculation has one"
            )
        return Run(
            version=run.vasp_version.strip(),
            incar=dict(run.incar),
            parameters=dict(run.parameters),
            kpoints=[int(n) for n in run.kpoints.kpts[0]],
            structure=step["structure"],
            # pymatgen mends what some versions of VASP write as the last e_0_energy
            energy_eV=float(run.final_energy),
            free_energy_eV=float(step["e_fr_energy"]),
            forces=np.asarray(step["forces"], dtype=float),
            stress=np.asarray(step["stress"], dtype=float),
            band_gap_eV=band_gap(list((run.eigenvalues or {}).values())),
            scf_steps=len(step["electronic_steps"]),
            converged_electronic=bool(run.converged_electronic),
        )
    except (XMLSyntaxError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadOutputError(f"vasprun.xml: {type(error).__name__}: {str(error)[:200]}") from error


def band_gap(spins: list[np.ndarray]) -> float:
    """Kohn-Sham gap in eV: 0 if the number of filled bands differs between k-points.

    Parameters
    ----------
    spins : list of (k-points, bands, 2) eigenvalue (eV) and occupation (0 to 1)
    """
    tops, bottoms = [], []
    for values in spins:
        energies, filled = values[:, :, 0], (values[:, :, 1] > 0.5).sum(axis=1)
        if len(set(filled)) > 1:
            return 0.0
        tops.append(energies[:, filled[0] - 1].max() if filled[0] else -np.inf)
        bottoms.append(energies[:, filled[0]].min() if filled[0] < energies.shape[1] else np.inf)
    gap = min(bottoms, default=np.inf) - max(tops, default=-np.inf)
    return float(gap) if np.isfinite(gap) and gap > 0 else 0.0


def read_outcar(path: Path) -> Outcar:
    """Read the end of an ``OUTCAR``.

    Raises
    ------
    BadOutputError
        If it has no final energy.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    energies = re.search(
        r"free  energy   TOTEN\s*=\s*(\S+) eV\s*energy  without entropy=\s*\S+\s+energy\(sigma->0\) =\s*(\S+)",
        text[max(text.rfind("FREE ENERGIE OF THE ION-ELECTRON SYSTEM"), 0) :],
    )
    stopped = re.search(r"aborting loop (EDIFF was not reached|because hard stop)[^-\n]*", text)
    try:
        free, energy = (float(value) for value in energies.groups()) if energies else (np.nan, np.nan)
        moments = _moments(text)
    except ValueError as error:
        raise BadOutputError(f"OUTCAR: {error}") from error
    if energies is None:
        raise BadOutputError("OUTCAR has no final energy")
    return Outcar(
        finished="General timing and accounting informations for this job" in text[-20_000:],
        stopped=stopped[0].strip() if stopped else None,
        energy_eV=energy,
        free_energy_eV=free,
        moments_muB=moments,
    )


def _moments(text: str) -> list[float] | None:
    """Totals of the last table of magnetisation, one for each ion."""
    start = text.rfind(" magnetization (x)")
    if start < 0:
        return None
    table = re.search(r"-{5,}\n(.*?)\n-{5,}", text[start:], re.DOTALL)
    return [float(line.split()[-1]) for line in table[1].splitlines()] if table else None
