"""A calculation that nobody runs: its inputs show whoever looks at them what a backend writes."""

from collections.abc import Sequence

import numpy as np

from pesatlas.atoms.elements import atomic_number
from pesatlas.label.backend import Task
from pesatlas.levels.level import Level

Finding = tuple[bool, str, str]
"""A check: all is well or not, its object, and the remedy."""


def task_of_all(elements: Sequence[str], level: Level) -> Task:
    """Return a cell with one atom of every element in a row, 3 Å apart."""
    count = len(elements)
    cell, positions = np.diag([3.0, 3.0, 3.0 * count]), np.array([[0.0, 0.0, 3.0 * i] for i in range(count)])
    return Task(np.array([atomic_number(element) for element in elements]), cell, positions, level)
