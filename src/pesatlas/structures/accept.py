"""Acceptance of every crystal read: under an id of its own, or as a failure with a reason."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pesatlas.structures.checks import Rules
from pesatlas.structures.crystal import Crystal, Read, Rejected
from pesatlas.structures.crystal_file import Chosen, CrystalFile
from pesatlas.structures.crystal_names import geometry_hash, sanitised, with_suffix
from pesatlas.structures.duplicates import find_duplicates
from pesatlas.tables.schemas import FailureReason


def sort_out(
    reads: Iterator[Read], rules: Rules, *, remove_duplicates: bool
) -> tuple[Sequence[Crystal], list[tuple[str, Rejected]], int]:
    """Name and check everything read; crystals wait in a file, so that memory does not grow with their atoms.

    Returns
    -------
    accepted : crystals with valid ids, each its own, sorted by id
    failed : (key, why), sorted by key; keys are unique
    read : how many were read, which is how many are in the two lists
    """
    names = _Names()
    passed = CrystalFile()
    ids: list[str] = []
    failed: list[tuple[str, Rejected]] = []
    read = 0
    for found in reads:
        read += 1
        named = names.name(found)
        why = named if isinstance(named, Rejected) else rules.broken_by(named)
        if why is not None:
            failed.append((names.key(why.structure_id), why))
        elif isinstance(named, Crystal):
            passed.append(named)
            ids.append(named.structure_id)
    duplicates = dict(find_duplicates(passed)) if remove_duplicates else {}
    for i, same in duplicates.items():
        detail = f"{passed[i].source}: the same crystal as {ids[same]}"
        why = Rejected(ids[i], FailureReason.DUPLICATE, detail)
        failed.append((names.key(why.structure_id), why))
    kept = sorted((i for i in range(len(ids)) if i not in duplicates), key=ids.__getitem__)
    accepted = Chosen(passed, kept)
    if read != len(accepted) + len(failed):
        raise RuntimeError(f"{read} crystals read, but {len(accepted)} accepted and {len(failed)} failed")
    return accepted, sorted(failed, key=lambda item: item[0]), read


class _Names:
    """Ids given so far, so that each crystal has its own."""

    def __init__(self) -> None:
        self._geometry: dict[str, str] = {}
        self._keys: Counter[str] = Counter()

    def name(self, found: Read) -> Read:
        """Return what was found under a valid id that no other crystal has, or why there is none."""
        name = sanitised(found.structure_id)
        if name is None:
            detail = f"the id {found.structure_id!r} has no letter or digit (A-Z, a-z, 0-9) in it"
            return Rejected(found.structure_id or "unnamed", FailureReason.BAD_ID, detail)
        if isinstance(found, Rejected):
            return replace(found, structure_id=name)
        geometry = geometry_hash(found.numbers, found.cell, found.positions)
        if self._geometry.get(name, geometry) != geometry:
            # a second crystal of the same id, such as two files of the same name in two folders
            name = with_suffix(name, geometry)
        if name in self._geometry:
            return Rejected(
                name, FailureReason.DUPLICATE, f"{found.source}: read before, with the same id and geometry"
            )
        self._geometry[name] = geometry
        return replace(found, structure_id=name)

    def key(self, name: str) -> str:
        """Return a key for a failure row; further failures of one name are numbered."""
        self._keys[name] += 1
        return name if self._keys[name] == 1 else f"{name}#{self._keys[name]}"
