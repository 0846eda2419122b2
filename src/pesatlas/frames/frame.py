"""A frame of a foreign file, and the check that it is a periodic, neutral, ordered crystal.

Sources of a campaign, ``select``, ``gaps``, ``select.reference`` and ``pesatlas import`` all ask
``check_usable``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pesatlas.atoms.elements import SYMBOLS, atomic_number, symbol_of
from pesatlas.frames.text import decoded
from pesatlas.tables.schemas import FailureReason

ID_KEYS = ("structure_id", "mp_id", "material_id", "matpes_id", "entry_id")
"""Keys under which an entry names its crystal.

In JSON records, extended XYZ comments and ASE database rows.
"""

MOST_ATOMS = 1_000_000
"""A file that claims more atoms for one entry is refused before anything is allocated."""

_LONGEST_VECTOR_A = 1e4
_LARGEST_VOLUME_A3 = 1e6  # for an atom: a box of 100 Å around it
_SMALLEST_VOLUME_A3 = 0.1  # for an atom: about a tenth of what hydrogen has at 1 TPa
_THINNEST_A = 1e-3
_FARTHEST_A = 1e6
_ISOLATED_A = 8.0
_SMALLEST_CHARGE = 1e-3
_ROUNDING_OF_SITES = 0.02
_FULL = 1e-3

_CHARGES = frozenset(
    {"charge", "total_charge", "net_charge", "tot_charge", "system_charge", "cell_charge", "formal_charge"}
)
_OCCUPANCIES = frozenset({"occupancy", "occupancies", "occu", "occupation", "site_occupancy"})
_NOTHING = frozenset({"", "none", "null", "nan"})
ISOTOPES = {"D": ("deuterium", 2.014), "T": ("tritium", 3.016)}
"""Symbols of isotopes that are hydrogen to every potential, with names and masses."""


class UnusableFrame(Exception):  # noqa: N818 - a decision about an entry, not an error of the program
    """An entry that does not become a crystal or a row: an enumerated reason, and a sentence."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Refusal(NamedTuple):
    """An entry of a dataset that does not become a row of table ``imported``.

    The same words as in table ``failures``.
    """

    key: str
    structure_id: str
    reason: FailureReason
    detail: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One entry as its file gives it.

    Attributes
    ----------
    numbers : (n,) int, atomic numbers
    cell : (3, 3), Å, rows are lattice vectors; zeros if the entry has none
    positions : (n, 3), Å, Cartesian
    pbc : along which vectors it is periodic
    about : everything that the entry has beside its geometry, by key; text where the format has text alone
    columns : site properties, n rows each
    warnings : doubts that do not refuse it, each a sentence
    """

    numbers: NDArray[Any]
    cell: NDArray[Any]
    positions: NDArray[Any]
    pbc: tuple[bool, bool, bool] = (True, True, True)
    about: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def check_usable(frame: Frame) -> None:
    """Raise ``UnusableFrame`` if a frame cannot be used; the first reason in this order counts.

    Shapes and elements, periodicity, occupation, charge, numbers that are not finite, the cell, isolated
    atoms.
    """
    n = len(frame.numbers)
    if n == 0 or frame.positions.shape != (n, 3):
        raise UnusableFrame(FailureReason.UNREADABLE, f"{n} atoms with {len(frame.positions)} positions")
    if n > MOST_ATOMS:
        raise UnusableFrame(FailureReason.TOO_MANY_ATOMS, too_many(n))
    if frame.numbers.min() < 1 or frame.numbers.max() > len(SYMBOLS):
        no = sorted({symbol_of(int(z)) for z in frame.numbers if not 1 <= z <= len(SYMBOLS)})
        raise UnusableFrame(FailureReason.UNSUPPORTED_ELEMENT, f"{', '.join(no)} is not an element")
    if str(_named(frame.about, "config_type") or "").lower().replace("_", "") == "isolatedatom":
        raise UnusableFrame(FailureReason.NOT_PERIODIC, "an isolated atom (config_type), no crystal")
    if not all(frame.pbc):
        along = [bool(x) for x in frame.pbc]
        raise UnusableFrame(
            FailureReason.NOT_PERIODIC, f"periodic along {along} only; give it a cell and pbc=True"
        )
    _check_occupancy(frame, n)
    _check_charge(frame)
    if not (np.isfinite(frame.cell).all() and np.isfinite(frame.positions).all()):
        raise UnusableFrame(FailureReason.UNREADABLE, "numbers that are not finite")
    _check_cell(frame, n)
    if np.abs(frame.positions).max() > _FARTHEST_A:
        raise UnusableFrame(FailureReason.UNREADABLE, f"an atom at {np.abs(frame.positions).max():.3g} Å")


def too_many(n: int) -> str:
    """Return the sentence about an entry that claims more than ``MOST_ATOMS`` atoms."""
    return f"it claims {n:,} atoms; more than {MOST_ATOMS:,} are not read"


def _check_cell(frame: Frame, n: int) -> None:
    lengths = np.linalg.norm(frame.cell, axis=1)
    volume = abs(float(np.linalg.det(frame.cell)))
    why = None
    faces = np.linalg.norm(np.cross(frame.cell[[1, 2, 0]], frame.cell[[2, 0, 1]]), axis=1)
    if not volume > max(_SMALLEST_VOLUME_A3 * n, _THINNEST_A * faces.max()):
        why = f"its three lattice vectors span no volume ({volume:.3g} Å3 for {n} atoms)"
    elif lengths.max() > _LONGEST_VECTOR_A:
        why = f"a lattice vector of {lengths.max():.3g} Å: no cell of a crystal"
    elif volume > _LARGEST_VOLUME_A3 * n:
        why = f"{volume / n:.3g} Å3 for an atom: no cell of a crystal"
    elif n == 1 and lengths.min() >= _ISOLATED_A and _nearest_image(frame.cell) >= _ISOLATED_A:
        why = f"one atom, {_nearest_image(frame.cell):.1f} Å from its images: an isolated atom, no crystal"
    if why is not None:
        raise UnusableFrame(FailureReason.NOT_PERIODIC, why)


def _nearest_image(cell: NDArray[Any]) -> float:
    """Shortest lattice vector, of those with coefficients up to 2; enough for the boxes of isolated atoms."""
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ cell, axis=1)
    return float(lengths[lengths > 0].min())


def _named(about: Mapping[str, Any], *names: str) -> Any:
    return next((about[key] for key in about if key.lower() in names), None)


def _check_charge(frame: Frame) -> None:
    for key, value in frame.about.items():
        if bare(key) not in _CHARGES or value is None or str(value).strip().lower() in _NOTHING:
            continue
        try:
            charge = float(value)
        except (TypeError, ValueError):
            raise UnusableFrame(FailureReason.CHARGED, f"{key} is '{value}', and no number") from None
        if abs(charge) > _SMALLEST_CHARGE or not math.isfinite(charge):
            raise UnusableFrame(FailureReason.CHARGED, charged(value))
    sites = frame.columns.get("initial_charges")
    if sites is not None and abs(float(np.sum(sites))) > _ROUNDING_OF_SITES:
        raise UnusableFrame(
            FailureReason.CHARGED, charged(f"{float(np.sum(sites)):g} (the sum of initial charges)")
        )


def charged(charge: Any) -> str:
    """Return the sentence about a charged cell."""
    return (
        f"it has a charge of {charge}; cells of a campaign are neutral, charged ones are another level of "
        "theory"
    )


def bare(key: str) -> str:
    """Return a key in lower case, without the prefixes ``REF_`` and ``DFT_`` of reference labels."""
    name = key.lower()
    return name[4:] if name.startswith(("ref_", "dft_")) else name


def _check_occupancy(frame: Frame, n: int) -> None:
    partly = 0
    for key in frame.columns:
        if key.lower() in _OCCUPANCIES and frame.columns[key].dtype.kind in "fiu":
            partly = int((np.abs(frame.columns[key].reshape(n, -1) - 1) > _FULL).any(axis=1).sum())
    told = _named(frame.about, *_OCCUPANCIES)
    if isinstance(told, str) and told.startswith("_JSON "):
        told = json.loads(told.removeprefix("_JSON "))
    if isinstance(told, Mapping):
        # ASE: {kind of site: {element: occupancy}}
        kinds = [key for key, site in told.items() if isinstance(site, Mapping) and not _is_full(site)]
        partly = max(partly, len(kinds))
    if partly:
        raise UnusableFrame(FailureReason.DISORDERED, disordered(partly, n))


def _is_full(site: Mapping[str, Any]) -> bool:
    return len(site) == 1 and all(abs(float(x) - 1) <= _FULL for x in site.values())


def disordered(partly: int, n: int) -> str:
    """Return the sentence about sites that are shared or partly empty."""
    return f"{partly} of {n} sites are shared or partly empty; make an ordered model of it first"


def numbers_of(symbols: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return atomic numbers, and warnings: deuterium and tritium are read as hydrogen.

    Raises
    ------
    UnusableFrame
        If a symbol is no element.
    """
    kinds: dict[str, int] = {}
    warnings, unknown = [], []
    for symbol in dict.fromkeys(symbols):
        name = symbol.capitalize()
        if name in ISOTOPES:
            kinds[symbol] = 1
            warnings.append(f"{ISOTOPES[name][0]} ({name}) is read as hydrogen")
            continue
        try:
            kinds[symbol] = atomic_number(name)
        except ValueError:
            unknown.append(symbol)
    if unknown:
        named = ", ".join(sorted(unknown)[:5])
        raise UnusableFrame(FailureReason.UNSUPPORTED_ELEMENT, f"{named} is not an element")
    return np.array([kinds[symbol] for symbol in symbols], dtype=np.int64), tuple(warnings)


def isotopes(numbers: NDArray[Any], masses: NDArray[Any] | None) -> tuple[str, ...]:
    """Return warnings about hydrogen with the mass of deuterium or tritium."""
    if masses is None:
        return ()
    hydrogen = np.asarray(masses)[np.asarray(numbers) == 1]
    return tuple(
        f"{name} ({symbol}, by its mass) is read as hydrogen"
        for symbol, (name, mass) in ISOTOPES.items()
        if (np.abs(hydrogen - mass) < 0.1).any()
    )


def own_id(about: Any, keys: Sequence[str] = ID_KEYS) -> str | None:
    """Return the id that an entry carries, as text, or None."""
    if not isinstance(about, Mapping):
        return None
    return next((found for key in keys if (found := text_id(about.get(key))) is not None), None)


def text_id(value: Any) -> str | None:
    """Return an id as text: a text as it is, a number as Python writes it.

    None if there is none (null, not a number, empty).
    """
    if value is None or value != value or value == "":  # noqa: PLR0124 - not a number is not itself
        return None
    return decoded(str(value))
