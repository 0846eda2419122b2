"""vasprun.xml: inputs as VASP read them, and the one ionic step of a static calculation, in VASP's units.

Orbital projections and densities of states, which are most of the bytes, are dropped while the file is read.
Values of parameters that VASP had no room for (``******``) stay text: a parameter that no label needs costs
no label.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from lxml import etree
from pymatgen.core import Element, Structure

from pesatlas.label.bad_output import BadOutputError, TornError
from pesatlas.label.vasp.open_files import open_file

# Not read: each may have more bytes than all the rest.
_DROPPED = frozenset(
    {"dos", "projected", "dielectricfunction", "eigenvalues_kpoints_opt", "projected_kpoints_opt"}
)
_HEADS = frozenset({"generator", "incar", "kpoints", "parameters", "atominfo"})
_ENERGIES = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
# e_0_energy and e_wo_entrp of the last block, which has 8 decimals, are both one of these.
_SAME_ENERGY_EV = 1e-6
# Beginnings of ALGO that make something else of orbitals than a self-consistent ground state.
_NOT_GROUND_STATE = (
    *("ACFDT", "BSE", "CASIDA", "CHI", "CRPA", "EIGENVAL", "EVGW", "EXACT", "GW", "NONE", "NOTHING"),
    *("QPGW", "RPA", "SCGW", "SUBROT", "TDHF", "TIMEEV", "2E4W"),
)

_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "string": str,
    "logical": lambda word: word.strip(".").upper().startswith("T"),
}


@dataclass(frozen=True)
class Run:
    """Contents of ``vasprun.xml``, in VASP's units and the POSCAR's order of atoms.

    Attributes
    ----------
    incar : keys of the INCAR as VASP read it
    parameters : keys as VASP used it, defaults included
    kpoints : divisions of the mesh; empty if k-points were listed
    forces : (n, 3) eV/Å
    stress : (3, 3) kbar, positive under compression
    band_gap_eV : on the k-points of the calculation, 0 if a band crosses the Fermi level; None without
        eigenvalues
    scf_steps : of the ground state; linear response, which follows it, is not counted
    potcars : titles of the pseudopotentials, in the order of the POTCAR
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
    band_gap_eV: float | None
    scf_steps: int
    converged_electronic: bool
    potcars: list[str]


class _Tail:
    """A file that is read once, and knows whether it was whole."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle, self._end = handle, b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._handle.read(size)
        self._end = (self._end + data[-100:])[-100:]
        return data

    def is_whole(self) -> bool:
        """Whether the last tag is closed; reads what is left."""
        while self.read(1 << 20):
            pass
        return b"</modeling>" in self._end


def read_run(path: Path) -> Run:
    """Read a ``vasprun.xml`` of one ionic step: trimmed or not, plain or compressed.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    BadOutputError
        If it is torn (``TornError``), not one, of several ionic steps, or of no self-consistent ground state.
    """
    with open_file(path) as handle:
        source = _Tail(handle)
        try:
            return _run(_elements(source))
        except BadOutputError as error:
            raise type(error)(f"vasprun.xml: {error}") from error
        except Exception as error:
            raise _kind(source, error)(f"vasprun.xml: {type(error).__name__}: {str(error)[:200]}") from error


def _kind(source: _Tail, error: Exception) -> type[BadOutputError]:
    if isinstance(error, etree.XMLSyntaxError):
        try:
            return BadOutputError if source.is_whole() else TornError
        except Exception:  # noqa: BLE001 - it does not decompress
            return TornError
    return TornError if isinstance(error, EOFError) else BadOutputError


def _elements(source: _Tail) -> dict[str, Any]:
    """Read the file once; return the elements that are needed, and how many ionic steps there are."""
    found: dict[str, Any] = {"steps": 0}
    dropping = 0
    for event, element in etree.iterparse(
        source, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
    ):
        tag = element.tag
        if event == "start":
            dropping += tag in _DROPPED
            continue
        if dropping:
            dropping -= tag in _DROPPED
            element.clear()
        elif tag == "calculation":
            found["steps"] += 1
            if tag in found:
                found[tag].clear()
            found[tag] = element
        elif tag in _HEADS:
            found.setdefault(tag, element)
    return found


def _run(found: dict[str, Any]) -> Run:
    if missing := sorted(_HEADS - found.keys()):
        raise BadOutputError(f"there is no {', '.join(missing)}")
    incar, parameters = _values(found["incar"]), _values(found["parameters"])
    _check_ground_state(incar)
    if found["steps"] != 1:
        raise BadOutputError(f"it has {found['steps']} ionic steps, a static calculation has one")
    calculation = found["calculation"]
    scf = _ground_state_steps(calculation)
    free, energy = _energies(calculation, scf[-1])
    symbols, potcars = _atoms(found["atominfo"])
    structure = _structure(calculation, symbols)
    forces, stress = _array(calculation, "forces"), _array(calculation, "stress")
    if forces.shape != (len(symbols), 3) or stress.shape != (3, 3):
        raise BadOutputError(
            f"forces of shape {forces.shape}, stress of shape {stress.shape}, {len(symbols)} atoms"
        )
    bands = _bands(calculation)
    return Run(
        version=_text(found["generator"].find("i[@name='version']")),
        incar=incar,
        parameters=parameters,
        kpoints=_divisions(found["kpoints"]),
        structure=structure,
        energy_eV=energy,
        free_energy_eV=free,
        forces=forces,
        stress=stress,
        band_gap_eV=band_gap(bands) if bands else None,
        scf_steps=len(scf),
        converged_electronic=len(scf) < int(parameters["NELM"]),
        potcars=potcars,
    )


def _text(element: Any) -> str:
    return (element.text or "").strip()


def _values(element: Any) -> dict[str, Any]:
    """Return the keys of an INCAR or of VASP's parameters; of one that is there twice, the first."""
    values: dict[str, Any] = {}
    for child in element:
        if child.tag in {"i", "v"}:
            # VASP 6.4.3 pads names, VASP 5 has some in small letters
            values.setdefault(child.get("name", "").strip().upper(), _value(child))
        elif child.tag == "separator":
            values = _values(child) | values
    return values


def _value(element: Any) -> Any:
    """Return a value as its type says; as text where VASP had no room for it and wrote ``****``."""
    text, read = _text(element), _READ[element.get("type", "float")]
    try:
        return read(text) if element.tag == "i" else [read(word) for word in text.split()]
    except ValueError:
        return text


def _check_ground_state(incar: dict[str, Any]) -> None:
    algorithm = str(incar.get("ALGO", "Normal")).upper()
    if algorithm.startswith(_NOT_GROUND_STATE):
        raise BadOutputError(f"ALGO = {algorithm} is not a self-consistent ground state")
    if incar.get("ML_LMLFF") is True:
        raise BadOutputError("ML_LMLFF: energies of a machine-learned force field are not labels")


def _ground_state_steps(calculation: Any) -> list[Any]:
    """Return the SCF steps of the ground state.

    Its first and its last have all terms of the energy. Steps of linear response, which has an energy of its
    own, follow and never have them.
    """
    steps = calculation.findall("scstep")
    if not steps:
        raise BadOutputError("it has no SCF steps")
    whole = [i for i, step in enumerate(steps) if len(step.findall("energy/i")) > len(_ENERGIES)]
    return list(steps[: whole[-1] + 1]) if len(whole) > 1 else list(steps)


def _energies(calculation: Any, last_step: Any) -> tuple[float, float]:
    """Return the free energy and the energy for zero smearing, eV.

    Up to VASP 6.0 the last block has the second as ``e_wo_entrp``, and the entropy as ``e_0_energy``: the
    difference that the last SCF step has between them tells which one it is.
    """
    final, step = _energy(calculation.find("energy")), _energy(last_step.find("energy"))
    free, others = final["e_fr_energy"], (final["e_0_energy"], final["e_wo_entrp"])
    energy = round(free + step["e_0_energy"] - step["e_fr_energy"], 8)
    near = [other for other in others if abs(other - energy) < _SAME_ENERGY_EV]
    if not near and math.isfinite(energy):
        raise BadOutputError(
            f"neither e_0_energy nor e_wo_entrp of {others} is the {energy} eV of its last SCF step"
        )
    return free, near[0] if near else energy


def _energy(element: Any) -> dict[str, float]:
    if element is None:
        raise BadOutputError("it has no final energy")
    return {name: float(_text(element.find(f"i[@name='{name}']"))) for name in _ENERGIES}


def _atoms(element: Any) -> tuple[list[str], list[str]]:
    """Return chemical symbols of the atoms, and titles of the pseudopotentials.

    Some versions of VASP cut or mistake symbols (``r`` for Zr, ``X`` for Xe): then the title of the
    pseudopotential tells.
    """
    rows = [[_text(cell) for cell in row] for row in element.findall("array[@name='atomtypes']/set/rc")]
    titles = [row[4] for row in rows]
    symbols = []
    for row in element.findall("array[@name='atoms']/set/rc"):
        symbol, kind = (_text(cell) for cell in row)
        if not Element.is_valid_symbol(symbol):
            symbol = titles[int(kind) - 1].split()[1].split("_")[0]
        symbols.append(symbol)
    return symbols, titles


def _structure(calculation: Any, symbols: list[str]) -> Structure:
    element = calculation.find("structure")
    if element is None:
        raise BadOutputError("it has no final structure")
    return Structure(_array(element.find("crystal"), "basis"), symbols, _array(element, "positions"))


def _array(element: Any, name: str) -> np.ndarray:
    found = element.find(f"varray[@name='{name}']")
    if found is None:
        raise BadOutputError(f"it has no {name}")
    return np.array([_text(row).split() for row in found.findall("v")], dtype=float)


def _divisions(element: Any) -> list[int]:
    found = element.find("generation/v[@name='divisions']")
    return [] if found is None else [int(word) for word in _text(found).split()]


def _bands(calculation: Any) -> list[np.ndarray]:
    """Return (k-points, bands, 2) eigenvalue (eV) and occupation (0 to 1) of each spin."""
    spins = []
    for spin in calculation.findall("eigenvalues/array/set/set"):
        points = [
            np.array([_text(row).split() for row in point], dtype=float) for point in spin.findall("set")
        ]
        spins.append(np.array(points))
    if not all(np.isfinite(values).all() for values in spins):
        raise BadOutputError("eigenvalues are not finite")
    return spins


def band_gap(spins: Iterable[np.ndarray]) -> float:
    """Kohn-Sham gap in eV: 0 if the number of filled bands differs between k-points.

    Parameters
    ----------
    spins : iterable of (k-points, bands, 2) eigenvalue (eV) and occupation (0 to 1)
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
