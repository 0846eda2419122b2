"""Cells, trajectories and frames that a campaign makes of its crystals, counted on all or some of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from pesatlas.atoms.elements import atomic_number
from pesatlas.config import plugins
from pesatlas.config.explore import Explore
from pesatlas.config.structures import Structures
from pesatlas.structures.crystal import Crystal

_MOST_READ = 10_000
"""Crystals read of a source; of files, which take longer, as many as are used."""
_MOST_USED = 200

T = TypeVar("T")


@dataclass
class CellCounts:
    """Sums over cells.

    Attributes
    ----------
    steps : of trajectories, each as long as that of a heavy element
    own_steps : of trajectories, with the time step that each cell has
    work : the latter, each times the atoms of its cell
    frames, frame_atoms : frames, and the sum of their atoms
    """

    settings: Explore
    cells: int = 0
    trajectories: int = 0
    steps: int = 0
    own_steps: int = 0
    work: int = 0
    frames: int = 0
    frame_atoms: int = 0

    def add(self, lightest: int, n_atoms: int, conditions: Iterable[dict[str, Any]]) -> None:
        """Count what becomes of a cell.

        Parameters
        ----------
        lightest : atomic number of its lightest element
        conditions : entries of the column ``conditions`` of table ``structures``
        """
        own = self.settings.of([lightest])
        self.cells += 1
        for each in conditions:
            frames = 1
            if not (each.get("static") or each.get("path")):  # what does not move takes no time
                of = [part["length_ps"] for part in each.get("ramp") or ()], each.get("length_ps")
                steps = self.settings.steps_of(*of)
                frames = steps // self.settings.frame_steps
                self.trajectories += 1
                self.steps += steps
                self.own_steps += own.steps_of(*of)
                self.work += own.steps_of(*of) * n_atoms
            self.frames += frames
            self.frame_atoms += frames * n_atoms

    def add_domain(self, domain: Any, crystal: Crystal) -> None:
        """Count the cells that a domain makes of a crystal; what it refuses is none."""
        for cell in plugins.find("pesatlas.structures.domains", domain.kind).cells(domain, crystal):
            if hasattr(cell, "conditions"):
                conditions = [each.as_row() for each in cell.conditions]
                self.add(int(cell.numbers.min()), len(cell.numbers), conditions)


def sample_crystals(settings: Structures) -> list[Crystal]:
    """Read some crystals of the sources, evenly spaced in their order, without a network.

    Crystals that are too large, or of other elements than wanted, are left out; equal ones are not looked
    for.

    Raises
    ------
    UserError
        If a source cannot be read.
    """
    wanted = {atomic_number(symbol) for symbol in settings.elements or ()}
    usable: list[Crystal] = []
    for source in settings.sources:
        module = plugins.find("pesatlas.structures.sources", source.kind)
        options = source
        if source.kind == "files":
            paths = [str(path) for path in _evenly(module.inputs(source), _MOST_USED)]
            options = source.model_copy(update={"paths": paths})
        usable += [
            crystal
            for crystal in islice(module.load(options), _MOST_READ)
            if isinstance(crystal, Crystal)
            and len(crystal.numbers) <= settings.max_atoms
            and (not wanted or wanted.issuperset(crystal.numbers.tolist()))
        ]
    return _evenly(usable, _MOST_USED)


def _evenly(items: Sequence[T], most: int) -> list[T]:
    step = max(len(items) / most, 1.0)
    return [items[int(k * step)] for k in range(min(len(items), most))]
