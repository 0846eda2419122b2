"""One level per dataset: labels with different level fingerprints are not merged; differences are named.

Every table of labels has the definition of its levels in its metadata, so that a difference can be told key
by key.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pesatlas.errors import UserError
from pesatlas.levels.level import Level, difference
from pesatlas.tables import read_table
from pesatlas.tables.manifest import check_content

_COLUMNS = ["level", "level_fingerprint", "code", "pseudopotentials"]


@dataclass(frozen=True)
class LevelInTables:
    """Common properties of the rows of one level.

    Attributes
    ----------
    fingerprints : of the level; more than one only if their difference was allowed
    definition : the level in full, of the first fingerprint; None in tables of before it was kept
    differences : what differs and was allowed, in words
    """

    fingerprints: tuple[str, ...]
    definition: dict[str, Any] | None
    differences: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the level's definition and fingerprints for the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class _Found:
    """One fingerprint of a level, and where it was seen first."""

    fingerprint: str
    path: Path
    definition: dict[str, Any] | None
    example: dict[str, str]


def find_levels(
    paths: Iterable[tuple[Path, str]], levels: Sequence[str], patch_versions: Sequence[str]
) -> dict[str, LevelInTables]:
    """Return the definition and fingerprints of each level in tables of labels and of isolated atoms.

    Parameters
    ----------
    paths : pairs of a file and its table, ``labels`` or ``atoms``
    patch_versions : codes and libraries whose patch version may differ

    Raises
    ------
    UserError
        If labels of one level have different fingerprints and the difference is not one in allowed patch
        versions; the message names every key that differs.
    """
    found: dict[str, list[_Found]] = {level: [] for level in levels}
    for path, table in paths:
        definitions = definitions_in(path)
        seen: dict[tuple[str, str], dict[str, str]] = {}
        for row in read_table(path, table, _COLUMNS).to_pylist():
            seen.setdefault((row["level"], row["level_fingerprint"]), row)
        for (level, fingerprint), row in seen.items():
            known = found.setdefault(level, [])
            if fingerprint not in {each.fingerprint for each in known}:
                known.append(_Found(fingerprint, path, definitions.get(fingerprint), row))
    return {level: _level(level, each, patch_versions) for level, each in found.items()}


def definitions_in(path: Path) -> dict[str, dict[str, Any]]:
    """Return the definitions of levels that a table has in its metadata, by fingerprint."""
    check_content(path)
    metadata = pq.read_schema(path).metadata or {}
    found: dict[str, dict[str, Any]] = json.loads(metadata.get(b"pesatlas.levels", b"{}"))
    return found


def _level(level: str, found: list[_Found], patch_versions: Sequence[str]) -> LevelInTables:
    if not found:
        return LevelInTables((), None)
    first, *others = found
    allowed: list[str] = []
    for other in others:
        keys, words = _differences(first, other)
        refused = [
            word
            for key, word in zip(keys, words, strict=True)
            if not _is_patch(key, first, other, patch_versions)
        ]
        if refused or not keys:
            raise UserError(
                f"labels of level {level} have different settings: {first.fingerprint} in {first.path} and "
                f"{other.fingerprint} in {other.path} differ in "
                f"{'; '.join(refused) or 'their fingerprint'}. A dataset has one level: label again with "
                "one set (`pesatlas run --forcerun label_batch label_atoms`; labels with the current "
                "fingerprint come from the store), or, if only patch versions of a code differ and they "
                "give the same numbers, name it in dataset.patch_versions."
            )
        allowed += words
    return LevelInTables(tuple(each.fingerprint for each in found), first.definition, tuple(allowed))


def _differences(first: _Found, second: _Found) -> tuple[list[str], list[str]]:
    """Return the keys that differ, and the same with both values in words."""
    if first.definition is None or second.definition is None:
        # tables of before definitions were kept: what the rows themselves tell
        keys = [key for key in ("code", "pseudopotentials") if first.example[key] != second.example[key]]
        return keys, [f"{key} ({first.example[key]} / {second.example[key]})" for key in keys]
    keys = difference(Level(**first.definition), Level(**second.definition))
    words = [f"{key} ({_value(first.definition, key)} / {_value(second.definition, key)})" for key in keys]
    return keys, words


def _value(definition: dict[str, Any], dotted: str) -> str:
    value: Any = definition
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return json.dumps(value) if value is not None else "absent"


def _is_patch(key: str, first: _Found, second: _Found, allowed: Sequence[str]) -> bool:
    """Whether a key is the version of an allowed code that differs in its last part alone.

    26.7.0 and 26.7.1.
    """
    kind, _, code = key.partition(".")
    if kind != "code" or code not in allowed or not (first.definition and second.definition):
        return False
    versions = [
        str(each.definition["code"].get(code, "")).split(".") for each in (first, second) if each.definition
    ]
    return len({len(version) for version in versions}) == 1 and versions[0][:-1] == versions[1][:-1] != []
