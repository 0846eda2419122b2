"""VASP's pseudopotentials: location, and comparison with those of a level."""

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from pesatlas.errors import UserError

FUNCTIONAL = "PBE_64"
_FOLDER = "POT_PAW_PBE_64"  # pymatgen's name for it
SET_UP = (
    "POTCARs are VASP's, under your licence: unpack its data set potpaw_PBE.64 and run "
    "`pmg config -p potpaw_PBE.64 POTCARS`, then `export PMG_VASP_PSP_DIR=/path/to/POTCARS` (or "
    "`pmg config --add PMG_VASP_PSP_DIR /path/to/POTCARS`)"
)
_reading = Lock()


class MissingPotcarError(Exception):
    """There is no POTCAR of this symbol."""


@dataclass(frozen=True)
class Potcar:
    """One pseudopotential.

    Attributes
    ----------
    symbol : e.g. ``Fe_pv``
    text : the file
    title : its TITEL
    sha256 : of the file's text, 16 digits
    known : pymatgen knows this file as the one of this symbol in the data set of the level
    """

    symbol: str
    text: str
    title: str
    sha256: str
    known: bool


def folder() -> Path:
    """Return the folder of POTCARs of the level's data set, ``$PMG_VASP_PSP_DIR/POT_PAW_PBE_64``.

    Raises
    ------
    UserError
        If the user has set up none.
    """
    top = os.environ.get("PMG_VASP_PSP_DIR")
    if top and (path := Path(top).expanduser() / _FOLDER).is_dir():
        return path
    settings = _pymatgen_settings()
    top = top or settings.get("PMG_VASP_PSP_DIR")
    if not top:
        raise UserError(f"PMG_VASP_PSP_DIR is not set. {SET_UP}.")
    path = Path(top).expanduser() / settings.get("PMG_VASP_PSP_SUB_DIRS", {}).get(FUNCTIONAL, _FOLDER)
    if not path.is_dir():
        raise UserError(f"{path} (from PMG_VASP_PSP_DIR) is not a folder of POTCARs. {SET_UP}.")
    return path


def symbols() -> dict[str, str]:
    """Return the POTCAR that ``MatPESStaticSet`` takes for each element, e.g. ``{"Fe": "Fe_pv"}``."""
    from pymatgen.io.vasp.sets import MatPESStaticSet  # noqa: PLC0415 - slow to import

    return dict(MatPESStaticSet.CONFIG["POTCAR"])


def path_of(symbol: str) -> Path | None:
    """Return the file of a symbol, laid out as pymatgen lays it out.

    ``POTCAR.Fe_pv[.gz]`` or ``Fe_pv/POTCAR[.gz]``.
    """
    top = folder()
    for name in (f"POTCAR.{symbol}", f"{symbol}/POTCAR"):
        for ending in ("", ".gz", ".bz2", ".xz", ".Z"):
            if (path := top / f"{name}{ending}").is_file():
                return path
    return None


def missing(wanted: Iterable[str]) -> list[str]:
    """Return which of these symbols have no POTCAR here: all of them if no folder of POTCARs is set up."""
    try:
        return [symbol for symbol in wanted if path_of(symbol) is None]
    except UserError:
        return list(wanted)


def read(symbol: str) -> Potcar:
    """Return the POTCAR of a symbol; every file is read once. May be called from several threads.

    Raises
    ------
    MissingPotcarError
        If there is none.
    UserError
        If it is no POTCAR.
    """
    path = path_of(symbol)
    if path is None:
        raise MissingPotcarError(f"no POTCAR {symbol} in {folder()}")
    with _reading:
        return _read(path, symbol, path.stat().st_mtime_ns)


@cache
def _read(path: Path, symbol: str, _: int) -> Potcar:
    from monty.io import zopen  # noqa: PLC0415 - only where VASP is used
    from pymatgen.io.vasp.inputs import PotcarSingle  # noqa: PLC0415 - slow to import

    with zopen(path, mode="rt", encoding="utf-8", errors="ignore") as handle:
        text = str(handle.read())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown POTCAR is told apart by what is asked below
            single = PotcarSingle(text, symbol=symbol)
            sets, names = single.identify_potcar(mode="file")
            title = single.TITEL
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{path} is not a POTCAR ({type(error).__name__}: {error}). {SET_UP}.") from error
    known = FUNCTIONAL in sets and symbol in names
    return Potcar(symbol, text, title, hashlib.sha256(text.encode()).hexdigest()[:16], known)


def known_data(wanted: dict[str, str]) -> dict[str, Any]:
    """Return what pymatgen knows of each wanted symbol's POTCAR in the level's data set.

    Title and statistics of its numbers.
    """
    from pymatgen.io.vasp.inputs import _load_potcar_summary_stats  # noqa: PLC0415 - no public way

    needed = set(wanted.values())
    found: dict[str, Any] = {}
    for title, variants in _load_potcar_summary_stats()[FUNCTIONAL].items():
        for variant in variants:
            if variant["symbol"] in needed:
                found.setdefault(variant["symbol"], []).append([title, variant["VRHFIN"], variant["stats"]])
    return found


def found_data(wanted: dict[str, str]) -> dict[str, str]:
    """Return the hash of every wanted symbol's POTCAR that is there."""
    return {symbol: read(symbol).sha256 for symbol in sorted(set(wanted.values())) if path_of(symbol)}


@cache
def _pymatgen_settings() -> dict[str, Any]:
    from pymatgen.core import SETTINGS  # noqa: PLC0415 - slow to import

    return dict(SETTINGS)
