"""Row counts that must add up where tables meet; a sum that does not add up stops the campaign."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pesatlas.errors import UserError
from pesatlas.tables import read_entry

_COUNTED = (
    *("structure_failures", "explore_failures", "label_failures", "dataset_failures"),
    *("snapshots", "features", "selection", "labels", "quarantine"),
)


@dataclass(frozen=True)
class Sum:
    """One conservation law: rows in, and rows out by outcome."""

    name: str
    total: int
    parts: dict[str, int]

    @property
    def closes(self) -> bool:
        """Whether the parts make up the total."""
        return self.total == sum(self.parts.values())

    def __str__(self) -> str:
        parts = " + ".join(f"{count} {name}" for name, count in self.parts.items())
        return f"{self.name}: {self.total} {'=' if self.closes else '!='} {parts}"


def sums(files: Mapping[str, Sequence[Path]], levels: Sequence[str]) -> list[Sum]:
    """Every conservation law of a campaign, with counts taken from the manifests of its tables.

    The expected count always comes from upstream: what a stage should have is what the stage before it wrote.

    Parameters
    ----------
    files : tables by their names in the layout, as ``Results.files``
    levels : of the tables of the dataset, in their order
    """
    rows = {name: _rows(files[name]) for name in _COUNTED}
    structures = _total(files["structures"])
    explored = _total(files["snapshots"])
    pool = _total(files["selection"])
    found = [
        Sum("structures read", structures["sources_read"], _pick(structures, "accepted", "failed")),
        Sum(
            "structure failures on file",
            # before domains could refuse there was no such count
            structures["failed"] + structures.get("cells_refused", 0),
            {"rows": rows["structure_failures"]},
        ),
        Sum("cells", structures["cells"], {"explored": explored["structures"]}),
        Sum(
            "trajectories",
            structures["trajectories"],
            {"finished": explored["trajectories_finished"], "failed": explored["trajectories_failed"]},
        ),
        Sum(
            "explore failures on file",
            explored["trajectories_failed"] + explored["equilibrium_failed"],
            {"rows": rows["explore_failures"]},
        ),
        Sum(
            "snapshots",
            rows["snapshots"],
            {"frames of dynamics": explored["frames"], "equilibrium": explored["equilibrium"]},
        ),
        Sum("snapshots to encode", rows["snapshots"], {"features": rows["features"]}),
        Sum("pool", rows["snapshots"], {name: pool[name] for name in pool if name != "pool"}),
        Sum("selected", pool["selected"], {"rows": rows["selection"]}),
    ]
    labels = _total(files["labels"])
    for level in levels:
        parts = {"labelled": labels[f"labelled_{level}"], "failed": labels[f"failed_{level}"]}
        found.append(Sum(f"selected, at {level}", rows["selection"], parts))
    failed = sum(labels[f"failed_{level}"] for level in levels)
    found.append(Sum("label failures on file", failed, {"rows": rows["label_failures"]}))
    labelled = sum(labels[f"labelled_{level}"] for level in levels)
    found.append(Sum("labels", labelled, {"rows": rows["labels"]}))
    accepted = {level: _rows([path]) for level, path in zip(levels, files["dataset"], strict=True)}
    found.append(Sum("labels in dataset", labelled, {**accepted, "quarantined": rows["quarantine"]}))
    found.append(Sum("quarantine on file", rows["quarantine"], {"failures": rows["dataset_failures"]}))
    return found


def check_sums(files: Mapping[str, Sequence[Path]], levels: Sequence[str]) -> list[Sum]:
    """Return the sums if they all close.

    Raises
    ------
    UserError
        If one does not; the message names it, with its numbers.
    """
    found = sums(files, levels)
    broken = [str(each) for each in found if not each.closes]
    if broken:
        raise UserError("rows were lost or appeared without an origin:\n  " + "\n  ".join(broken))
    return found


def _pick(counts: dict[str, int], *names: str) -> dict[str, int]:
    return {name: counts[name] for name in names}


def _rows(paths: Iterable[Path]) -> int:
    return sum(read_entry(path).rows for path in paths)


def _total(paths: Iterable[Path]) -> dict[str, int]:
    total: dict[str, int] = {}
    for path in paths:
        for name, count in read_entry(path).counts.items():
            total[name] = total.get(name, 0) + count
    return total
