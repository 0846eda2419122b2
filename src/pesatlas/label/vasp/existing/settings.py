"""Settings of a run from its ``vasprun.xml``: INCAR, values in effect, k-points, POTCARs, crystal."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from lxml import etree

from pesatlas.atoms.elements import atomic_number

Value = Any
"""A key's value: a word, a truth, a number, or a list of numbers."""


@dataclass(frozen=True)
class RunSettings:
    """Settings that decide the numbers of a run.

    Attributes
    ----------
    version : of VASP, e.g. ``6.4.3``
    incar : keys that the INCAR had
    used : keys as VASP used them, defaults included
    mesh : divisions of the k-mesh; None for a list of points or a path
    gamma : whether Γ is one of its points
    points : k-points in words, where there is no mesh
    titles : POTCARs, in the order of the POSCAR
    charge : electrons less than those of the neutral atoms
    code : what calculated it
    """

    version: str
    incar: dict[str, Value]
    used: dict[str, Value] = field(default_factory=dict)
    mesh: list[int] | None = None
    gamma: bool = True
    points: str = ""
    titles: list[str] = field(default_factory=list)
    charge: float | None = None
    code: str = "vasp"

    def get(self, key: str) -> Value:
        """Return a key's value: of the INCAR, else as VASP used it; None if neither tells."""
        return self.incar.get(key, self.used.get(key))

    def as_json(self) -> dict[str, Any]:
        """Return them for the column ``settings``."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what ``as_json`` returned."""
        return cls(**raw)


@dataclass(frozen=True)
class RunHeader:
    """Contents of ``vasprun.xml`` before the first step.

    Attributes
    ----------
    settings : see there
    numbers : (n,) atomic numbers
    cell : (3, 3) Å, rows are lattice vectors; None if only the step has it, as after some restarts
    positions : (n, 3) Å
    """

    settings: RunSettings
    numbers: np.ndarray
    cell: np.ndarray | None
    positions: np.ndarray | None


_SAME_POINT = 1e-6

# What VASP writes of itself beyond these decides no number of a static calculation; files stay small.
_USED = frozenset(
    {
        *("ENMAX", "PREC", "EDIFF", "ISMEAR", "SIGMA", "ISPIN", "LASPH", "LREAL", "GGA", "METAGGA", "NELECT"),
        *("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ", "LHFCALC", "LUSE_VDW", "LNONCOLLINEAR", "LSORBIT"),
        *("NUPDOWN", "ADDGRID", "LDIPOL", "IDIPOL", "EFIELD", "PSTRESS", "LSPIRAL", "GGA_COMPAT", "IVDW"),
    }
)


def read_header(path: Path) -> RunHeader:
    """Read the settings and the crystal of a plain ``vasprun.xml``, as far as its first step.

    Raises
    ------
    ValueError
        If a part is missing or cannot be understood.
    """
    found: dict[str, Any] = {}
    for element in _parts(path):
        if element.tag == "generator":
            found["version"] = _values(element).get("version", "")
        elif element.tag in {"incar", "parameters"}:
            found[element.tag] = _values(element)
        elif element.tag == "kpoints":
            found.setdefault("kpoints", _kpoints(element))
        elif element.tag == "atominfo":
            found["atoms"] = _atoms(element)
        elif element.get("name") == "initialpos":
            found["structure"] = _structure(element)
    missing = {"version", "incar", "parameters", "kpoints", "atoms"} - found.keys()
    if missing:
        raise ValueError(f"vasprun.xml has no {', '.join(sorted(missing))} before its first step")
    symbols, titles, neutral = found["atoms"]
    cell, fractional = found.get("structure", (None, None))
    if fractional is not None and len(symbols) != len(fractional):
        raise ValueError(f"vasprun.xml names {len(symbols)} atoms and has {len(fractional)} positions")
    electrons = found["parameters"].get("NELECT")
    settings = RunSettings(
        version=str(found["version"]).strip(),
        incar=found["incar"],
        used={key: value for key, value in found["parameters"].items() if key in _USED},
        titles=titles,
        charge=None if electrons is None or neutral is None else round(neutral - electrons, 6),
        **found["kpoints"],
    )
    numbers = np.array([atomic_number(s) for s in symbols])
    return RunHeader(settings, numbers, cell, None if fractional is None else fractional @ cell)


def count_steps(path: Path) -> int:
    """Return how many ionic steps a plain ``vasprun.xml`` has."""
    with path.open("rb") as handle:
        return sum(line.count(b"<calculation>") for line in handle)


def _parts(path: Path) -> Iterator[Any]:
    """Yield the elements below the root before the first step.

    VASP's bytes that are no XML are passed over.
    """
    depth = 0
    with path.open("rb") as handle:
        steps = etree.iterparse(
            handle,
            events=("start", "end"),
            recover=True,
            huge_tree=True,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
        )
        for event, element in steps:
            depth += 1 if event == "start" else -1
            if event == "start" and element.tag == "calculation":
                return
            if event == "end" and depth == 1:
                yield element


def _values(element: Any) -> dict[str, Value]:
    """Return all keys below an element, those of its separators too."""
    found: dict[str, Value] = {}
    for each in element.iter("i", "v"):
        name = each.get("name")
        if name:
            found[name.strip()] = _value(each)
    return found


def _value(element: Any) -> Value:
    text, kind = (element.text or "").strip(), element.get("type")
    if kind == "string":
        return text.split("!")[0].split("#")[0].strip()
    if element.tag == "v":
        return [_number(word, kind) for word in text.split()]
    return _number(text, kind)


def _number(text: str, kind: str | None) -> Value:
    """Return a truth or a number; None where VASP had no room for it (``******``)."""
    if kind == "logical":
        return text.upper().strip(".")[:1] == "T"
    if kind == "string":
        return text
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return None


def _kpoints(element: Any) -> dict[str, Any]:
    generation = element.find("generation")
    listed = _rows(element.find("varray[@name='kpointlist']"))
    if generation is None:
        return {"points": f"a list of {len(listed)} points"}
    style, values = generation.get("param", ""), _values(generation)
    divisions = values.get("divisions")
    if style == "listgenerated" or not isinstance(divisions, list) or None in divisions:
        return {"points": f"{style or 'points'} without a mesh"}
    # VASP's words for a shift mean another thing for odd divisions: its own list of points is clear
    return {"mesh": divisions, "gamma": bool((np.abs(listed).sum(axis=-1) < _SAME_POINT).any())}


def _atoms(element: Any) -> tuple[list[str], list[str], float | None]:
    """Return symbols of all atoms, titles of POTCARs, and the electrons of the neutral crystal."""
    symbols = [row.findtext("c", "").strip() for row in element.iterfind("array[@name='atoms']/set/rc")]
    types = [[c.text or "" for c in row] for row in element.iterfind("array[@name='atomtypes']/set/rc")]
    titles = [" ".join(row[4].split()) for row in types]
    counts, valences = ([_number(row[i].strip(), None) for row in types] for i in (0, 3))
    known = None not in counts and None not in valences
    neutral = sum(n * z for n, z in zip(counts, valences, strict=True)) if known else None
    # VASP cuts "Yb" short in no case, but writes "r" for "Zr" in some builds: the POTCAR knows better
    kinds = [_symbol(title) for title in titles]
    rows = [_number(row[1].text or "", "int") for row in element.iterfind("array[@name='atoms']/set/rc")]
    if kinds and all(isinstance(i, int) and 1 <= i <= len(kinds) for i in rows):
        symbols = [kinds[i - 1] for i in rows]
    return symbols, titles, neutral


def _symbol(title: str) -> str:
    """Return the element of a POTCAR, e.g. ``Fe`` of ``PAW_PBE Fe_pv 02Aug2007``."""
    words = title.split()
    return (words[1] if len(words) > 1 else title).split("_")[0].split(".")[0]


def _structure(element: Any) -> tuple[np.ndarray, np.ndarray]:
    cell = _rows(element.find("crystal/varray[@name='basis']"))
    positions = _rows(element.find("varray[@name='positions']"))
    if cell.shape != (3, 3) or positions.shape[1:] != (3,):
        raise ValueError("the first structure in vasprun.xml is truncated")
    return cell, positions


def _rows(element: Any) -> np.ndarray:
    rows = [] if element is None else [each.text.split() for each in element.iterfind("v")]
    return np.array(rows, dtype=float)
