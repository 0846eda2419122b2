"""Arms of a comparison: the picks of each selection policy, at each share of the full cost."""

from dataclasses import dataclass
from pathlib import Path

from pesatlas.config.compare import Compare
from pesatlas.tables import read_entry, read_table


@dataclass(frozen=True)
class Arm:
    """What a policy picked for a share of the full cost.

    Attributes
    ----------
    picks : snapshots, in the order of picking
    cost_atoms3 : cube of their numbers of atoms, summed
    """

    policy: str
    cost_share: float
    picks: tuple[str, ...]
    cost_atoms3: float


def read_arms(settings: Compare, path: Path) -> list[Arm]:
    """Return every policy at every share, from the table ``arms``."""
    table = read_table(path, "arms")
    full = read_entry(path).counts["full_cost_atoms3"]
    found = []
    for policy in settings.policies:
        mine = [row for row in table.to_pylist() if row["arm"] == policy.kind]
        for share in settings.cost_shares:
            paid = [row for row in mine if row["cost_atoms3"] <= share * full]
            cost = paid[-1]["cost_atoms3"] if paid else 0.0
            found.append(Arm(policy.kind, share, tuple(row["snapshot_id"] for row in paid), cost))
    return found
