"""Levels by backend kind: module ``pesatlas.levels.<kind>``, or that of an installed backend."""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np

from pesatlas.config.plugins import level_of
from pesatlas.errors import UserError
from pesatlas.levels.level import Level, Precision


class Knobs(Protocol):
    """Functions of a level module whose code has plane waves and k-points."""

    def precision_of(self, level: Level, numbers: list[int], cell: np.ndarray) -> Precision:
        """Return plane waves and k-points of one crystal."""
        ...

    def at_precision(
        self,
        level: Level,
        *,
        cutoff_eV: float | None = None,  # noqa: N803 - a unit
        kpoint_spacing_per_A: float | None = None,  # noqa: N803 - a unit
    ) -> Level:
        """Return the level with another cut-off, or other k-points."""
        ...


def supported_elements(backend: Any) -> frozenset[int]:
    """Atomic numbers that can be labelled with the backend of these options."""
    known: frozenset[int] = level_of(backend.kind).elements(backend)
    return known


def levels_of(backend: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the reference levels ``names`` as the backend of these options provides them, by name."""
    found: dict[str, Level] = level_of(backend.kind).levels(backend, names)
    return found


def knobs_of(backend: Any) -> Knobs:
    """Return how to change plane waves and k-points of the backend's levels.

    Raises
    ------
    UserError
        If its labels depend on neither, or its level module cannot change them.
    """
    module: Any = level_of(backend.kind)
    if not (hasattr(module, "precision_of") and hasattr(module, "at_precision")):
        raise UserError(
            f"label.backend {backend.kind}: its levels have no plane-wave cut-off and no k-points to vary, "
            "so there is no convergence series. Backends that have them: gpaw, vasp, and those whose level "
            "module has precision_of and at_precision (docs/extending.md)."
        )
    return cast("Knobs", module)
