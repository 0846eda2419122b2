"""Crystals of a campaign, one by one: cells, frames, picks, labels, gaps and moments at each level, flags."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pesatlas.campaign.campaign_tables import CampaignTables

MAGNETIC_MUB = 0.1
"""Largest moment on an atom from which a row counts as magnetic."""


@dataclass(frozen=True)
class AtLevel:
    """Rows of one crystal in the dataset of a level.

    Attributes
    ----------
    flagged : rows that a rule flagged
    gap_eV : smallest and largest gap; None if no row has one
    moment_muB : smallest and largest, over rows, of the largest moment on an atom; None without spin
    """

    rows: int
    flagged: int
    gap_eV: tuple[float, float] | None
    moment_muB: tuple[float, float] | None

    @property
    def magnetic(self) -> bool:
        """Whether some row has moments."""
        return self.moment_muB is not None and self.moment_muB[1] >= MAGNETIC_MUB


@dataclass
class Crystal:
    """One source crystal and what became of it.

    Attributes
    ----------
    cells, atoms : number of cells, and of atoms in the smallest and the largest
    quarantined, failed : labels in quarantine at all levels; failures of any stage
    """

    name: str
    formula: str
    cells: int
    atoms: tuple[int, int]
    frames: int = 0
    picks: int = 0
    quarantined: int = 0
    failed: int = 0
    levels: dict[str, AtLevel] = field(default_factory=dict)

    @property
    def flags(self) -> list[str]:
        """Counts that somebody should look at, in words."""
        counts = {
            "flagged": sum(each.flagged for each in self.levels.values()),
            "quarantined": self.quarantined,
            "failed": self.failed,
        }
        return [f"{count:,} {name}" for name, count in counts.items() if count]


_CELLS = (
    "SELECT structure_id, any_value(formula), count(*), min(n_atoms), max(n_atoms) FROM it GROUP BY 1 "
    "ORDER BY 1"
)
_ROWS = "SELECT structure_id, count(*) FROM it GROUP BY 1"
_LABELS = """
SELECT structure_id, count(*), count(*) FILTER (verdict = 'flagged'), min(band_gap_eV), max(band_gap_eV),
       min(moment), max(moment)
FROM (SELECT *, list_max(list_transform(magmoms_muB, lambda m: abs(m))) AS moment FROM it) GROUP BY 1"""


def read_crystals(tables: CampaignTables, levels: Sequence[str]) -> list[Crystal]:
    """Return the crystals of a campaign by name."""
    found = {
        name: Crystal(name, formula, cells, (least, most))
        for name, formula, cells, least, most in tables.query(_CELLS, "structures")
    }
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for level in levels:
        for name, rows, flagged, *ranges in tables.query(_LABELS, "dataset", level):
            gap, moment = (
                None if low is None else (low, high)
                for low, high in zip(ranges[::2], ranges[1::2], strict=True)
            )
            if name in found:
                found[name].levels[level] = AtLevel(rows, flagged, gap, moment)
        for name, rows in tables.query(_ROWS, "dataset", level, of="quarantine"):
            counts[name]["quarantined"] = counts[name].get("quarantined", 0) + rows
    for name, count in tables.query(_ROWS, "failures"):
        # a label in quarantine is among the failures too
        counts[name]["failed"] = count - counts[name].get("quarantined", 0)
    for attribute, table in (("frames", "snapshots"), ("picks", "selection")):
        for name, count in tables.query(_ROWS, table):
            counts[name][attribute] = count
    for name in counts.keys() & found.keys():
        for attribute, count in counts[name].items():
            setattr(found[name], attribute, count)
    return list(found.values())
