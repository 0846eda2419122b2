"""Labels of foreign entries: energy, forces, stress and moments under the names of various programs.

Names may have the prefix ``REF_`` (MACE) or ``dft_`` (GAP), in any case of letters. A virial is minus the
stress times the volume. Whatever looks like a label and is not read is named in a note; notes are counted by
the importer. A stress that is zero throughout was not calculated: no program prints six exact zeros for a
crystal, and many put zeros where they have nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pesatlas.frames.comment import floats_of
from pesatlas.frames.frame import Frame, UnusableFrame, bare
from pesatlas.tables.schemas import FailureReason

_ENERGY, _FREE, _FORCES, _STRESS, _VIRIAL, _MOMENTS = (
    *("energy", "free_energy", "forces", "stress", "virial", "magmoms"),
)
_NAMES = {
    "energy": _ENERGY,
    "total_energy": _ENERGY,
    "free_energy": _FREE,
    "forces": _FORCES,
    "force": _FORCES,
    "stress": _STRESS,
    "virial": _VIRIAL,
    "virials": _VIRIAL,
    "magmoms": _MOMENTS,
}
_OUR_COLUMNS = {"energy_eV", "free_energy_eV", "forces_eV_per_A", "stress_eV_per_A3"}
_OF_ATOMS = {_FORCES, _MOMENTS}
_FAMILIES = ("ref", "dft", "")
_QUANTITY = {_FREE: _ENERGY, _VIRIAL: _STRESS}
"""Labels of one quantity: of two prefixes, one is of another calculation."""
_ALIKE = {"energy": {_ENERGY, _FREE}, "forces": {_FORCES}}
_LOOKS_LIKE_A_LABEL = re.compile(
    r"energ|force|stress|virial|pressure|magmom|magnetic_moment|dipole|polari[sz]ab|hessian|born_|^bec$"
    r"|band_?gap|^charges$"
)
_NOT_A_LABEL = re.compile(r"weight|cutoff|above_hull|initial_|_key$|^max_|^config")
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_ASYMMETRY = 1e-2
_SMALLEST_STRESS = 1e-5  # eV/Å³, 1.6 MPa: below it, digits that were cut off may be of any sign

NOT_COMPUTED = "a stress that is zero throughout was not calculated: null"
"""The note about stresses of zero."""


@dataclass(frozen=True)
class Labels:
    """What was calculated for a frame: eV, eV/Å, eV/Å³ tension positive in Voigt order xx yy zz yz xz xy, μB.

    ``notes`` say what was not taken as it stands; they have no numbers of the row, so that they can be
    counted.
    """

    energy: float
    free_energy: float | None
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    magmoms: NDArray[np.float64] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    key: str
    family: str
    value: Any


def read_labels(
    frame: Frame, extra: Mapping[str, Any] | None = None, known: frozenset[str] = frozenset()
) -> Labels:
    """Return the labels of a frame.

    Parameters
    ----------
    extra : more keys and values beside those of ``frame.about``
    known : keys that a caller reads by itself: they are not named as unread

    Raises
    ------
    UnusableFrame
        If energy or forces are missing or of another calculation, something is not finite or no number, or
        two values contradict each other.
    """
    found, unread = _find(frame, extra or {}, known)
    taken, others = _take(found)
    notes = [f"{key} is not read" for key in (*unread, *(each.key for each in others))]
    energy = taken.get(_ENERGY)
    if energy is None and _FREE in taken:
        energy = taken[_FREE]
        notes.append(f"the energy is {energy.key}: there is no other")
    missing = [name for name, there in (("energy", energy), ("forces", taken.get(_FORCES))) if there is None]
    if missing or energy is None:
        raise _missing(missing, taken, others, unread)
    _check_twins(taken, others)
    n = len(frame.numbers)
    free_energy = _number(taken[_FREE]) if _FREE in taken else None
    forces = _floats(taken[_FORCES])
    if len(forces) != 3 * n:
        raise UnusableFrame(
            FailureReason.INCOMPLETE, f"{taken[_FORCES].key}: {len(forces)} numbers for {n} atoms"
        )
    moments = _floats(taken[_MOMENTS]) if _MOMENTS in taken else None
    if moments is not None and len(moments) != n:
        notes.append(f"{taken[_MOMENTS].key} is not read: not one number for each atom")
        moments = None
    stress, more = _stress(taken.get(_STRESS), taken.get(_VIRIAL), frame)
    return Labels(_number(energy), free_energy, forces.reshape(-1, 3), stress, moments, (*notes, *more))


def check_finite(frame: Frame, extra: Mapping[str, Any]) -> None:
    """Refuse a frame with a label that is not finite, also where labels are only handed on.

    Without labels there is nothing to refuse.

    Parameters
    ----------
    extra : more keys and values beside those of ``frame.about``; forces of JSON records are among them

    Raises
    ------
    UnusableFrame
        If a label that ``read_labels`` would take is not finite.
    """
    found, _ = _find(frame, extra, frozenset(), anywhere=True)
    for each in _take(found)[0].values():
        try:
            finite = np.isfinite(floats_of(each.value)).all()
        except (TypeError, ValueError):
            continue  # no numbers: for who reads them
        if not finite:
            raise UnusableFrame(FailureReason.NOT_FINITE, f"{each.key} is not finite")


def is_label(column: str) -> bool:
    """Whether a column of a table holds energies, forces or stresses.

    Under a name of foreign files, or of our own tables.
    """
    return column in _OUR_COLUMNS or _NAMES.get(bare(column)) not in {None, _MOMENTS}


def voigt(stress: Any, noise: float = 0.0) -> NDArray[np.float64]:
    """Return the six numbers of a stress given as six, as nine or as three rows of three.

    Parameters
    ----------
    noise : difference of two components that may come of digits that were cut off

    Raises
    ------
    ValueError
        If it has another number of numbers, or is not symmetric.
    """
    numbers = floats_of(stress)
    if len(numbers) == 6:
        return numbers
    if len(numbers) != 9:
        raise ValueError(f"{len(numbers)} numbers, not six or nine")
    tensor = numbers.reshape(3, 3)
    largest = float(np.abs(tensor).max())
    asymmetry = float(np.abs(tensor - tensor.T).max())
    if asymmetry > _ASYMMETRY * largest + noise:
        raise ValueError(f"not symmetric: components differ by {asymmetry:g}, and the largest is {largest:g}")
    tensor = (tensor + tensor.T) / 2
    return np.array([tensor[i, j] for i, j in _VOIGT])


def _find(
    frame: Frame, extra: Mapping[str, Any], known: frozenset[str], *, anywhere: bool = False
) -> tuple[dict[str, list[_Found]], list[str]]:
    """Return the labels by what they are, and the keys that look like labels and are none of these.

    ``anywhere``: forces that are no column (JSON records) count, too.
    """
    found: dict[str, list[_Found]] = {}
    unread: list[str] = []
    beside = [(key, value, False) for key, value in {**frame.about, **extra}.items()]
    for key, value, of_atoms in [*beside, *((key, array, True) for key, array in frame.columns.items())]:
        if key in known or value is None:
            continue
        kind = _NAMES.get(bare(key))
        if kind is not None and ((kind in _OF_ATOMS) == of_atoms or (anywhere and not of_atoms)):
            family = key.lower().removesuffix(bare(key)).rstrip("_")
            found.setdefault(kind, []).append(_Found(key, family, value))
        elif _LOOKS_LIKE_A_LABEL.search(key.lower()) and not _NOT_A_LABEL.search(key.lower()):
            unread.append(key)
    return found, unread


def _take(found: Mapping[str, list[_Found]]) -> tuple[dict[str, _Found], list[_Found]]:
    """Return one value for each label, and the others.

    Reference labels go before others. Labels of several prefixes are taken together where none of them
    competes: whoever has two energies has one of a model, and the forces and the stress with the same prefix
    are the model's.
    """
    everything = [(kind, each) for kind, those in found.items() for each in those]
    taken: dict[str, _Found] = {}
    others: list[_Found] = []
    for family in _FAMILIES:
        mine = [(kind, each) for kind, each in everything if each.family == family]
        claimed = {_QUANTITY.get(kind, kind) for kind in taken}
        if any(_QUANTITY.get(kind, kind) in claimed for kind, _ in mine):
            others += [each for _, each in mine]
            continue
        for kind, each in mine:
            if kind in taken:
                others.append(each)
            else:
                taken[kind] = each
    return taken, others


def _missing(
    missing: list[str], taken: Mapping[str, _Found], others: list[_Found], unread: list[str]
) -> UnusableFrame:
    """Return why there is no row without an energy or without forces."""
    for name in missing:
        rivals = [each for each in others if _NAMES[bare(each.key)] in _ALIKE[name]]
        if rivals and taken:
            with_it = ", ".join(each.key for each in others if each.family == rivals[0].family)
            mine = ", ".join(each.key for each in taken.values())
            return UnusableFrame(
                FailureReason.BAD_OUTPUT,
                f"labels of two calculations: {mine}; and {with_it}. The first have no {name}, and "
                f"{rivals[0].key} may be of a model",
            )
    named = [*unread, *(each.key for each in others)]
    other = f"; it has {', '.join(named)}, not read" if named else ""
    return UnusableFrame(FailureReason.INCOMPLETE, f"it has no {' and no '.join(missing)}{other}")


def _check_twins(taken: Mapping[str, _Found], others: list[_Found]) -> None:
    """Refuse two values of the same prefix for one label that are not the same."""
    for each in others:
        first = taken.get(_NAMES[bare(each.key)])
        if first is None or first.family != each.family:
            continue
        try:
            values, mine = floats_of(each.value), _floats(first)
        except (TypeError, ValueError):
            continue  # named as not read
        if values.shape == mine.shape and not np.allclose(values, mine, rtol=1e-6, atol=1e-6):
            at = int(np.argmax(~np.isclose(values, mine, rtol=1e-6, atol=1e-6)))
            raise UnusableFrame(
                FailureReason.BAD_OUTPUT,
                f"{first.key} and {each.key} are not the same: {mine[at]:.10g} and {values[at]:.10g}",
            )


def _floats(found: _Found) -> NDArray[np.float64]:
    """Return finite numbers."""
    try:
        values = floats_of(found.value)
    except (TypeError, ValueError) as error:
        raise UnusableFrame(FailureReason.UNREADABLE, f"{found.key}: {error}") from None
    if not np.isfinite(values).all():
        raise UnusableFrame(FailureReason.NOT_FINITE, f"{found.key} is not finite")
    return values


def _number(found: _Found) -> float:
    """Return one finite number."""
    values = _floats(found)
    if len(values) != 1:
        raise UnusableFrame(FailureReason.UNREADABLE, f"{found.key} has {len(values)} numbers, not one")
    return float(values[0])


def _stress(
    stress: _Found | None, virial: _Found | None, frame: Frame
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Return the stress, or None, and notes."""
    volume = abs(float(np.linalg.det(frame.cell)))
    by_virial, notes = None, []
    if virial is not None:
        values = _floats(virial)
        if len(values) == 6 and np.ptp(values[3:]) > _ASYMMETRY * np.abs(values).max():
            notes.append(
                f"{virial.key} is not read: of six numbers, the order of the last three is not known"
            )
        else:
            by_virial = -_tensor(virial, _SMALLEST_STRESS * volume) / volume
    found = by_virial
    if stress is not None:
        _floats(stress)
        found = _tensor(stress, _SMALLEST_STRESS)
        if by_virial is not None and found.any() and by_virial.any():
            _check_alike(stress.key, found, by_virial)
        if by_virial is not None and not found.any():
            found = by_virial
    if found is None:
        return None, notes
    if not found.any():
        return None, [*notes, NOT_COMPUTED]
    return found + 0.0, notes  # no -0.0


def _tensor(found: _Found, noise: float) -> NDArray[np.float64]:
    try:
        return voigt(found.value, noise)
    except ValueError as error:
        raise UnusableFrame(FailureReason.BAD_OUTPUT, f"{found.key} is {error}") from None


def _check_alike(key: str, stress: NDArray[np.float64], by_virial: NDArray[np.float64]) -> None:
    """Refuse a stress that the virial of the same entry contradicts: another unit or another sign."""
    scale = max(float(np.abs(by_virial).max()), _SMALLEST_STRESS)
    if np.abs(stress - by_virial).max() > _ASYMMETRY * scale + _SMALLEST_STRESS:
        raise UnusableFrame(
            FailureReason.BAD_OUTPUT,
            f"{key} has {stress[0]:g} for xx, and the virial says {by_virial[0]:g} eV/Å3: another unit or "
            "sign",
        )
