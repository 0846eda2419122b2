"""Levels by backend kind: module ``pesatlas.levels.<kind>``, or that of an installed backend."""

from collections.abc import Sequence
from typing import Any

from pesatlas.config.plugins import level_of
from pesatlas.levels.level import Level


def supported_elements(backend: Any) -> frozenset[int]:
    """Atomic numbers that can be labelled with the backend of these options."""
    known: frozenset[int] = level_of(backend.kind).elements(backend)
    return known


def levels_of(backend: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the reference levels ``names`` as the backend of these options provides them, by name."""
    found: dict[str, Level] = level_of(backend.kind).levels(backend, names)
    return found
