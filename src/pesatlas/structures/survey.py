"""A survey of the crystals that sources give, before anything is made of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pesatlas.config.explore import Explore
from pesatlas.config.structures import Structures
from pesatlas.structures.accept import sort_out
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.prepare import read_sources, rules_of


@dataclass(frozen=True)
class Survey:
    """Crystals that sources give.

    Attributes
    ----------
    accepted : sorted by id
    failed : key and reason of each that is refused, sorted by key
    """

    accepted: Sequence[Crystal]
    failed: Sequence[tuple[str, Rejected]]

    @property
    def elements(self) -> set[int]:
        """Atomic numbers in the usable crystals."""
        return {int(z) for crystal in self.accepted for z in crystal.numbers}

    @property
    def sentence(self) -> str:
        """Counts of usable crystals and of the others, with the first of those.

        E.g. ``4 crystals: 3 usable; ...``.
        """
        read = len(self.accepted) + len(self.failed)
        text = f"{read} crystals: {len(self.accepted)} usable"
        shown = [f"{why.structure_id} {why.reason}" for _, why in self.failed[:3]]
        if len(self.failed) > len(shown):
            reasons = Counter(str(why.reason) for _, why in self.failed)
            shown = [f"{n} {reason}" for reason, n in sorted(reasons.items())]
        return "; ".join([text, *shown])


def survey(
    settings: Structures, explore: Explore, backend: Any, labelled: frozenset[int] | None = None
) -> Survey:
    """Read all sources and return which crystals a campaign would use.

    Parameters
    ----------
    explore, backend : their potential and code allow elements
    labelled : atomic numbers that the backend can label, if its files are not to be looked for

    Raises
    ------
    UserError
        If a source cannot be read at all.
    """
    rules = rules_of(settings, explore.potential, backend, labelled)
    accepted, failed, _ = sort_out(
        read_sources(settings, {}), rules, remove_duplicates=settings.remove_duplicates
    )
    return Survey(accepted, failed)
