"""The level of labels by a machine-learning potential, marked as not DFT."""

from collections.abc import Sequence
from typing import Any

from pesatlas.campaign.caveats import POTENTIAL
from pesatlas.levels.level import Level
from pesatlas.potentials.loading import elements_of, identify

FUNCTIONAL = "none: machine-learning potential, not DFT"


def levels(options: Any, names: Sequence[str]) -> dict[str, Level]:
    """Return the level of the potential in ``options``; other weights, or another library, are another level.

    Raises
    ------
    UserError
        If the weights or the package of the potential are not there.
    """
    potential = identify(options.potential)
    return {
        name: Level(
            name=name,
            code={POTENTIAL: potential.name, **potential.versions},
            functional=FUNCTIONAL,
            settings={"potential": options.potential.identity(), "isolated_atoms": "not calculated"},
            pseudopotentials=potential.weights_hash,
        )
        for name in names
    }


def elements(options: Any) -> frozenset[int]:
    """Atomic numbers that the potential knows."""
    return elements_of(options.potential)
