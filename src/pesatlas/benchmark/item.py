"""One benchmark item (structure and reference) and its result."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pesatlas.atoms.geometry import geometry_digest
from pesatlas.dynamics.relax import Start
from pesatlas.tables.failures import Failure


@dataclass(frozen=True, eq=False)
class BenchmarkItem:
    """A structure that a property is asked about.

    Attributes
    ----------
    structure_id : as the data name it
    formula : reduced
    start : the structure
    references : what others found, by quantity
    conditions : what else decides the result, as plain JSON
    arrays : references that are no numbers (forces, stress)
    failure : why it cannot be asked about
    """

    structure_id: str
    formula: str
    start: Start
    references: dict[str, float] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def digest(self) -> str:
        """Hash of the geometry."""
        return geometry_digest(self.start.numbers, self.start.cell, self.start.positions)


@dataclass(frozen=True)
class PropertyResult:
    """Result of one benchmark item.

    Attributes
    ----------
    values : by quantity; those that are missing have the reason of ``failure``
    failure : why there is nothing, or not everything
    outcome : a word, of properties that end in one way or another
    detail : what else is worth knowing, in a sentence
    """

    values: dict[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    outcome: str | None = None
    detail: str = ""
