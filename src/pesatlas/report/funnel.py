"""The funnel from read crystals to dataset rows: counts of each step, and every loss with its reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pesatlas.campaign.layout import is_file_of
from pesatlas.campaign.so_far import UNFINISHED
from pesatlas.report.summary import counted

_POOL_WORDS = {
    "redundant": "not needed: picks represent their clusters",
    "over_target": "beyond the target or the budget",
    "duplicate": "the same geometry as another",
    "too_close": "atoms closer than select.min_distance_A",
    "not_finite": "features, energy or positions not finite",
    "known": "labelled already: in select.reference, or in an earlier round",
}


@dataclass(frozen=True)
class Step:
    """One step of the funnel.

    Attributes
    ----------
    name : what there is after it
    came, kept : how many came in, and how many went on
    lost : the others by reason; ``came`` = ``kept`` + their sum, or the step does not close
    """

    name: str
    came: int
    kept: int
    of: str
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def closes(self) -> bool:
        """Whether nothing is unexplained."""
        return self.came == self.kept + sum(self.lost.values())

    @property
    def share(self) -> float:
        """Kept of what came in, in percent."""
        return 100 * self.kept / self.came if self.came else 100.0


def funnel(manifest: Mapping[str, Any], losses: Mapping[tuple[str, str, str], int]) -> list[Step]:
    """Return the steps in the order in which data flow.

    ``losses`` are failures by stage, level and reason.
    """
    counts = counted(dict(manifest))
    by_stage = {
        stage: Counter({reason: n for (s, _, reason), n in losses.items() if s == stage})
        for stage in ("structures", "explore")
    }
    steps = [
        Step(
            "crystals accepted",
            counts["structures.sources_read"],
            counts["structures.accepted"],
            "read",
            dict(by_stage["structures"]),
        ),
        Step(
            "trajectories finished",
            counts["snapshots.trajectories"],
            counts["snapshots.trajectories_finished"],
            f"started in {counts['structures.cells']:,} cells",
            {"ended early, with their valid frames kept": counts["snapshots.trajectories_failed"]}
            if counts["snapshots.trajectories_failed"]
            else {},
        ),
        Step(
            "selected",
            counts["selection.pool"],
            counts["selection.selected"],
            "snapshots in the pool",
            {
                _POOL_WORDS.get(
                    name.removeprefix("selection."), name.removeprefix("selection.").replace("_", " ")
                ): n
                for name, n in sorted(counts.items())
                if name.startswith("selection.")
                and n
                and name.split(".")[1] not in {"pool", "selected", "rows"}
            },
        ),
    ]
    rows = {
        entry["file"].split("/")[1]: entry["rows"]
        for entry in manifest["files"]
        if is_file_of(entry["file"], "dataset")
    }
    for level, kept in rows.items():
        lost = {
            reason: n
            for (stage, at, reason), n in losses.items()
            if at == level and stage in {"label", "dataset"}
        }
        name = f"in the dataset at {level}"
        if UNFINISHED in manifest:
            name = f"labelled at {level}"
            pending = counts["selection.rows"] - kept - sum(lost.values())
            lost |= {"not calculated yet": pending} if pending else {}
        steps.append(Step(name, counts["selection.rows"], kept, "selected", lost))
    return steps
