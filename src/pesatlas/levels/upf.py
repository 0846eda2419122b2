"""Pseudopotentials of Quantum ESPRESSO: a folder of UPF files, and the cut-offs recommended for them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pesatlas.atoms.elements import SYMBOLS
from pesatlas.errors import UserError

_SHOWN = 5
"""Elements whose files are wrong that a message names."""
_PBE = {("PBE",), *(("SLA", "PW", x, c) for x in ("PBE", "PBX") for c in ("PBE", "PBC"))}
"""Names of PBE: pw.x gives the parts of a functional other names since its version 5."""
_HEADER = re.compile(r"<PP_HEADER\b(.*?)(?:/>|</PP_HEADER>)", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_FULLY_RELATIVISTIC = re.compile(r"<PP_(?:SPIN_ORB|ADDINFO)\b")


@dataclass(frozen=True)
class Upf:
    """One pseudopotential.

    Attributes
    ----------
    path : the file
    element : chemical symbol
    kind : NC, USPP, PAW, ... as the file names it
    functional : as the file names it, in upper case with single spaces; ``PBE`` under any of its names
    valence : electrons that are not in the core
    spin_orbit : fully relativistic
    sha256, md5 : of the file's bytes
    """

    path: Path
    element: str
    kind: str
    functional: str
    valence: float
    spin_orbit: bool
    sha256: str
    md5: str


def read_folder(folder: Path) -> dict[str, list[Upf]]:
    """Return the pseudopotentials of a folder by element; both are sorted by name.

    Raises
    ------
    UserError
        If the folder is not there, has no UPF files, or one cannot be read.
    """
    if not folder.is_dir():
        raise UserError(
            f"label.backend.pseudopotentials: {folder} is not a folder. Name the folder with the UPF files "
            "of your set (SSSP, PseudoDojo, ...)."
        )
    found: dict[str, list[Upf]] = {}
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() == ".upf"):
        file = read(path)
        found.setdefault(file.element, []).append(file)
    if not found:
        raise UserError(
            f"label.backend.pseudopotentials: {folder} has no UPF files (*.UPF, *.upf). Unpack your "
            "set there."
        )
    return {element: found[element] for element in sorted(found)}


def read(path: Path) -> Upf:
    """Return what a UPF file says of itself; a file that did not change is read once.

    Raises
    ------
    UserError
        If it has no header of a UPF file.
    """
    about = path.stat()
    return _read(path.resolve(), about.st_mtime_ns, about.st_size)


@cache
def _read(path: Path, _: int, __: int) -> Upf:
    data = path.read_bytes()
    text = data.decode("utf-8", errors="replace")
    found = _HEADER.search(text)
    try:
        if found is None:
            raise ValueError("it has no PP_HEADER")  # noqa: TRY301 - one message for all that is wrong
        attributes = dict(_ATTRIBUTE.findall(found[1]))
        values = _values(attributes) if "element" in attributes else _values_of_version_1(found[1])
        element, kind, functional, valence = values
        if element not in SYMBOLS:
            raise ValueError(f"its element is '{element}'")  # noqa: TRY301 - as above
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{path} is not a UPF file that pesatlas can read ({type(error).__name__}: {error}). Convert it "
            "with Quantum ESPRESSO's upfconv.x, or take another set."
        ) from error
    words = tuple(functional.upper().replace("-", " ").split())
    return Upf(
        path=path,
        element=element,
        kind=kind,
        functional="PBE" if words in _PBE else " ".join(words),
        valence=valence,
        spin_orbit=attributes.get("has_so", "f").strip(". ").lower().startswith("t")
        or ("has_so" not in attributes and _FULLY_RELATIVISTIC.search(text) is not None),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


def _values(attributes: Mapping[str, str]) -> tuple[str, str, str, float]:
    """Return element, type, functional and valence of a file of version 2, whose header has attributes."""
    return (
        attributes["element"].strip().capitalize(),
        attributes["pseudo_type"].strip(),
        attributes["functional"],
        _number(attributes["z_valence"]),
    )


def _values_of_version_1(header: str) -> tuple[str, str, str, float]:
    """Return the same of a file of version 1, whose header has a line for each: value, then its meaning."""
    lines = [line.split() for line in header.strip("> \n").splitlines()]
    return lines[1][0].capitalize(), lines[2][0], " ".join(lines[4][:4]), _number(lines[5][0])


def _number(text: str) -> float:
    """Return a number as Fortran writes it."""
    return float(text.strip().lower().replace("d", "e"))


@dataclass(frozen=True)
class Chosen:
    """The pseudopotential of an element, with its cut-offs in Ry."""

    file: Upf
    wavefunctions_Ry: float
    density_Ry: float

    def about(self) -> dict[str, Any]:
        """Return what defines it, for the level."""
        file = self.file
        return {
            "file": file.path.name,
            "type": file.kind,
            "functional": file.functional,
            "valence": file.valence,
            "sha256": file.sha256,
            "ecutwfc_Ry": self.wavefunctions_Ry,
            "ecutrho_Ry": self.density_Ry,
        }


def choose(
    folder: Path, advice: Mapping[str, Mapping[str, Any]], cutoffs: Mapping[str, tuple[float, float]]
) -> dict[str, Chosen]:
    """Return the pseudopotential of each element of a set, by its symbol.

    Parameters
    ----------
    advice : what is recommended, by element (``recommendations``)
        Of several files of an element it decides which one is taken.
    cutoffs : mapping of symbol to (wavefunctions, density) in Ry
        They go before recommended ones.

    Raises
    ------
    UserError
        If a file is missing, damaged, not for PBE or fully relativistic; an element has several files, or no
        cut-offs. All such problems are named at once.
    """
    files = read_folder(folder)
    chosen, problems = {}, []
    for element, several in files.items():
        try:
            file = _of_several(element, several, advice.get(element))
            chosen[element] = _with_cutoffs(file, advice.get(element), cutoffs.get(element))
        except ValueError as error:
            problems.append(f"{element}: {error}")
    if unknown := sorted(set(cutoffs) - set(files)):
        problems.append(f"cutoffs_Ry names {', '.join(unknown)}, of which {folder} has no file")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if problems[_SHOWN:] else ""
        raise UserError(
            f"label.backend (qe): pseudopotentials of {folder}: {'; '.join(problems[:_SHOWN])}{more}."
        )
    return chosen


def _of_several(element: str, several: list[Upf], advice: Mapping[str, Any] | None) -> Upf:
    names = [file.path.name for file in several]
    if advice is not None and advice.get("filename"):
        found = [file for file in several if file.path.name == advice["filename"]]
        if not found:
            raise ValueError(
                f"the recommendations name {advice['filename']}, the folder has {', '.join(names)}"
            )
        if advice.get("md5") and advice["md5"] != found[0].md5:
            raise ValueError(
                f"{found[0].path.name} is damaged or of another release: md5 {found[0].md5}, the "
                f"recommendations have {advice['md5']}"
            )
        several = found
    elif advice is not None and advice.get("md5"):
        found = [file for file in several if file.md5 == advice["md5"]]
        if not found:
            raise ValueError(
                f"{', '.join(names)} is damaged or of another release: the recommendations are for a file "
                f"with md5 {advice['md5']}"
            )
        several = found[:1]
    if len(several) > 1:
        raise ValueError(
            f"there are {len(several)} files ({', '.join(names)}); leave one {element} in the folder, or "
            "name one in the recommendations"
        )
    (file,) = several
    if file.functional != "PBE":
        raise ValueError(f"{file.path.name} is for {file.functional}, the level is PBE")
    if file.spin_orbit:
        raise ValueError(f"{file.path.name} is fully relativistic, the level has no spin-orbit coupling")
    return file


def _with_cutoffs(file: Upf, advice: Mapping[str, Any] | None, given: tuple[float, float] | None) -> Chosen:
    if given is None and advice is not None and "cutoff_wfc" in advice:
        given = float(advice["cutoff_wfc"]), float(advice["cutoff_rho"])
    if given is None:
        why = f" ({advice['why']})" if advice is not None and "why" in advice else ""
        raise ValueError(
            f"no cut-offs{why}; add label.backend.recommendations, or "
            f"cutoffs_Ry: {{{file.element}: [wavefunctions, density]}}"
        )
    waves, density = given
    if density < 4 * waves:
        raise ValueError(f"the cut-off of the density, {density:g} Ry, is less than four times {waves:g} Ry")
    return Chosen(file, waves, density)
