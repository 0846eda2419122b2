"""Outputs of pw.x: ``data-file-schema.xml``, and what it prints."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from pesatlas.label.bad_output import BadOutputError, TornError
from pesatlas.label.qe.inputs import RYDBERG_EV

HARTREE_EV = 2 * RYDBERG_EV
BOHR_A = 0.529177210903
"""Bohr radius in Å (2018 CODATA, as pw.x)."""
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_VERSION = re.compile(r"Program PWSCF v\.(\S+) starts")
_ENERGY = re.compile(r"^!\s+total energy\s+=\s+(\S+) Ry", re.MULTILINE)
_SMEARING = re.compile(r"^\s+smearing contrib\. \(-TS\)\s+=\s+(\S+) Ry", re.MULTILINE)
# the last of these tables: `atom: 1 charge: 8.68 magn: 1.26` up to 6.8, `atom 1 (R=0.357) charge= ...` after
_MOMENT = re.compile(
    r"^\s+atom:?\s+(\d+)\s+(?:\(R=.*?\)\s+)?charge[:=]\s*\S+\s+magn[:=]\s*(\S+)", re.MULTILINE
)


@dataclass(frozen=True)
class Run:
    """Contents of ``data-file-schema.xml``, in the units of the tables.

    Attributes
    ----------
    used : settings that pw.x used: cut-offs and smearing in Ry, mesh, functional, spin, pseudopotentials
    symbols : without the index that sets species of an element apart
    cell : (3, 3) Å
    positions : (n, 3) Å
    energy_eV : extrapolated to zero smearing, F + TS/2, which holds for Gaussian smearing
    free_energy_eV : that of the forces
    entropy_eV : -TS of the smearing
    forces : (n, 3) eV/Å
    stress : (6,) eV/Å³, Voigt, tension positive
    bands : (k-points, bands, 2) eigenvalue (eV) and occupation (0 to 1) of each spin
    """

    version: str
    used: dict[str, Any]
    symbols: list[str]
    cell: np.ndarray
    positions: np.ndarray
    converged: bool
    scf_steps: int
    energy_eV: float
    free_energy_eV: float
    entropy_eV: float
    forces: np.ndarray
    stress: np.ndarray
    bands: list[np.ndarray]


@dataclass(frozen=True)
class Printed:
    """Text that pw.x printed.

    Attributes
    ----------
    version : empty if it did not get so far
    energies_eV : total energies of converged SCFs; a static calculation has one
    entropy_eV : None if it is not printed
    moments_muB : last table of moments; empty without one
    finished : the last line is there
    """

    version: str
    energies_eV: list[float]
    entropy_eV: float | None
    moments_muB: list[float]
    finished: bool


def read_printed(path: Path, n_atoms: int) -> Printed:
    """Read what pw.x printed into a file."""
    said = path.read_text(encoding="utf-8", errors="replace")
    version, smearing = _VERSION.search(said), _SMEARING.findall(said)
    rows = _MOMENT.findall(said)[-n_atoms:]
    whole = [int(atom) for atom, _ in rows] == list(range(1, n_atoms + 1))
    return Printed(
        version=version[1] if version else "",
        energies_eV=[float(each) * RYDBERG_EV for each in _ENERGY.findall(said)],
        entropy_eV=float(smearing[-1]) * RYDBERG_EV if smearing else None,
        moments_muB=[float(moment) for _, moment in rows] if whole else [],
        finished="JOB DONE." in said,
    )


def read_run(path: Path) -> Run:
    """Read a ``data-file-schema.xml``.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    BadOutputError
        If it is torn (``TornError``), or has no results of an SCF.
    """
    data = path.read_bytes()
    if b"</qes:espresso>" not in data[-200:]:
        raise TornError(f"{path.name} has no end")
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        return _run(etree.fromstring(data, parser))
    except BadOutputError as error:
        raise BadOutputError(f"{path.name}: {error}") from error
    except (etree.XMLSyntaxError, ValueError, KeyError, TypeError) as error:
        raise BadOutputError(f"{path.name}: {type(error).__name__}: {str(error)[:200]}") from error


def _run(root: Any) -> Run:
    output, read = _at(root, "output"), _at(root, "input")
    structure = _at(output, "atomic_structure")
    atoms = structure.findall("atomic_positions/atom")
    n = len(atoms)
    tension = -_numbers(_at(output, "stress")).reshape(3, 3) * HARTREE_EV / BOHR_A**3
    free = float(_text(output, "total_energy/etot")) * HARTREE_EV
    smearing = output.find("total_energy/demet")
    entropy = 0.0 if smearing is None else float(smearing.text) * HARTREE_EV
    return Run(
        version=_at(root, "general_info/creator").get("VERSION", ""),
        used=_used(read, output),
        symbols=[atom.get("name", "").rstrip("0123456789") for atom in atoms],
        cell=np.array([_numbers(_at(structure, f"cell/a{i}")) for i in (1, 2, 3)]) * BOHR_A,
        positions=np.array([_numbers(atom) for atom in atoms]) * BOHR_A,
        converged=_text(output, "convergence_info/scf_conv/convergence_achieved") == "true",
        scf_steps=int(_text(output, "convergence_info/scf_conv/n_scf_steps")),
        energy_eV=free - entropy / 2,
        free_energy_eV=free,
        entropy_eV=entropy,
        forces=_numbers(_at(output, "forces")).reshape(n, 3) * HARTREE_EV / BOHR_A,
        stress=np.array([(tension[i, j] + tension[j, i]) / 2 for i, j in _VOIGT]),
        bands=_bands(_at(output, "band_structure")),
    )


def _used(read: Any, output: Any) -> dict[str, Any]:
    """Return settings as pw.x used them; those that it computes with come from its output."""
    mesh, smearing = _at(read, "k_points_IBZ/monkhorst_pack"), _at(read, "bands/smearing")
    return {
        "calculation": _text(read, "control_variables/calculation"),
        "functional": _text(output, "dft/functional"),
        "ecutwfc": 2 * float(_text(output, "basis_set/ecutwfc")),
        "ecutrho": 2 * float(_text(output, "basis_set/ecutrho")),
        "smearing": (smearing.text or "").strip(),
        "degauss": 2 * float(smearing.get("degauss")),
        "kpoints": [int(mesh.get(f"nk{i}")) for i in (1, 2, 3)],
        "kpoint_offset": [int(mesh.get(f"k{i}")) for i in (1, 2, 3)],
        "charge": float(read.findtext("bands/tot_charge", "0")),
        "spin_polarised": _text(output, "band_structure/lsda") == "true",
        "noncollinear": _text(output, "band_structure/noncolin") == "true",
        "pseudopotentials": {
            each.get("name", "").rstrip("0123456789"): _text(each, "pseudo_file")
            for each in output.findall("atomic_species/species")
        },
    }


def _bands(element: Any) -> list[np.ndarray]:
    """Return eigenvalues (eV) and occupations of each spin; pw.x writes both spins of a k-point in a row."""
    rows = [
        (_numbers(_at(each, "eigenvalues")) * HARTREE_EV, _numbers(_at(each, "occupations")))
        for each in element.findall("ks_energies")
    ]
    if not rows:
        raise BadOutputError("it has no eigenvalues")
    values = np.array([np.stack(row, axis=1) for row in rows])
    up = element.find("nbnd_up")
    return [values] if up is None else [values[:, : int(up.text)], values[:, int(up.text) :]]


def _at(element: Any, path: str) -> Any:
    found = element.find(path)
    if found is None:
        raise BadOutputError(f"it has no {path}")
    return found


def _text(element: Any, path: str) -> str:
    return (_at(element, path).text or "").strip()


def _numbers(element: Any) -> np.ndarray:
    return np.array((element.text or "").split(), dtype=float)
