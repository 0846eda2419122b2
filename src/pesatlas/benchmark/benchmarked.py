"""A potential to benchmark, its level of theory, and the references it may be compared with."""

from dataclasses import dataclass
from typing import Any

from pesatlas.potentials.loading import trained_on

UNKNOWN = "unknown"


@dataclass(frozen=True)
class BenchmarkedPotential:
    """A potential to benchmark.

    Attributes
    ----------
    name : as in the tables
    options : of its kind
    corrected : whether its formation energies have the corrections of the Materials Project
    level : that it was trained at, in words
    own : whether a campaign trained it at that level
    fingerprints : of that level, if its card has them
    """

    name: str
    options: Any
    corrected: bool
    level: str = UNKNOWN
    own: bool = False
    fingerprints: tuple[str, ...] = ()


def benchmarked_potential(name: str, options: Any, corrected: bool | None = None) -> BenchmarkedPotential:
    """Return the potential of ``options``; ``corrected`` overrides what its kind knows of its training.

    Raises
    ------
    UserError
        If its weights are missing, or its card is damaged.
    """
    known = trained_on(options)
    if known is None:
        return BenchmarkedPotential(name, options, bool(corrected))
    held = known.corrected if corrected is None else corrected
    return BenchmarkedPotential(name, options, held, known.level, known.own, known.fingerprints)
